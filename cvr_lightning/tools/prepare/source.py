"""Decodes any video to frames; damage is an error, not concealed."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame

from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.errors import PYAV_ERRORS, UnsupportedStreamError, reason
from cvr_lightning.codec.limits import max_pixels
from cvr_lightning.codec.side_data import side_data

FALLBACK_RATE = Fraction(25)
_MAX_TICKS = 0xFFFF  # vop_time_increment_resolution has 16 bits (ISO/IEC 14496-2, 6.3.3)


class Source:
    """Decodes a file from first to last frame, on one thread.

    FFmpeg conceals damage by default; here it raises.

    Args:
        path: The video file.

    Raises:
        UnreadableVideoError: The file is missing, empty, truncated, or not a video.
    """

    def __init__(self, path: str) -> None:
        self._demuxer = Demuxer(path)
        try:
            context = self._demuxer.stream.codec_context
        except BaseException:
            self._demuxer.close()
            raise
        context.thread_count = 1
        context.options = {"max_pixels": str(max_pixels())}
        self.codec = context.codec.canonical_name

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._demuxer.close()

    @property
    def rate(self) -> Fraction:
        """Average frame rate as a fraction that MPEG-4 Part 2 can store; 25 if unknown."""
        stream = self._demuxer.stream
        rate = Fraction(stream.average_rate or stream.guessed_rate or 0).limit_denominator(1001)
        return rate if 0 < rate.numerator <= _MAX_TICKS else FALLBACK_RATE

    @property
    def pixel_aspect(self) -> Fraction:
        """Sample aspect ratio: displayed width over height of a sample; 1 if unknown."""
        return Fraction(self._demuxer.stream.sample_aspect_ratio or 1)

    def frames(self) -> Iterator[VideoFrame]:
        """All frames in display order; callable once.

        Raises:
            UnreadableVideoError: The file holds no frame, or a damaged frame.
        """
        number = -1
        for number, frame in enumerate(self._decode()):
            if frame.is_corrupt:
                raise self._demuxer.damage("FFmpeg conceals errors in it", number)
            yield frame
        if number < 0:
            raise self._demuxer.error("it holds no frame that FFmpeg can decode")

    def _decode(self) -> Iterator[VideoFrame]:
        context, packets = self._demuxer.stream.codec_context, 0
        try:
            for packet, *_ in self._demuxer.scan(keep=False):
                packets += 1
                if packet.is_corrupt:
                    raise self._demuxer.damage(f"packet {packets - 1} is cut short or damaged")
                yield from context.decode(packet)
            yield from context.decode(None)
        except PYAV_ERRORS as error:
            cause = f"FFmpeg cannot decode packet {packets - 1}: {reason(error)}"
            raise self._demuxer.damage(cause) from error

    def turning(self, frame: VideoFrame) -> tuple[bool, list[str]]:
        """The rotation from a decoded frame to the displayed one.

        Returns:
            Whether rows and columns are swapped, and the FFmpeg filters to apply.

        Raises:
            UnsupportedStreamError: The angle is no multiple of 90 degrees.
        """
        matrix = side_data(frame, "DISPLAYMATRIX")
        if matrix is None:
            return False, []
        # A row vector times the matrix: x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 6.2.2).
        a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
        if bool(a) != bool(d) or bool(b) != bool(c) or bool(a) == bool(b):
            cause = "its frames are displayed askew: turned by an angle that is no multiple of 90 degrees"
            raise UnsupportedStreamError(self._demuxer.path, cause, "turn them upright with a video editor")
        swapped = bool(b)
        x, y = (c, b) if swapped else (a, d)
        filters = ["transpose=cclock_flip"] if swapped else []
        return swapped, filters + ["hflip"] * (x < 0) + ["vflip"] * (y < 0)
