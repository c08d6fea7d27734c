"""One pass over a video: its frames, how its blocks are coded, what can be read of it and what cannot."""

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
"""P-frames whose modes and vectors are read; of more, so many evenly spread ones."""
COLUMNS = 4
"""P-frames that are shown, one of each equal part of the video, each with its I-frame."""
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
    """How the blocks of n P-frames are coded, one row each.

    Attributes:
        frames: (n,) int64, frame number in display order.
        shares: (n, 5), share of the 8x8 luma blocks that is skipped, inter, inter with 4 vectors, intra,
            intra and predicted.
        mean_px: (n,), mean length of the vectors over all blocks, in pixels.
        longest_px: (n,), length of the longest.
    """

    frames: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float64]
    mean_px: npt.NDArray[np.float64]
    longest_px: npt.NDArray[np.float64]

    def share(self, mode: BlockMode) -> float:
        """Share of all blocks that are coded so."""
        return float(self.shares[:, _CODED.index(mode)].mean())


@dataclass(frozen=True)
class Column:
    """What is shown of one place in the video.

    Attributes:
        iframe: Number of the I-frame in force.
        rgb: (3, H, W) uint8, its picture; None where it cannot be decoded.
        pframe: Number of the P-frame, None where there is none to show.
        motion: (2, H8, W8) in pixels, None without a P-frame.
        residual: (C, H8, W8) in grey levels, None where the stream gives none.
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
    """What a video holds.

    Attributes:
        path: The file.
        file_bytes: Its size.
        container: FFmpeg's name of the container.
        info: The stream at a glance.
        bits: (F,) int64, bits of each frame in display order; of MPEG-4 Part 2, those of the VOP.
        parser: ``"mpeg4"``, ``"h264"`` or ``"ffmpeg"``.
        reason: Why this parser, and what it gives.
        readable: The modalities that the reader gives of it.
        refusal: Why it gives no more, empty where it gives all.
        pframes: Statistics of the P-frames that were read, None where there are none.
        columns: What is shown, in the order of time.
        damage: What was found damaged, one text each.
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

    def share(self, mode: BlockMode) -> float | None:
        """Share of the P-frames' blocks that is coded so, None where that is not known.

        Without the decoded reference FFmpeg's vectors do not tell skipped blocks from inter ones, and a
        partition of H.264 is plain inter whatever its size.
        """
        through_ffmpeg = self.info.codec == "h264" and self.parser == "ffmpeg"
        unknown = (mode == BlockMode.SKIPPED and "residual" not in self.readable) or (
            mode == BlockMode.INTER4V and through_ffmpeg
        )
        return None if self.pframes is None or unknown else self.pframes.share(mode)

    @property
    def modes(self) -> tuple[BlockMode, ...]:
        """The modes that blocks of the codec may have: H.264 alone predicts intra blocks."""
        return _CODED if self.parser == "h264" else _CODED[:-1]

    def mode_name(self, mode: BlockMode, name: str) -> str:
        """The name of a mode, which says so where it takes in skipped blocks."""
        takes_in = mode == BlockMode.INTER and self.share(BlockMode.SKIPPED) is None
        return f"{name} or skipped" if takes_in else name


def survey(path: str | os.PathLike[str]) -> Survey:
    """Look at a video: all its packets, its P-frames, and some pictures.

    Damage does not end the pass: what is damaged is left out and told of.

    Raises:
        UnreadableVideoError: The file is missing, empty, or not a video.
        UnsupportedStreamError: Its frames are displayed in a way that no reader gives.
    """
    with CompressedVideoReader(path) as video:
        readable, refusal = _readable(video)
        errors: list[VideoError] = []
        statistics = _statistics(video, errors) if "motion" in readable else None
        columns = _columns(video, readable, statistics, errors)
        unsupported = [error for error in errors if isinstance(error, UnsupportedStreamError)]
        refusal = refusal or "".join(_told(error) for error in unsupported[:1])
        damage = tuple(_told(error) for error in errors if error not in unsupported)
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
    shares, means, longest = zip(*rows.values(), strict=True)
    return PFrameStatistics(
        np.array(list(rows), np.int64), np.array(shares), np.array(means), np.array(longest)
    )


def _read_chunk(
    video: CompressedVideoReader,
    frames: list[int],
    rows: dict[int, tuple[list[float], float, float]],
    errors: list[VideoError],
) -> None:
    """Add the statistics of some P-frames; where one is damaged, halve them until it stands alone."""
    try:
        arrays = video.read([_segment(video, frame) for frame in frames], t=1, modalities=("motion",))
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


def _told(error: VideoError) -> str:
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
    """At most :data:`COLUMNS` I-frames, the first and the last among them."""
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
    arrays = video.read([segment], t=1, modalities=fields, coefficients=(64, 64))
    residual = arrays.residual[0, 0] if "residual" in readable else None
    return Column(segment.iframe, rgb, segment.pframes[0], arrays.motion[0, 0], residual, arrays.modes[0, 0])
