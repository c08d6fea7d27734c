"""What the parsers of MPEG-4 Part 2 and H.264 share: I-frames and P-frames, found by the index."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import av
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import blocks
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.codec.fields.geometry import nearest_blocks
from cvr_lightning.codec.parser import BlockFields, BlockGrid, Parser, PFrame


class BitstreamParser(Parser):
    """Frames of one video, each from its own bits.

    Args:
        demuxer: The file; it is not opened as a container where the index says where packets lie.
        index: Its index.

    Raises:
        UnsupportedStreamError: The stream uses coding tools that are not read.
    """

    standard: str
    """The standard's name in messages."""

    def __init__(self, demuxer: Demuxer, index: PacketIndex) -> None:
        cause = self.unread_tools(index)
        if cause:
            raise UnsupportedStreamError(
                demuxer.path, f"not read by the {self.standard} parser: {cause}", "read it with parser='auto'"
            )
        self._demuxer = demuxer
        self._index = index

    @staticmethod
    @abstractmethod
    def unread_tools(index: PacketIndex) -> str:
        """Why this parser does not read a stream; empty if it does."""

    @abstractmethod
    def _decode(self, frame: int, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
        """RGB of an I-frame; None if its packet is not one picture.

        Raises:
            av.FFmpegError: It is damaged.
        """

    def iframes(self, frames: Sequence[int], size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :meth:`cvr_lightning.codec.parser.Parser.iframes`."""
        for frame in frames:
            try:
                rgb = self._decode(frame, size)
            except av.FFmpegError as error:
                raise self._demuxer.damage(f"FFmpeg cannot decode it: {error}", frame) from error
            if rgb is None:
                raise self._demuxer.damage("FFmpeg does not decode it to one picture", frame)
            yield rgb

    def pframes(
        self, frames: Sequence[int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        """See :meth:`cvr_lightning.codec.parser.Parser.pframes`."""
        sides = (self._index.facts.height, self._index.facts.width)
        rows, columns = (nearest_blocks(blocks(side), side, blocks(side), side) for side in sides)
        grid = BlockGrid(rows, columns, np.full(2, 0.25, np.float32))
        channels = coefficients[0] + 2 * coefficients[1] if coefficients else 0
        for frame in frames:
            fields = BlockFields(
                np.zeros((1, 2, len(rows), len(columns)), np.float32),
                np.zeros((1, channels, len(rows), len(columns)), np.float32),
                np.zeros((1, len(rows), len(columns)), np.uint8),
            )
            self.fill([frame], [0], coefficients, grid, fields)
            residual = fields.residual[0] if coefficients else None
            yield frame, PFrame(fields.motion[0], residual, fields.modes[0])

    def _header(self, frame: int) -> bytes:
        """The sequence header in force for a frame."""
        header: bytes = self._index.sequence_headers[self._index.frame_headers[frame]]
        return header

    def _check_number(self, frame: int) -> None:
        if not 0 <= frame < len(self._index.frame_types):
            raise ValueError(f"frame must be in 0..{len(self._index.frame_types) - 1}, got {frame}")

    def _bytes(self, frame: int, offset: int, size: int) -> bytes:
        """``size`` bytes of a frame's packet.

        Raises:
            UnreadableVideoError: The packet is damaged, or the file has changed.
        """
        packet = int(self._index.frame_sources[frame])
        if self._index.damaged[packet]:
            cause = f"packet {packet} is damaged, or what it is predicted from is missing"
            raise self._demuxer.damage(cause, frame)
        place = int(self._index.data_positions[packet])
        if place >= 0:
            data = self._demuxer.read(place + offset, size)
        else:
            _, whole = next(self._demuxer.fetch(packet, packet, self._index.keys))
            data = bytes(whole)[offset : offset + size]
        if len(data) != size:
            raise self._changed(frame)
        return data

    def _changed(self, frame: int) -> Exception:
        return self._demuxer.error("it is not where the index says: the file has changed", frame)
