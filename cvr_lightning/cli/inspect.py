"""``cvr inspect``: the contents of a video file as text and as an image."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from cvr_lightning.errors import RunError
from cvr_lightning.files.atomic import write_output
from cvr_lightning.files.printable import shown


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr inspect``."""
    options = _parse(arguments)
    output = _output(options)

    from cvr_lightning.tools.inspect.survey import survey
    from cvr_lightning.tools.inspect.text import as_dict, as_text

    found = survey(options.file)
    print(json.dumps(as_dict(found), indent=2) if options.json else as_text(found), flush=True)
    if output is None:
        return

    from cvr_lightning.tools.inspect.sheet import draw_sheet, sheet_png

    following = None
    if options.checkpoint:
        from cvr_lightning.inference.streaming import StreamingRecognizer
        from cvr_lightning.tools.inspect.following import follow

        following = follow(options.file, StreamingRecognizer.from_checkpoint(options.checkpoint))
    png = sheet_png(draw_sheet(found, following))
    write_output(output, png)
    if not options.json:
        print(shown(f"  sheet     {output}"))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cvr inspect",
        description="Show what a video file contains, which fields can be read and whether to prepare it, "
        "and draw it on one sheet.",
    )
    parser.add_argument("file", metavar="FILE", help="video file")
    parser.add_argument(
        "--output",
        metavar="PNG",
        help="the sheet (default: FILE's name with .sheet.png in the current directory; none with --json)",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="CKPT",
        help="checkpoint written by cvr fit: adds its labels and spikes over time to the sheet",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser.parse_args(arguments)


def _output(options: argparse.Namespace) -> Path | None:
    """Path of the sheet; None for no sheet."""
    if options.output is None:
        if options.json and options.checkpoint:
            raise RunError("--checkpoint adds to the sheet: with --json, also give --output")
        return None if options.json else Path(f"{Path(options.file).stem}.sheet.png")
    output = Path(options.output)
    if output.suffix.lower() != ".png":
        raise RunError(f"{output}: a sheet is a PNG; give --output a name that ends in .png")
    if output.is_dir():
        raise RunError(f"{output}: it is a directory; give --output a file name")
    return output
