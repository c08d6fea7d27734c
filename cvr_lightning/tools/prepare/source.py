"""Decodes any video to frames; damage is an error, not concealed."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from av.video.frame import VideoFrame

from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.rotation import upright_filters
from cvr_lightning.codec.errors import PYAV_ERRORS, reason
from cvr_lightning.codec.limits import PIXELS
from cvr_lightning.codec.prepared.encode import source_rate


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
        context.options = {"max_pixels": str(PIXELS.value)}
        self.codec = context.codec.canonical_name

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._demuxer.close()

    @property
    def rate(self) -> Fraction:
        """Average frame rate as a fraction that MPEG-4 Part 2 can store; 25 if unknown."""
        return source_rate(self._demuxer.stream)

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
            for packet in self._demuxer.scan(keep=False):
                packets += 1
                if packet.is_corrupt:
                    raise self._demuxer.damage(f"packet {packets - 1} is cut short or damaged")
                yield from context.decode(packet)
            yield from context.decode(None)
        except PYAV_ERRORS as error:
            cause = f"FFmpeg cannot decode packet {packets - 1}: {reason(error)}"
            raise self._demuxer.damage(cause) from error

    def turning(self, frame: VideoFrame) -> tuple[bool, list[str]]:
        """See :func:`cvr_lightning.codec.container.rotation.upright_filters`."""
        return upright_filters(self._demuxer.path, frame)
