"""Basis of the kernels: bits at a position, faults, video packets.

A kernel reads one VOP, stored as words and followed by zeros, and takes and returns bit positions. On invalid
syntax it returns a fault instead: a negative number that encodes the position and one of the codes below. An
all-zero window matches no variable-length code of the standard, so parsing of a truncated VOP stops at its
end; reads extend at most a few words beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.bitstream.kernels import OPTIONS, subroutine

I_VOP: Final = 0
P_VOP: Final = 1
B_VOP: Final = 2

BAD_MCBPC: Final = 1
BAD_CBPY: Final = 2
BAD_VECTOR: Final = 3
BAD_DC: Final = 4
BAD_COEFFICIENT: Final = 5
BAD_MARKER: Final = 6
BAD_TYPE: Final = 7
CUT_SHORT: Final = 8
BAD_END: Final = 9
FAULTS: Final = {
    BAD_MCBPC: "invalid code of a macroblock type",
    BAD_CBPY: "invalid code of a coded block pattern",
    BAD_VECTOR: "invalid code of a vector difference",
    BAD_DC: "invalid code of a DC difference",
    BAD_COEFFICIENT: "invalid code of a coefficient, or more than 64 coefficients in a block",
    BAD_MARKER: "invalid header of a video packet",
    BAD_TYPE: "invalid code of a B-VOP macroblock type",
    CUT_SHORT: "the VOP is truncated",
    BAD_END: "expected stuffing and the end of the VOP",
}
QUARTERS_OF_HALF: Final = 2
_PADDING_WORDS = 8
_RESYNC_ZEROS = 16
_WIDEST_B_MARKER = 18


class Vop(NamedTuple):
    """Parameters of a VOP and its layer for the kernels.

    Attributes:
        kind: I_VOP, P_VOP or B_VOP.
        position: Bit position of the first macroblock.
        limit: Size of the VOP in bits.
        rows: Rows of macroblocks.
        columns: Columns of macroblocks.
        quantizer: vop_quant.
        forward: vop_fcode_forward, 1 if absent.
        backward: vop_fcode_backward, 1 if absent.
        dc_threshold: Quantizer from which intra DC has no separate code.
        mpeg: MPEG quantization with matrices; otherwise H.263 quantization.
        packets: Resync markers may occur.
        time_bits: Length of vop_time_increment in bits.
        dc_unclipped: The encoder predicts DC from unclipped values (old XviD and libavcodec).
        quarter: Vectors are in quarter samples.
        since_past: Ticks from the past reference to a B-VOP (TRB of 7.6.9.5.2).
        between: Ticks between the references of a B-VOP (TRD).
        no_stuffing: The encoder may omit the stuffing after the VOP.
    """

    kind: int
    position: int
    limit: int
    rows: int
    columns: int
    quantizer: int
    forward: int
    backward: int
    dc_threshold: int
    mpeg: bool
    packets: bool
    time_bits: int
    dc_unclipped: bool
    quarter: bool
    since_past: int
    between: int
    no_stuffing: bool


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function inline: a call would pass each array as a dozen words."""
    return numba.njit(inline="always", **OPTIONS)(function)


def word_buffer(size: int) -> npt.NDArray[np.int64]:
    """Allocate the word buffer for a VOP of ``size`` bytes."""
    return np.empty(size // 4 + _PADDING_WORDS, np.int64)


@inlined
def to_words(data, buffer):  # type: ignore[no-untyped-def]
    """Store the 64 bits from every fourth byte of ``data``, followed by zeros."""
    count = data.size // 4
    words = buffer[: count + _PADDING_WORDS]
    words[:] = 0
    for i in range(count):
        for k in range(4):
            words[i] = words[i] << 8 | data[4 * i + k]
    for k in range(data.size - 4 * count):
        words[count] |= np.int64(data[4 * count + k]) << (24 - 8 * k)
    for i in range(count + 1):
        words[i] = words[i] << 32 | words[i + 1]
    return words


@inlined
def window(words, position):  # type: ignore[no-untyped-def]
    """Peek at the next 32 bits."""
    return words[position >> 5] << (position & 31) >> 32 & 0xFFFFFFFF


@subroutine
def fault(code, position):  # type: ignore[no-untyped-def]
    """Encode a fault, returned in place of a position."""
    return -(position << 4 | code)


def fault_parts(result: int) -> tuple[int, int]:
    """Code and position of a fault."""
    return -result & 15, -result >> 4


@inlined
def at_packet(words, position, limit):  # type: ignore[no-untyped-def]
    """Whether stuffing to the byte boundary and a resync marker follow (5.2.4)."""
    stuffing = 8 - (position & 7)
    bits = window(words, position)
    expected = ((1 << (stuffing - 1)) - 1) << _RESYNC_ZEROS
    return bits >> (32 - stuffing - _RESYNC_ZEROS) == expected and position + stuffing + 24 <= limit


@subroutine
def packet_header(words, position, vop, quantizer):  # type: ignore[no-untyped-def]
    """Read video_packet_header (6.2.5.2): position, number of its first macroblock, quantizer.

    The fields of a header extension repeat those of the VOP and are skipped, as in FFmpeg.
    """
    position += 8 - (position & 7)
    zeros = _RESYNC_ZEROS
    if vop.kind == P_VOP:
        zeros = 15 + vop.forward
    elif vop.kind == B_VOP:
        zeros = max(15 + max(vop.forward, vop.backward), _WIDEST_B_MARKER - 1)
    if window(words, position) >> (31 - zeros) != 1:
        return fault(BAD_MARKER, position), 0, 0
    position += zeros + 1
    last, width = vop.rows * vop.columns - 1, 1
    while last >> width:
        width += 1
    macroblock = window(words, position) >> (32 - width)
    position += width
    coded = window(words, position) >> 27
    extended = window(words, position) >> 26 & 1
    position += 6
    if extended:
        while window(words, position) >> 31:  # modulo_time_base
            position += 1
            if position > vop.limit:
                return fault(CUT_SHORT, position), 0, 0
        position += 1 + 1 + vop.time_bits + 1 + 2 + 3  # marker bits, time, type, intra_dc_vlc_thr
        position += 3 * vop.kind  # the codes of P- and B-VOPs: one and two
    return position, macroblock, coded if coded else quantizer


@inlined
def past_stuffing(words, position, kind):  # type: ignore[no-untyped-def]
    """Skip stuffing macroblocks (6.3.6)."""
    if kind == P_VOP:
        while window(words, position) >> 22 == 1:  # not_coded is 0, then MCBPC
            position += 10
    elif kind == I_VOP:
        while window(words, position) >> 23 == 1:
            position += 9
    return position


@subroutine
def vop_end(data, position, no_stuffing):  # type: ignore[no-untyped-def]
    """The position after the last macroblock, or a fault if the VOP does not end there.

    A zero bit, ones to the byte boundary and only zero bytes must follow (5.2.4).
    """
    place, used = position >> 3, position & 7
    if no_stuffing and 8 * data.size - position < 8:
        return position
    if place >= data.size or data[place] & (0xFF >> used) != 0x7F >> used:
        return fault(BAD_END, position)
    for i in range(place + 1, data.size):
        if data[i]:
            return fault(BAD_END, position)
    return position
