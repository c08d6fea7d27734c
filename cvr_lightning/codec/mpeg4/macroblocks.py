"""Parsing of one VOP to arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import BlockMode
from cvr_lightning.codec.bitstream.compiling import call
from cvr_lightning.codec.fields.dct import COEFFICIENTS
from cvr_lightning.codec.mpeg4 import bitstream
from cvr_lightning.codec.mpeg4.bidirectional_vop import read_b_vop
from cvr_lightning.codec.mpeg4.headers import VideoObjectLayer
from cvr_lightning.codec.mpeg4.reference_vop import read_vop
from cvr_lightning.codec.mpeg4.texture import intra_memory
from cvr_lightning.codec.mpeg4.vop_header import VideoObjectPlane

_KINDS = {"I": bitstream.I_VOP, "P": bitstream.P_VOP, "B": bitstream.B_VOP}


@dataclass(frozen=True)
class Macroblocks:
    """All macroblock data of a frame, on the grid of M x N whole macroblocks.

    The grid has H8 = 2 M by W8 = 2 N luma blocks, H16 = M by W16 = N macroblocks, and may extend beyond the
    right and bottom edges of the frame.

    Attributes:
        frame_type: I, P or B.
        motion: (H8, W8, 2) int16, vector (x, y) in quarter samples from the current block to its past
            reference; 0 for intra blocks and for B-frame blocks predicted only from the future reference.
        backward: (H8, W8, 2) int16, vector to the future reference of a B-frame; 0 if there is none.
        directions: (H8, W8) uint8, references of the block: 0 none, 1 past, 2 future, 3 the average of both.
        modes: (H8, W8) uint8, the :class:`~cvr_lightning.codec.arrays.BlockMode` of each block. SKIPPED
            macroblocks are not coded: flagged in a P-frame; in a B-frame, the co-located macroblock of the
            future reference is skipped and no bits are coded. In a B-frame, INTER4V is direct mode, whose
            blocks derive one vector each from the co-located macroblock; all other modes are INTER.
        quantizer: (H16, W16) uint8, 1 to 31.
        luma: (H8, W8, 64) int16, dequantized DCT coefficients in zigzag order.
        chroma: (H16, W16, 2, 64) int16, dequantized coefficients of Cb and Cr.
        rounding: vop_rounding_type of the prediction.
        quarter_sample: Vectors have quarter-sample precision; otherwise they are multiples of 2.
    """

    frame_type: str
    motion: npt.NDArray[np.int16]
    backward: npt.NDArray[np.int16]
    directions: npt.NDArray[np.uint8]
    modes: npt.NDArray[np.uint8]
    quantizer: npt.NDArray[np.uint8]
    luma: npt.NDArray[np.int16]
    chroma: npt.NDArray[np.int16]
    rounding: int
    quarter_sample: bool


class DamagedVopError(Exception):
    """A VOP violates the syntax.

    Args:
        cause: What is wrong.
        macroblock: Macroblock number in raster order.
        bit: Bit position, counted from the VOP's start code.
    """

    def __init__(self, cause: str, macroblock: int, bit: int) -> None:
        super().__init__(cause, macroblock, bit)
        self.cause, self.macroblock, self.bit = cause, macroblock, bit


@dataclass(frozen=True, eq=False)
class Layer:
    """Parameters shared by the VOPs of a layer, prepared for the kernels.

    Attributes:
        vol: The layer's header.
        matrices: (2, 64) int64, intra and inter quantizer matrices in zigzag order; zeros if unused.
        dc_unclipped: See :class:`~cvr_lightning.codec.mpeg4.bitstream.Vop`.
        no_stuffing: The encoder may omit the stuffing after a VOP.
    """

    vol: VideoObjectLayer
    matrices: npt.NDArray[np.int64]
    dc_unclipped: bool
    no_stuffing: bool

    @property
    def macroblocks(self) -> tuple[int, int]:
        """(M, N) rows and columns of macroblocks."""
        return -(-self.vol.height // 16), -(-self.vol.width // 16)


def parse_vop(
    data: bytes,
    layer: Layer,
    header: VideoObjectPlane,
    kept: tuple[int, int] = (COEFFICIENTS, COEFFICIENTS),
    colocated: Macroblocks | None = None,
    ticks: tuple[int, int] = (0, 0),
) -> Macroblocks:
    """Parse the macroblocks of a VOP.

    Args:
        data: The VOP from its start code to the next one.
        layer: The current layer.
        header: The header of a coded VOP that is not a sprite.
        kept: Coefficients kept per luma block and per chroma block.
        colocated: The future reference of a B-VOP.
        ticks: For a B-VOP, ticks from the past reference to it and from the past to the future reference.

    Raises:
        DamagedVopError: The VOP is damaged.
    """
    rows, columns = layer.macroblocks
    out = Macroblocks(
        frame_type=header.kind,
        motion=np.zeros((2 * rows, 2 * columns, 2), np.int16),
        backward=np.zeros((2 * rows, 2 * columns, 2), np.int16),
        directions=np.zeros((2 * rows, 2 * columns), np.uint8),
        modes=np.zeros((2 * rows, 2 * columns), np.uint8),
        quantizer=np.zeros((rows, columns), np.uint8),
        luma=np.zeros((2 * rows, 2 * columns, kept[0]), np.int16),
        chroma=np.zeros((rows, columns, 2, kept[1]), np.int16),
        rounding=header.rounding,
        quarter_sample=layer.vol.quarter_sample,
    )
    vop = kernel_header(len(data), layer, header, ticks)
    fields = (out.modes, out.quantizer, out.luma.reshape(-1, kept[0]), out.chroma.reshape(-1, kept[1]))
    stream = (np.frombuffer(data, np.uint8), bitstream.word_buffer(len(data)))
    if colocated is None:
        memory = intra_memory(rows, columns)
        end, macroblock = call(read_vop, *stream, vop, layer.matrices, memory, out.motion, *fields)
        np.not_equal(out.modes, BlockMode.INTRA, out=out.directions, casting="unsafe")
    else:
        scale = 1 if layer.vol.quarter_sample else bitstream.QUARTERS_OF_HALF
        reference = (colocated.motion // scale, colocated.modes)
        vectors = (out.motion, out.backward, out.directions)
        end, macroblock = call(read_b_vop, *stream, vop, layer.matrices, reference, *vectors, *fields)
    if end < 0:
        raise fault_error(end, macroblock)
    return out


def fault_error(result: int, macroblock: int) -> DamagedVopError:
    """Create the error for a fault that a kernel returned."""
    code, position = bitstream.fault_parts(result)
    return DamagedVopError(bitstream.FAULTS[code], macroblock, position)


def kernel_header(
    size: int, layer: Layer, header: VideoObjectPlane, ticks: tuple[int, int] = (0, 0)
) -> bitstream.Vop:
    """Build the kernel parameters of a VOP of ``size`` bytes.

    Raises:
        DamagedVopError: The header has values that the standard forbids (6.3.5).
    """
    rows, columns = layer.macroblocks
    if not header.quantizer or not header.forward or not header.backward:
        cause = "the VOP's header holds a forbidden quantizer or range of vectors"
        raise DamagedVopError(cause, 0, header.position)
    if header.kind == "B" and not 0 < ticks[0] < ticks[1]:
        raise DamagedVopError("the B-VOP does not lie between its references in time", 0, header.position)
    return bitstream.Vop(
        kind=_KINDS[header.kind],
        position=header.position,
        limit=8 * size,
        rows=rows,
        columns=columns,
        quantizer=header.quantizer,
        forward=header.forward,
        backward=header.backward,
        dc_threshold=header.dc_threshold,
        mpeg=layer.vol.matrices is not None,
        packets=layer.vol.packets,
        time_bits=layer.vol.time_bits,
        dc_unclipped=layer.dc_unclipped,
        quarter=layer.vol.quarter_sample,
        since_past=ticks[0],
        between=ticks[1],
        no_stuffing=layer.no_stuffing,
    )
