"""One pass over a video: frames, block modes, readable fields, damage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec import CompressedVideoReader, Segment
from cvr_lightning.codec.arrays import MODALITIES, BlockMode, Modality
from cvr_lightning.codec.container.info import StreamInfo
from cvr_lightning.codec.errors import UnsupportedStreamError, VideoError
from cvr_lightning.tools.inspect.advice import Advice, advise

MOST_PFRAMES = 500
"""Maximum number of P-frames whose modes and vectors are read; of more, an evenly spread sample."""
COLUMNS = 4
"""Number of P-frames shown, one of each equal part of the video, each with its I-frame."""
_CHUNK = 64  # P-frames in memory at a time
_CODED = (
    BlockMode.SKIPPED,
    BlockMode.INTER,
    BlockMode.INTER4V,
    BlockMode.INTRA,
    BlockMode.INTRA_PREDICTED,
)


@dataclass(frozen=True)
class PFrameStatistics:
    """Block modes and vector lengths of n P-frames, one row each.

    Attributes:
        frames: (n,) int64, frame number in display order.
        fractions: (n, 5), fraction of the 8x8 luma blocks that are skipped, inter, inter with 4 vectors,
            intra, predicted intra.
        mean_px: (n,), mean length of the vectors over all blocks, in pixels.
        longest_px: (n,), length of the longest vector, in pixels.
    """

    frames: npt.NDArray[np.int64]
    fractions: npt.NDArray[np.float64]
    mean_px: npt.NDArray[np.float64]
    longest_px: npt.NDArray[np.float64]

    def fraction(self, mode: BlockMode) -> float:
        """Fraction of all blocks with this mode."""
        return float(self.fractions[:, _CODED.index(mode)].mean())


@dataclass(frozen=True)
class Column:
    """One column of the sheet.

    Attributes:
        iframe: Number of the I-frame in force.
        rgb: (3, H, W) uint8, the decoded I-frame; None if it cannot be decoded.
        pframe: Number of the P-frame, None if there is none.
        motion: (2, H8, W8) in pixels, None without a P-frame.
        residual: (C, H8, W8) in gray levels, None if it cannot be read.
        modes: (H8, W8), None without a P-frame.
    """

    iframe: int
    rgb: npt.NDArray[np.uint8] | None
    pframe: int | None = None
    motion: npt.NDArray[np.float32] | None = None
    residual: npt.NDArray[np.float32] | None = None
    modes: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Survey:
    """Contents of a video.

    Attributes:
        path: The file.
        file_bytes: Its size.
        container: FFmpeg's name of the container.
        info: Properties of the stream.
        bits: (F,) int64, bits of each frame in display order; of MPEG-4 Part 2, those of the VOP.
        parser: ``"mpeg4"``, ``"h264"`` or ``"ffmpeg"``.
        reason: Why this parser is used, and what it delivers.
        readable: The modalities that the reader delivers.
        refusal: Why it does not deliver all, empty if it does.
        pframes: Statistics of the P-frames read, None if there are none.
        columns: Columns of the sheet, in order of time.
        damage: One text for each damage found.
        advice: Whether to prepare it.
    """

    path: str
    file_bytes: int
    container: str
    info: StreamInfo
    bits: npt.NDArray[np.int64]
    parser: str
    reason: str
    readable: tuple[Modality, ...]
    refusal: str
    pframes: PFrameStatistics | None
    columns: tuple[Column, ...]
    damage: tuple[str, ...]
    advice: Advice

    def fraction(self, mode: BlockMode) -> float | None:
        """Fraction of the P-frames' blocks with this mode, None if unknown.

        FFmpeg's vectors do not distinguish skipped from inter blocks without the decoded reference; H.264
        partitions of any size count as plain inter.
        """
        through_ffmpeg = self.info.codec == "h264" and self.parser == "ffmpeg"
        unknown = (mode == BlockMode.SKIPPED and "residual" not in self.readable) or (
            mode == BlockMode.INTER4V and through_ffmpeg
        )
        return None if self.pframes is None or unknown else self.pframes.fraction(mode)

    @property
    def modes(self) -> tuple[BlockMode, ...]:
        """The possible modes of the codec's blocks; only H.264 predicts intra blocks."""
        return _CODED if self.parser == "h264" else _CODED[:-1]

    def mode_name(self, mode: BlockMode, name: str) -> str:
        """The name of a mode, noting that it includes skipped blocks if they are not distinguished."""
        takes_in = mode == BlockMode.INTER and self.fraction(BlockMode.SKIPPED) is None
        return f"{name} or skipped" if takes_in else name


def survey(path: str | os.PathLike[str]) -> Survey:
    """Read all packets, the P-frames and some pictures of a video.

    Damaged frames are skipped and listed.

    Raises:
        UnreadableVideoError: The file is missing, empty, or not a video.
        UnsupportedStreamError: Its frames are displayed in an unsupported way.
    """
    with CompressedVideoReader(path) as video:
        readable, refusal = _readable(video)
        errors: list[VideoError] = []
        statistics = _statistics(video, errors) if "motion" in readable else None
        columns = _columns(video, readable, statistics, errors)
        unsupported = [error for error in errors if isinstance(error, UnsupportedStreamError)]
        refusal = refusal or "".join(_described(error) for error in unsupported[:1])
        damage = tuple(_described(error) for error in errors if error not in unsupported)
        return Survey(
            path=os.fspath(path),
            file_bytes=video.index.facts.file_size,
            container=video.container,
            info=video.info,
            bits=frame_bits(video),
            parser=video.parser,
            reason=video.reason,
            readable=readable,
            refusal=refusal,
            pframes=statistics,
            columns=columns,
            damage=damage,
            advice=advise(video, refusal, damage),
        )


def frame_bits(video: CompressedVideoReader) -> npt.NDArray[np.int64]:
    """(F,) bits of each frame in display order; a packet of MPEG-4 Part 2 may hold several."""
    index = video.index
    sizes = index.frame_sizes if index.codec == "mpeg4" else index.sizes[index.frame_packets]
    return 8 * sizes


def _readable(video: CompressedVideoReader) -> tuple[tuple[Modality, ...], str]:
    """The modalities that the stream gives, and why not the first of the others."""
    given: list[Modality] = []
    refusal = "" if "I" in video.info.frame_types else "it has no I-frame"
    for modality in MODALITIES if not refusal else ():
        try:
            video.require((modality,))
            given.append(modality)
        except UnsupportedStreamError as error:
            refusal = refusal or error.cause
    return tuple(given), refusal


def _statistics(video: CompressedVideoReader, errors: list[VideoError]) -> PFrameStatistics | None:
    types = np.frombuffer(video.info.frame_types.encode(), "S1")
    pframes = np.flatnonzero(types == b"P")
    pframes = pframes[pframes > np.flatnonzero(types == b"I")[0]]
    if len(pframes) > MOST_PFRAMES:
        pframes = pframes[np.linspace(0, len(pframes) - 1, MOST_PFRAMES).round().astype(int)]
    rows: dict[int, tuple[list[float], float, float]] = {}
    for start in range(0, len(pframes), _CHUNK):
        _read_chunk(video, pframes[start : start + _CHUNK].tolist(), rows, errors)
    if not rows:
        return None
    fractions, means, longest = zip(*rows.values(), strict=True)
    return PFrameStatistics(
        np.array(list(rows), np.int64), np.array(fractions), np.array(means), np.array(longest)
    )


def _read_chunk(
    video: CompressedVideoReader,
    frames: list[int],
    rows: dict[int, tuple[list[float], float, float]],
    errors: list[VideoError],
) -> None:
    """Add the statistics of a chunk of P-frames; bisect it to isolate damaged frames."""
    try:
        arrays = video.read([_segment(video, frame) for frame in frames], pframes=1, modalities=("motion",))
    except VideoError as error:
        if len(frames) == 1:
            errors.append(error)
            return
        _read_chunk(video, frames[: len(frames) // 2], rows, errors)
        _read_chunk(video, frames[len(frames) // 2 :], rows, errors)
        return
    for frame, motion, modes in zip(frames, arrays.motion[:, 0], arrays.modes[:, 0], strict=True):
        counts = np.bincount(modes.ravel(), minlength=len(BlockMode))[list(_CODED)]
        length = np.hypot(*motion)
        rows[frame] = (counts / modes.size).tolist(), float(length.mean()), float(length.max())


def _segment(video: CompressedVideoReader, pframe: int) -> Segment:
    return Segment(video.info.frame_types.rindex("I", 0, pframe), (pframe,))


def _described(error: VideoError) -> str:
    return error.cause if error.frame is None else f"frame {error.frame}: {error.cause}"


def _columns(
    video: CompressedVideoReader,
    readable: Sequence[Modality],
    statistics: PFrameStatistics | None,
    errors: list[VideoError],
) -> tuple[Column, ...]:
    if "iframes" not in readable:
        return ()
    if statistics is None:
        return tuple(_column(video, Segment(frame, ()), readable, errors) for frame in _iframes(video))
    parts = np.array_split(np.arange(len(statistics.frames)), min(COLUMNS, len(statistics.frames)))
    busiest = [int(statistics.frames[part[statistics.mean_px[part].argmax()]]) for part in parts]
    return tuple(_column(video, _segment(video, frame), readable, errors) for frame in busiest)


def _iframes(video: CompressedVideoReader) -> list[int]:
    """At most :data:`COLUMNS` evenly spread I-frames, including the first and the last."""
    frames = [frame for frame, kind in enumerate(video.info.frame_types) if kind == "I"]
    places = np.unique(np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int))
    return [frames[place] for place in places]


def _column(
    video: CompressedVideoReader, segment: Segment, readable: Sequence[Modality], errors: list[VideoError]
) -> Column:
    rgb: npt.NDArray[np.uint8] | None = None
    try:
        rgb = video.read([segment], modalities=("iframes",)).iframes[0]
    except VideoError as error:
        errors.append(error)
    if not segment.pframes:
        return Column(segment.iframe, rgb)
    fields = tuple(modality for modality in readable if modality != "iframes")
    arrays = video.read([segment], pframes=1, modalities=fields, coefficients=(64, 64))
    residual = arrays.residual[0, 0] if "residual" in readable else None
    return Column(segment.iframe, rgb, segment.pframes[0], arrays.motion[0, 0], residual, arrays.modes[0, 0])
