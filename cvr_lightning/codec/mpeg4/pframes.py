"""Parsing of the P-frames of a clip directly into the caller's arrays, in one call that releases the GIL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import BlockMode
from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.bitstream.kernels import kernel, subroutine
from cvr_lightning.codec.mpeg4.bitstream import Vop, inlined, word_buffer
from cvr_lightning.codec.mpeg4.macroblocks import DamagedVopError, Layer, fault_error, kernel_header
from cvr_lightning.codec.mpeg4.reference_vop import read_vop
from cvr_lightning.codec.mpeg4.texture import intra_memory
from cvr_lightning.codec.mpeg4.vop_header import VideoObjectPlane
from cvr_lightning.codec.parser import BlockFields, BlockGrid

_SKIPPED = int(BlockMode.SKIPPED)


def parse_pframes(
    vops: Sequence[tuple[bytes, Layer, VideoObjectPlane]],
    slots: Sequence[int],
    coefficients: tuple[int, int],
    grid: BlockGrid,
    out: BlockFields,
) -> None:
    """Parse P-VOPs of one video, each into its slot of ``out``.

    Args:
        vops: Bytes, layer and header of each VOP; at least one.
        slots: The slot of each VOP.
        coefficients: Coefficients kept per luma block and per chroma block.
        grid: The blocks to deliver.
        out: Output buffers, initialized to zero.

    Raises:
        DamagedPFrameError: A VOP is damaged; ``out`` is partly filled.
    """
    layers = list({id(layer): layer for _, layer, _ in vops}.values())
    rows, columns = layers[0].macroblocks
    scratch = (
        word_buffer(max(len(data) for data, _, _ in vops)),
        np.empty((2 * rows, 2 * columns, 2), np.int16),
        np.empty((2 * rows, 2 * columns), np.uint8),
        np.empty((rows, columns), np.uint8),
        np.empty((4 * rows * columns, coefficients[0]), np.int16),
        np.empty((2 * rows * columns, coefficients[1]), np.int16),
    )
    number, end, macroblock = call(
        _read_pframes,
        np.frombuffer(b"".join(data for data, _, _ in vops), np.uint8),
        np.cumsum([len(data) for data, _, _ in vops]),
        _kernel_headers(vops),
        np.array([layers.index(layer) for _, layer, _ in vops]),
        np.stack([layer.matrices for layer in layers]),
        scratch,
        intra_memory(rows, columns),
        np.array(slots),
        (grid.rows, grid.columns, grid.scale),
        (out.motion, out.residual, out.modes),
    )
    if end < 0:
        raise DamagedPFrameError(number, fault_error(end, macroblock))


def _kernel_headers(vops: Sequence[tuple[bytes, Layer, VideoObjectPlane]]) -> npt.NDArray[np.int64]:
    """One :class:`Vop` per row."""
    rows = []
    for number, (data, layer, header) in enumerate(vops):
        try:
            rows.append(kernel_header(len(data), layer, header))
        except DamagedVopError as damage:
            raise DamagedPFrameError(number, damage) from damage
    return np.array(rows, np.int64)


class DamagedPFrameError(Exception):
    """One of several VOPs is damaged.

    Args:
        number: Index of the VOP.
        damage: What is wrong.
    """

    def __init__(self, number: int, damage: DamagedVopError) -> None:
        super().__init__(number, damage)
        self.number, self.damage = number, damage


@kernel
def _read_pframes(data, ends, headers, places, matrices, scratch, memory, slots, grid, out):  # type: ignore[no-untyped-def]
    """Fill the slots: index, fault and macroblock of a damaged VOP; no fault if all are valid."""
    words, vectors, modes, quantizers, luma, chroma = scratch
    begin = 0
    for i in range(len(ends)):
        vectors[:] = 0
        modes[:] = 0
        luma[:] = 0
        chroma[:] = 0
        stream, vop, matrix = data[begin : ends[i]], _vop(headers[i]), matrices[places[i]]
        end, macroblock = read_vop(
            stream, words, vop, matrix, memory, vectors, modes, quantizers, luma, chroma
        )
        if end < 0:
            return i, end, macroblock
        begin = ends[i]
        slot = slots[i]
        _deliver(vectors, modes, luma, chroma, grid, out[0][slot], out[1][slot], out[2][slot])
    return len(ends), 0, 0


@inlined
def _vop(row):  # type: ignore[no-untyped-def]
    return Vop(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9] != 0,
        row[10] != 0,
        row[11],
        row[12] != 0,
        row[13] != 0,
        row[14],
        row[15],
        row[16] != 0,
    )


@subroutine
def _deliver(vectors, modes, luma, chroma, grid, motion, residual, out_modes):  # type: ignore[no-untyped-def]
    """Write the blocks of a frame to zeroed planes: vectors in pixels, chroma repeated on the luma grid."""
    rows, columns, scale = grid
    width = vectors.shape[1]
    kept, kept_chroma = luma.shape[1], chroma.shape[1]
    for y in range(len(rows)):
        row = rows[y]
        coded = False
        for x in range(len(columns)):
            column = columns[x]
            mode = modes[row, column]
            out_modes[y, x] = mode
            coded = coded or mode != _SKIPPED
            if motion.shape[0]:
                motion[0, y, x] = vectors[row, column, 0] * scale[0]
                motion[1, y, x] = vectors[row, column, 1] * scale[1]
        if not coded or not residual.shape[0]:
            continue
        for k in range(kept):
            line = residual[k, y]
            for x in range(len(columns)):
                line[x] = luma[row * width + columns[x], k]
        for k in range(kept_chroma):
            cb, cr = residual[kept + k, y], residual[kept + kept_chroma + k, y]
            for x in range(len(columns)):
                block = (row >> 1) * width + (columns[x] >> 1) * 2
                cb[x] = chroma[block, k]
                cr[x] = chroma[block + 1, k]
