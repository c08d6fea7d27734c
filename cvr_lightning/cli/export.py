"""``cvr export``: a checkpoint's model as a graph for other runtimes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cvr_lightning.files.printable import shown


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr export``."""
    parser = argparse.ArgumentParser(
        prog="cvr export", description="Write a checkpoint's model as a graph for other runtimes."
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint written by cvr fit")
    parser.add_argument("output", metavar="OUTPUT", help=".onnx for ONNX, .pt2 for torch.export")
    options = parser.parse_args(arguments)

    from cvr_lightning.inference.export import export_model

    description = export_model(options.checkpoint, options.output)
    size = Path(options.output).stat().st_size / 2**20
    print(shown(f"{options.output}: {size:.1f} MiB, checked against the model, described in {description}"))
