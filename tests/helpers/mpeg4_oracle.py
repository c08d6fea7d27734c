"""MPEG-4 Part 2 frames rebuilt from what the parser says, and what FFmpeg says of the same frames.

FFmpeg decodes with ``flags=+bitexact`` (exact half-sample averages, mismatch control of intra blocks) and
``idct=simple`` (its integer IDCT, repeated here; XviD streams would otherwise switch to one of their own).
With these two, rebuilt samples equal decoded ones exactly, without any drift over a GOP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags2
from av.video.frame import PictureType

from cvr_lightning.codec import BlockMode, CompressedVideoReader
from cvr_lightning.codec.fields.dct import ZIGZAG
from cvr_lightning.codec.mpeg4.macroblocks import Macroblocks
from cvr_lightning.codec.mpeg4.prediction import Planes, predict

# FFmpeg's integer IDCT: cosines scaled to 14 bits, the first of 45 degrees rounded down.
_W = (0, 22725, 21407, 19266, 16383, 12873, 8867, 4520)
_ROW_SHIFT, _COLUMN_SHIFT = 11, 20
_BUILD = re.compile(rb"XviD(\d+)|DivX(\d+)|Lavc|FFmpe")
_Vectors = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """A frame as FFmpeg decodes it: planes cropped for display; vectors None where it exports none.

    Vectors are in quarter samples on the grid of 8x8 blocks of whole macroblocks. Of B-frames of this codec
    FFmpeg exports nothing but zero vectors, so theirs are checked by the rebuilt samples alone.
    """

    kind: str
    planes: Planes
    vectors: _Vectors | None
    predicted: npt.NDArray[np.bool_] | None


def decode(path: str) -> Iterator[Decoded]:
    """All frames in display order."""
    with av.open(path, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.flags2 |= Flags2.export_mvs
        stream.codec_context.options = {"flags": "+bitexact", "idct": "simple"}
        for frame in container.decode(stream):
            grid = (2 * -(-frame.height // 16), 2 * -(-frame.width // 16))
            planes = tuple(
                np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width].copy()
                for plane in frame.planes
            )
            data = frame.side_data.get("MOTION_VECTORS")
            vectors = predicted = None
            if data is not None:
                exported = data.to_ndarray()
                exported = exported.astype([(name, "i8") for name in exported.dtype.names])
                vectors, predicted = _spread(exported, grid)
            yield Decoded(PictureType(frame.pict_type).name, planes, vectors, predicted)  # type: ignore[arg-type]


def _spread(exported: npt.NDArray[np.void], grid: tuple[int, int]) -> tuple[_Vectors, npt.NDArray[np.bool_]]:
    out, covered = np.zeros((*grid, 2), np.int64), np.zeros(grid, bool)
    for mv in exported:
        side = mv["w"] // 8
        y, x = (mv["dst_y"] - mv["h"] // 2) // 8, (mv["dst_x"] - mv["w"] // 2) // 8
        out[y : y + side, x : x + side] = np.array([mv["motion_x"], mv["motion_y"]]) * 4 // mv["motion_scale"]
        covered[y : y + side, x : x + side] = True
    return out, covered


def _butterfly(x: npt.NDArray[np.int64], bias: int, shift: int) -> npt.NDArray[np.int64]:
    """One dimension of the IDCT along the last axis."""
    c = [x[..., k] for k in range(8)]
    w1, w2, w3, w4, w5, w6, w7 = _W[1:]
    even, odd = w4 * (c[0] + c[4]) + bias, w4 * (c[0] - c[4]) + bias
    a = (
        even + w2 * c[2] + w6 * c[6],
        odd + w6 * c[2] - w2 * c[6],
        odd - w6 * c[2] + w2 * c[6],
        even - w2 * c[2] - w6 * c[6],
    )
    b = (
        w1 * c[1] + w3 * c[3] + w5 * c[5] + w7 * c[7],
        w3 * c[1] - w7 * c[3] - w1 * c[5] - w5 * c[7],
        w5 * c[1] - w1 * c[3] + w7 * c[5] + w3 * c[7],
        w7 * c[1] - w5 * c[3] + w3 * c[5] - w1 * c[7],
    )
    out = [p + q for p, q in zip(a, b, strict=True)] + [p - q for p, q in zip(a, b, strict=True)][::-1]
    return np.stack(out, -1) >> shift


def _inverse(spectra: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Samples of (blocks, row, column) coefficients."""
    rows = _butterfly(spectra, 1 << (_ROW_SHIFT - 1), _ROW_SHIFT)
    flat = ~spectra[..., 1:].any(-1)
    rows[flat] = 8 * spectra[flat][:, :1]
    bias = (1 << (_COLUMN_SHIFT - 1)) // _W[4] * _W[4]
    return _butterfly(rows.swapaxes(-1, -2), bias, _COLUMN_SHIFT).swapaxes(-1, -2)


def _add_blocks(coefficients: npt.NDArray[np.int16], plane: npt.NDArray[np.uint8]) -> None:
    rows, columns, _ = coefficients.shape
    y, x = np.nonzero(coefficients.any(2))
    spectra = np.zeros((len(y), 8, 8), np.int64)
    spectra[:, ZIGZAG[:, 0], ZIGZAG[:, 1]] = coefficients[y, x]
    blocks = plane.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
    blocks[y, x] = np.clip(blocks[y, x] + _inverse(spectra), 0, 255)


def _predict(frame: Macroblocks, past: Planes | None, future: Planes | None) -> list[npt.NDArray[np.uint8]]:
    split = frame.modes[::2, ::2] == BlockMode.INTER4V
    scale = 1 if frame.quarter_sample else 2
    sides = []
    for side, reference, vectors in ((1, past, frame.motion), (2, future, frame.backward)):
        if reference is not None:
            used = frame.directions & side > 0
            planes = predict(
                reference,
                vectors.astype(np.int64) // scale,
                used,
                split,
                frame.quarter_sample,
                frame.rounding,
            )
            sides.append((used, planes))
    if len(sides) == 1:
        return list(sides[0][1])
    (first, a), (second, b) = sides
    out = []
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        side = 8 if i == 0 else 4
        one, two = (used.repeat(side, 0).repeat(side, 1) for used in (first, second))
        mean = (x.astype(np.int64) + y + 1) >> 1
        out.append(np.where(one & two, mean, np.where(two, y, x)).astype(np.uint8))
    return out


def _rebuild(frame: Macroblocks, past: Planes | None, future: Planes | None) -> Planes:
    rows, columns = frame.modes.shape
    if past is None:
        sizes = ((8 * rows, 8 * columns), (4 * rows, 4 * columns), (4 * rows, 4 * columns))
        planes = [np.zeros(size, np.uint8) for size in sizes]
    else:
        planes = _predict(frame, past, future)
    _add_blocks(frame.luma, planes[0])
    _add_blocks(frame.chroma[:, :, 0], planes[1])
    _add_blocks(frame.chroma[:, :, 1], planes[2])
    return planes[0], planes[1], planes[2]


def _pads_at_display_size(video: CompressedVideoReader) -> bool:
    """Old encoders repeat the edges of the displayed frame, not those of whole macroblocks."""
    for xvid, divx in _BUILD.findall(video.index.headers.tobytes()):
        if (xvid and int(xvid) <= 12) or (divx and int(divx) < 500):
            return True
    return not _BUILD.search(video.index.headers.tobytes()) and video.index.facts.codec_tag == "XVID"


def rebuild(video: CompressedVideoReader, frames: int) -> Iterator[tuple[int, Macroblocks, Planes]]:
    """The first frames of a video: number, what the parser says, planes of the display size."""
    types = video.info.frame_types
    height, width = video.index.facts.height, video.index.facts.width
    sizes = ((height, width), (-(-height // 2), -(-width // 2)), (-(-height // 2), -(-width // 2)))
    crop = _pads_at_display_size(video)
    last: Planes | None = None
    waiting: list[int] = []
    for n in range(min(frames, len(types))):
        if types[n] == "B":
            waiting.append(n)
            continue
        parsed = video.parse(n)
        whole = _rebuild(parsed, None if types[n] == "I" else last, None)
        if crop:
            whole = tuple(
                np.pad(p[:h, :w], ((0, p.shape[0] - h), (0, p.shape[1] - w)), "edge")
                for p, (h, w) in zip(whole, sizes, strict=True)
            )  # type: ignore[assignment]
        todo = [(b, video.parse(b)) for b in waiting]
        done = [(b, macroblocks, _rebuild(macroblocks, last, whole)) for b, macroblocks in todo]
        for number, macroblocks, planes in [*done, (n, parsed, whole)]:
            yield (
                number,
                macroblocks,
                tuple(p[:h, :w] for p, (h, w) in zip(planes, sizes, strict=True)),  # type: ignore[misc]
            )
        last, waiting = whole, []


def _overwritten(parsed: Macroblocks, exported: _Vectors) -> npt.NDArray[np.bool_]:
    """Blocks whose vector FFmpeg loses after it has used it.

    Where a video packet begins with a macroblock of four vectors, FFmpeg predicts its third one with the left
    neighbor set to zero, and it sets it where the fourth vector of the macroblock before is stored.
    """
    lost = np.zeros(parsed.modes.shape, bool)
    lost[1::2, 1:-1:2] = parsed.modes[1::2, 2::2] == BlockMode.INTER4V
    return lost & ~exported.any(2)


def compare(path: str, frames: int = 1000) -> dict[str, float]:
    """Compare the parser with FFmpeg.

    Returns:
        frames compared; wrong_vectors and wrong_intra: frames in which the vectors or the map of intra blocks
        differ; error: the largest mean absolute error of a plane, in gray levels; impure: macroblocks called
        skipped that have a vector or coefficients.
    """
    out = {"frames": 0, "vectors": 0, "wrong_vectors": 0, "wrong_intra": 0, "error": 0.0, "impure": 0}
    with CompressedVideoReader(path, parser="mpeg4") as video:
        decoded = list(islice(decode(path), frames))
        assert "".join(frame.kind for frame in decoded) == video.info.frame_types[:frames]
        for number, parsed, planes in rebuild(video, frames):
            expected = decoded[number]
            out["frames"] += 1
            for a, b in zip(planes, expected.planes, strict=True):
                out["error"] = max(out["error"], float(np.abs(a.astype(int) - b).mean()))
            skipped = parsed.modes == BlockMode.SKIPPED
            chroma = parsed.chroma.any((2, 3)).repeat(2, 0).repeat(2, 1)
            out["impure"] += int((skipped & (parsed.motion.any(2) | parsed.luma.any(2) | chroma)).sum())
            if parsed.frame_type == "P" and expected.vectors is not None:
                out["vectors"] += 1
                wrong = (parsed.motion != expected.vectors).any(2) & ~_overwritten(parsed, expected.vectors)
                out["wrong_vectors"] += bool(wrong.any())
                out["wrong_intra"] += not np.array_equal(parsed.directions > 0, expected.predicted)
    return out
