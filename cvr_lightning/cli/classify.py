"""``cvr classify``: labels for video files."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cvr_lightning.cli.arguments import at_least_one
from cvr_lightning.cli.compute import add_compute, compute_on
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.errors import RunError
from cvr_lightning.files.printable import counted, printable, shown
from cvr_lightning.files.video_files import list_folder
from cvr_lightning.inference.classify import Classifier, Prediction


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr classify``."""
    options = _parse(arguments)
    device, dtype = compute_on("cvr classify", options.device, options.precision)
    classifier = Classifier.from_checkpoint(options.checkpoint, device)
    classifier.dtype = dtype
    failed = 0
    files = [file for path in options.files for file in _files(path)]
    labels = classifier.stream(files, options.top, options.batch_size)
    for path, predictions in zip(files, labels, strict=True):
        if isinstance(predictions, VideoError):
            failed += 1
            message = predictions.without_alternative()  # a checkpoint says what is read
            print(shown(f"cvr classify: {message}"), file=sys.stderr)
            if options.json:
                print(json.dumps({"file": path, "error": message}))
        else:
            print(_as_json(path, predictions) if options.json else _as_text(path, predictions), flush=True)
    if failed:
        print(
            f"cvr classify: {failed} of {counted(len(files), 'file')} could not be labeled", file=sys.stderr
        )
        raise SystemExit(1)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cvr classify", description="Label video files with a trained model."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="video files, or folders of them")
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="checkpoint written by cvr fit")
    parser.add_argument(
        "--top", type=at_least_one, default=5, metavar="K", help="classes per file (default: 5)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line instead of text")
    add_compute(parser)
    parser.add_argument(
        "--batch-size", type=at_least_one, default=8, metavar="N", help="files labeled at once (default: 8)"
    )
    return parser.parse_args(arguments)


def _files(path: str) -> list[str]:
    """A file itself, or the videos below a folder; one line lists other files.

    Raises:
        RunError: There is no video in the folder.
    """
    if not os.path.isdir(path):
        return [path]
    names, left_out = list_folder(Path(path))
    if left_out:
        print(shown(f"cvr classify: {path}: {left_out}"), file=sys.stderr)
    if not names:
        raise RunError(f"{path}: it contains no videos; give a folder with videos")
    return [os.path.join(path, name) for name in names]


def _as_json(path: str, predictions: Sequence[Prediction]) -> str:
    return json.dumps({"file": path, "predictions": [item._asdict() for item in predictions]})


def _as_text(path: str, predictions: Sequence[Prediction]) -> str:
    lines = [f"  {100 * item.probability:5.1f} %  {printable(item.label)}" for item in predictions]
    return "\n".join([printable(path), *lines])
