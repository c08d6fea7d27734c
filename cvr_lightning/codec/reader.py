"""Reads a compressed video: I-frames as RGB, P-frames as motion, residual and modes on the block grid."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, get_args

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import MODALITIES, ClipArrays, Modality, Representation, Segment
from cvr_lightning.codec.choice import ParserName, choose_parser
from cvr_lightning.codec.container.demux import Demuxer, VideoBytes
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.container.info import describe
from cvr_lightning.codec.ffmpeg.parser import FFmpegParser
from cvr_lightning.codec.fields import geometry
from cvr_lightning.codec.fields.delivery import FieldMaker, check_delivery
from cvr_lightning.codec.h264.macroblocks import Macroblocks as H264Macroblocks
from cvr_lightning.codec.mpeg4.macroblocks import Macroblocks
from cvr_lightning.codec.parser import BlockFields, BlockGrid, Parser
from cvr_lightning.codec.scan import build_index
from cvr_lightning.codec.windows import check_segments, needed_pframes, spread_segments
from cvr_lightning.files.printable import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CompressedVideoReader:
    """Reads the compressed domain of one video file.

    A reader is not thread-safe and holds no global state: use one per thread or worker.

    Args:
        path: The video file, or a file in memory.
        parser: ``"mpeg4"`` or ``"h264"`` for the parser of that codec, ``"ffmpeg"`` for FFmpeg's decoders, or
            ``"auto"`` for the codec's own parser where it supports the stream and FFmpeg otherwise;
            :attr:`parser` and :attr:`reason` give the choice and why.
        index: The index of the file, if known; it saves a pass over the file.

    Raises:
        UnreadableVideoError: The file is missing, empty, damaged, not a video, or does not match the index.
        UnsupportedStreamError: The requested parser does not support the stream.

    Examples:
        >>> with CompressedVideoReader("clip.mp4") as video:  # doctest: +SKIP
        ...     clip = video.read(video.segments(8, pframes=3), size=(256, 340))
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | VideoBytes,
        parser: ParserName = "auto",
        index: PacketIndex | None = None,
    ) -> None:
        if parser not in get_args(ParserName):
            raise ValueError(f"parser must be one of {get_args(ParserName)}, got {parser!r}")
        self._demuxer = Demuxer(path if isinstance(path, VideoBytes) else os.fspath(path))
        self.path = self._demuxer.path
        try:
            self.index = index if index is not None else build_index(self._demuxer)
            if self.index.facts.file_size != self._demuxer.size:
                raise self._demuxer.error("its size is not that of the index: the file has changed")
            self._parser = choose_parser(self._demuxer, self.index, parser)
            self.info = describe(self.index)
        except BaseException:
            self._demuxer.close()
            raise

    @property
    def parser(self) -> str:
        """Name of the parser in use."""
        return self._parser.name

    @property
    def reason(self) -> str:
        """What the parser reads from the stream, and why."""
        return self._parser.reason

    @property
    def container(self) -> str:
        """FFmpeg's name of the container, such as ``"avi"``."""
        return self._demuxer.container.format.name

    @property
    def pixel_aspect(self) -> Fraction:
        """Displayed width over height of a pixel, after rotation; 1 if unknown."""
        aspect = Fraction(self._demuxer.stream.sample_aspect_ratio or 1)
        return 1 / aspect if self.info.rotation % 180 else aspect

    def require(self, modalities: Sequence[Modality]) -> None:
        """Check that the stream provides the modalities.

        Raises:
            UnsupportedStreamError: A modality is unavailable; the message gives file, cause and fix.
        """
        self._parser.require(modalities)

    def __repr__(self) -> str:
        info = self.info
        size, iframes = f"{info.width}x{info.height}", len(info.gop_lengths)
        return (
            f"CompressedVideoReader({self.path!r}: {info.codec} in {self.container}, {size}, "
            f"{counted(info.num_frames, 'frame')}, {counted(iframes, 'I-frame')}, parser {self.parser})"
        )

    def plot(self) -> Figure:
        """Draw segments spread over the video, with the fields that its stream gives.

        Raises:
            UnreadableVideoError: A frame that is needed is damaged.
        """
        from cvr_lightning import plot_reader

        return plot_reader(self)

    def __enter__(self) -> CompressedVideoReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._demuxer.close()

    def segments(self, segments: int, pframes: int, offsets: float | Sequence[float] = 0.5) -> list[Segment]:
        """Spread segments over the video: :func:`cvr_lightning.codec.spread_segments`.

        Raises:
            UnreadableVideoError: The video has no I-frame.
            ValueError: An argument is out of range.
        """
        if "I" not in self.index.frame_types:
            raise self._demuxer.error("it has no I-frame")
        return spread_segments(self.index.frame_types, segments, pframes, offsets)

    def parse(self, frame: int) -> Macroblocks | H264Macroblocks:
        """Parse all macroblocks of one frame of MPEG-4 Part 2 or H.264 video, for tools and tests.

        Args:
            frame: Its number in display order.

        Raises:
            BitstreamError: The frame's packet is damaged.
            UnsupportedStreamError: :attr:`parser` is ``"ffmpeg"``.
            ValueError: The frame does not exist.
        """
        return self._parser.parse(frame)

    def read(
        self,
        segments: Sequence[Segment],
        pframes: int | None = None,
        size: tuple[int, int] | None = None,
        representation: Representation = "block",
        accumulate: bool = False,
        modalities: Sequence[Modality] = MODALITIES,
        coefficients: tuple[int, int] = (16, 4),
    ) -> ClipArrays:
        """Read segments.

        Args:
            segments: From :meth:`segments`.
            pframes: Number of P-frames T of the arrays; shorter windows are masked at the end. None uses the
                longest window, which differs between videos: set it to batch arrays.
            size: (H, W) of the output; None uses the display size. I-frames are scaled by swscale, vectors
                along their axes; block fields use nearest-neighbor resampling.
            representation: ``"block"``, or ``"pixel"`` for motion per pixel and residuals as RGB differences.
            accumulate: Trace motion and residuals back to the I-frame, as in CoViAR.
            modalities: What to read; the other arrays are zero.
            coefficients: Zigzag coefficients kept per luma block and per chroma block.

        Returns:
            The arrays. If neither motion nor residual is requested, the mask is all false.

        Raises:
            UnsupportedStreamError: The stream lacks one of the modalities.
            UnreadableVideoError: A required frame is damaged.
            ValueError: An argument is out of range.
        """
        size = size or (self.info.height, self.info.width)
        longest = max((len(segment.pframes) for segment in segments), default=0)
        pframes = longest if pframes is None else pframes
        if pframes < longest:
            raise ValueError(f"pframes={pframes} is less than those of the longest window, {longest}")
        check_delivery(size, representation, modalities, coefficients)
        check_segments(segments, self.index.frame_types, self.path)
        self._parser.require(modalities, accumulate)
        maker = FieldMaker(
            native=(self.index.facts.height, self.index.facts.width),
            turns=self.info.rotation // 90,
            size=size,
            representation=representation,
            coefficients=coefficients if "residual" in modalities else None,
            accumulate=accumulate,
        )
        parser = self._parser if "iframes" in modalities else None
        iframes, iframe_index = self._read_iframes(segments, size, parser)
        arrays = ClipArrays.without_pframes(iframes, iframe_index, pframes, coefficients, representation)
        if "motion" in modalities or "residual" in modalities:
            self._read_pframes(segments, maker, arrays, "motion" in modalities)
        return arrays

    def read_frames(
        self,
        segments: Sequence[Segment],
        size: tuple[int, int] | None = None,
        coefficients: tuple[int, int] = (16, 4),
    ) -> ClipArrays:
        """Decode frames of any codec, exact by number and without error concealment.

        Args:
            segments: From :func:`cvr_lightning.codec.windows.frames`.
            size: (H, W) of the output; None uses the display size.
            coefficients: Coefficients per luma and chroma block, for the shape of the empty residual.

        Returns:
            The frames in place of I-frames, with one masked P-frame per segment.

        Raises:
            UnreadableVideoError: A required frame is damaged.
        """
        parser = FFmpegParser(self._demuxer, self.index)
        size = size or (self.info.height, self.info.width)
        iframes, iframe_index = self._read_iframes(segments, size, parser)
        return ClipArrays.without_pframes(iframes, iframe_index, 1, coefficients, "block")

    def _read_iframes(
        self, segments: Sequence[Segment], size: tuple[int, int], parser: Parser | None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Distinct I-frames (K, 3, H, W), zero without a parser, and the index (N,) of each segment's."""
        distinct, index = np.unique(
            np.array([segment.iframe for segment in segments], np.int64), return_inverse=True
        )
        index = index.astype(np.int64)
        shape = (len(distinct), 3, *size)
        if parser is None:
            return np.zeros(shape, np.uint8), index
        out = np.empty(shape, np.uint8)
        turns = self.info.rotation // 90
        coded = size[::-1] if turns % 2 else size
        for place, rgb in zip(out, parser.iframes(distinct.tolist(), coded), strict=True):
            geometry.to_planes(np.rot90(rgb, turns), place)
        return out, index

    def _read_pframes(
        self, segments: Sequence[Segment], maker: FieldMaker, arrays: ClipArrays, motion_wanted: bool
    ) -> None:
        """Fill the fields; a P-frame in several windows is read once."""
        places: dict[int, list[tuple[int, int]]] = {}
        for n, segment in enumerate(segments):
            for t, frame in enumerate(segment.pframes):
                places.setdefault(frame, []).append((n, t))
                arrays.mask[n, t], arrays.age[n, t] = True, frame - segment.iframe
        grid = maker.block_grid
        if grid is not None:
            self._fill(places, maker.coefficients, grid, arrays)
            if not motion_wanted:
                arrays.motion.fill(0)
            return
        references = {
            frame: segment.iframe
            for segment in segments
            for frame in needed_pframes(segment, self.index.frame_types, maker.accumulate)
        }
        pframes = self._parser.pframes(sorted(references), maker.needed)
        for frame, motion, residual, modes in maker.make(pframes, references):
            for place in places.get(frame, ()):
                if motion_wanted:
                    arrays.motion[place] = motion
                if residual is not None:
                    arrays.residual[place] = residual
                arrays.modes[place] = modes

    def _fill(
        self,
        places: Mapping[int, Sequence[tuple[int, int]]],
        coefficients: tuple[int, int] | None,
        grid: BlockGrid,
        arrays: ClipArrays,
    ) -> None:
        """Let the parser write directly into the arrays; other windows of the same P-frame are copies."""
        n, t = arrays.mask.shape
        motion, residual, modes = (
            array.reshape(n * t, *array.shape[2:]) for array in (arrays.motion, arrays.residual, arrays.modes)
        )
        if coefficients is None:
            residual = np.empty((n * t, 0, *modes.shape[1:]), np.float32)
        frames = sorted(places)
        slots = [places[frame][0][0] * t + places[frame][0][1] for frame in frames]
        self._parser.fill(frames, slots, coefficients, grid, BlockFields(motion, residual, modes))
        for first, *others in places.values():
            for place in others:
                for array in (arrays.motion, arrays.residual, arrays.modes):
                    array[place] = array[first]
