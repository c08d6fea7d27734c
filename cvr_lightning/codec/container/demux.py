"""Access to the compressed packets of a file's video stream by number."""

from __future__ import annotations

import contextlib
import io
import logging
import mmap
import os
import sys
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from cvr_lightning.codec.container.keys import NO_TIMESTAMP, PacketKeys, packet_key
from cvr_lightning.codec.container.length import length_fault
from cvr_lightning.codec.container.opening import open_container, require_regular
from cvr_lightning.codec.errors import (
    FETCH_AGAIN,
    PYAV_ERRORS,
    BitstreamError,
    UnreadableVideoError,
    UnsupportedStreamError,
    reason,
)
from cvr_lightning.codec.limits import check_size

log = logging.getLogger(__name__)

KEEP_BYTES = 64 << 20
"""The index pass keeps packets in memory of files up to this size; larger files are read from disk again."""
_FIRST_PACKETS = 8  # are always kept
_SEEK_PACKETS = 64  # skipping fewer packets is cheaper than a seek


class VideoBytes(NamedTuple):
    """A video file in memory.

    Attributes:
        name: Name for messages.
        data: Content of the file.
    """

    name: str
    data: bytes


def best_video(path: str, container: InputContainer) -> VideoStream:
    """Select the best video stream of a container.

    Raises:
        UnreadableVideoError: The container has no video stream.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or not stream.codec_context:
        raise UnreadableVideoError(path, "it holds no video stream that FFmpeg can decode", FETCH_AGAIN)
    return stream


class Demuxer:
    """Opens a file and returns the packets of its video stream in file order.

    The container is opened lazily; with an index this is often unnecessary.

    Args:
        file: Path of a regular file, not a URL or device; or a file in memory.

    Raises:
        UnreadableVideoError: The file is missing, empty, or holds no video.
    """

    def __init__(self, file: str | VideoBytes) -> None:
        self.path = file.name if isinstance(file, VideoBytes) else file
        self._data = file.data if isinstance(file, VideoBytes) else None
        self._check_file()
        self._kept: list[Packet[VideoStream]] = []
        self._opened: tuple[InputContainer, VideoStream] | None = None
        self._descriptor = -1
        self._packets = self._clear()
        self._broken = False
        self._next = 0  # number of the next packet, -1 at the end

    def damage(self, cause: str, frame: int | None = None) -> BitstreamError:
        """Create an error about a packet of this file."""
        return BitstreamError(self.path, cause, FETCH_AGAIN, frame)

    def error(self, cause: str, frame: int | None = None) -> UnreadableVideoError:
        """Create an error about this file."""
        return UnreadableVideoError(self.path, cause, FETCH_AGAIN, frame)

    @property
    def container(self) -> InputContainer:
        """The container."""
        return self._open()[0]

    @property
    def stream(self) -> VideoStream:
        """The best video stream of the container."""
        return self._open()[1]

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return os.path.getsize(self.path) if self._data is None else len(self._data)

    @contextlib.contextmanager
    def buffer(self) -> Iterator[bytes | mmap.mmap]:
        """All bytes of the file, memory-mapped unless already in memory."""
        if self._data is not None:
            yield self._data
            return
        with open(self.path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        yield mapped  # not closed here: arrays that an error keeps may still refer to it

    def read(self, position: int, size: int) -> bytes:
        """Read bytes of the file; fewer than ``size`` at its end."""
        if self._data is not None:
            return self._data[position : position + size]
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        return os.pread(self._descriptor, size, position)

    def _check_file(self) -> None:
        if self._data is None:
            require_regular(self.path, self.path)
        if self.size == 0:
            raise self.error("the file is empty")

    def decoder_context(self) -> VideoCodecContext:
        """An unopened decoder with the stream parameters of the container."""
        if not self.stream.codec_context.is_open:
            return self.stream.codec_context
        with self._open_container() as container:
            return best_video(self.path, container).codec_context

    def _open(self) -> tuple[InputContainer, VideoStream]:
        """Open the container on the first call; return it and the stream."""
        if self._opened is None:
            self._check_length()
            container = self._open_container()
            try:
                stream = best_video(self.path, container)
                if stream.width or stream.height:
                    check_size(self.path, stream.width, stream.height)
                if "mov" in container.format.name:
                    self._read_only(container, stream)
            except BaseException:
                container.close()
                raise
            self._opened = container, stream
        return self._opened

    def _read_only(self, container: InputContainer, stream: VideoStream) -> None:
        """Check how many frames an MP4 file declares, and skip its other streams, which may be damaged."""
        if stream.frames > self.size:
            raise self.error(f"it declares {stream.frames} frames in {self.size} bytes")
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all

    def _open_container(self) -> InputContainer:
        return open_container(self.path if self._data is None else io.BytesIO(self._data), self.path)

    def _check_length(self) -> None:
        if cause := length_fault(self.read, self.size):
            raise self.error(cause)

    def _demux(self) -> Iterator[Packet[VideoStream]]:
        """Yield the remaining packets, without empty ones, which would flush a decoder."""
        number = 0
        try:
            for packet in self.container.demux(self.stream):
                if packet.size:
                    number += 1
                    yield packet
        except PYAV_ERRORS as error:
            self._break_off(number, reason(error))

    def _clear(self) -> Iterator[Packet[VideoStream]]:
        """Yield the remaining packets."""
        for packet in self._demux():
            self._check_clear(packet)
            yield packet

    def _check_clear(self, packet: Packet[VideoStream]) -> None:
        if packet.has_sidedata("encryption_info"):
            raise UnsupportedStreamError(self.path, "it is encrypted", "decrypt it, or leave it out")

    def _break_off(self, number: int, cause: str) -> None:
        """Treat a container error after at least one packet as the end of the video; warn once."""
        if not number:
            raise self.error(f"the container breaks off before a packet: {cause}")
        if not self._broken:
            log.warning("%s: the container breaks off after packet %d: %s", self.path, number - 1, cause)
        self._broken = True

    def scan(self, keep: bool = True) -> Iterator[Packet[VideoStream]]:
        """Yield all packets of the newly opened file.

        Args:
            keep: Keep all packets of a small file in memory for :meth:`fetch`, not only the first ones.

        Raises:
            UnreadableVideoError: The file ends within a packet, and the container declares more packets.
            UnsupportedStreamError: The video is encrypted.
        """
        most = sys.maxsize if keep and self.size <= KEEP_BYTES else _FIRST_PACKETS
        number, last = 0, None
        self._next = -1
        for packet in self._demux():
            if packet.is_keyframe or number == 0:
                self._check_clear(packet)
            if number < most:
                self._kept.append(packet)
            number, last = number + 1, packet
            yield packet
        if last is not None and last.is_corrupt and self.stream.frames > number:
            cause = f"packet {number - 1} of {self.stream.frames} is cut short, and the others are missing"
            raise self.error(cause)

    def kept(self, number: int) -> Packet[VideoStream] | None:
        """A packet, if it is kept in memory."""
        return self._kept[number] if number < len(self._kept) else None

    def fetch(self, first: int, last: int, keys: PacketKeys) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """Yield packets ``first`` to ``last`` with their numbers.

        Args:
            first: Number of the first packet.
            last: Number of the last packet.
            keys: Keys of all packets of the file, from the index.

        Raises:
            UnreadableVideoError: The packets do not match the index.
        """
        if last < len(self._kept):
            yield from enumerate(self._kept[first : last + 1], first)
            return
        self._go_to(first, keys)
        while self._next <= last:
            number, packet = self._next, next(self._packets, None)
            if packet is None or packet_key(packet) != keys[number]:
                raise self.error(f"packet {number} is not the one in the index: the file has changed")
            self._next += 1
            if number >= first:
                yield number, packet

    def _go_to(self, first: int, keys: PacketKeys) -> None:
        """Move so that the next packet is ``first`` or an earlier one.

        A seek may land on any packet, so the result is identified by its key; if that fails, the file is read
        from its start.
        """
        if self._next >= 0 and 0 <= first - self._next < _SEEK_PACKETS:
            return
        dts = keys[first][0]
        if first and dts != NO_TIMESTAMP:
            with contextlib.suppress(*PYAV_ERRORS, UnreadableVideoError, StopIteration):
                self.container.seek(dts, stream=self.stream)
                packets = self._clear()
                landing = next(packets)
                number = keys.find(packet_key(landing))
                if 0 <= number <= first:
                    self._packets, self._next = chain((landing,), packets), number
                    return
        self.container.close()
        self._opened = None
        self._packets, self._next = self._clear(), 0

    def duration(self) -> float:
        """Duration in seconds from the container, 0 if unknown."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        return (self.container.duration or 0) / av.time_base

    def close(self) -> None:
        """Close the file and discard its packets."""
        self._kept = []
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._opened is not None:
            self._opened[0].close()
