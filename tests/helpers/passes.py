"""Index passes over a file, with and without the packets that its container lists."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from cvr_lightning.codec import VideoBytes, gather, scan
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.errors import VideoError


class Pass:
    """Index passes over a file, with and without the packets that it lists."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_table = False
        self._patch, self._table = monkeypatch, gather.packet_table

    def _counted(self, *arguments: object) -> object:
        table = self._table(*arguments)  # type: ignore[arg-type]
        self.by_table = table is not None
        return table

    def packets(self, file: Path | VideoBytes, table: bool) -> object:
        """What is known of the packets of a file, or the error that it cannot be read."""
        self._patch.setattr(gather, "packet_table", self._counted if table else lambda *arguments: None)
        try:
            with closing(Demuxer(file if isinstance(file, VideoBytes) else str(file))) as demuxer:
                codec = demuxer.stream.codec_context
                scanner = scan._scanner(codec.name, codec.extradata or b"")
                packets = gather.gather(demuxer, scanner)
                container = demuxer.container.format.name
        except VideoError as error:
            return str(error)
        found = {name: column.tolist() for name, column in packets._asdict().items()}
        # FFmpeg takes flags from the bitstream, and counts display times where AVI has none: neither is used.
        del found["keyframes"]
        if container == "avi":
            del found["pts"]
        return found, scanner and [column.tolist() for column in scanner.finish()]

    def same(self, file: Path | VideoBytes) -> bool:
        """Check that both passes have one result; whether the table told it."""
        self.by_table = False
        assert self.packets(file, True) == self.packets(file, False)
        return self.by_table
