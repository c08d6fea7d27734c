"""``cvr pack``: writes a data set into shards."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from cvr_lightning.cli.option_checks import check_data_options, check_text
from cvr_lightning.cli.option_errors import plain_errors
from cvr_lightning.cli.parser import HelpfulParser, read_no_values
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.errors import ShardError
from cvr_lightning.files.printable import counted, shown
from cvr_lightning.tools.pack.writer import pack

UNITS = {"MB": 10**6, "GB": 10**9}


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr pack``."""
    plan(arguments)()


def plan(arguments: Sequence[str]) -> Callable[[], None]:
    """Parse and check the arguments of ``cvr pack``; the returned function does the work."""
    parser = HelpfulParser(
        prog="cvr pack",
        description="Write the videos of a data set into tar files for --data Shards.",
    )
    parser.add_argument("destination", type=Path, metavar="DST", help="folder to write")
    parser.add_argument("--shard-size", default="1GB", metavar="SIZE", help="size of a tar file, in MB or GB")
    parser.add_subclass_arguments(CompressedVideoDataModule, "data", required=True)
    read_no_values(parser)
    check_text(arguments)
    options = parser.parse_args(list(arguments))
    check_data_options(options.data)
    shard_bytes = _bytes(options.shard_size)

    def run() -> None:
        with plain_errors():
            data = parser.instantiate_classes(options).data
        data.prepare_data()
        data.setup()
        index = pack(data, options.destination, shard_bytes)
        videos = ", ".join(f"{len(subset.names)} {name}" for name, subset in index.subsets.items())
        print(shown(f"{options.destination}: {counted(len(index.shards), 'shard')}, videos: {videos}"))

    return run


def _bytes(text: str) -> int:
    """Convert a size such as ``500MB`` to bytes."""
    match = re.fullmatch(r"(\d+)(MB|GB)", text)
    if not match or not int(match[1]):
        raise ShardError(f"--shard-size {text}: write a number and MB or GB, such as 500MB")
    return int(match[1]) * UNITS[match[2]]
