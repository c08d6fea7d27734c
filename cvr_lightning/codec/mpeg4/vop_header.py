"""Headers of video object planes, the frames of MPEG-4 Part 2 (ISO/IEC 14496-2, 6.2.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cvr_lightning.codec.bitstream.kernels import kernel, subroutine
from cvr_lightning.codec.bitstream.words import find_start_code
from cvr_lightning.codec.mpeg4.bitstream import B_VOP, P_VOP
from cvr_lightning.codec.mpeg4.headers import VideoObjectLayer
from cvr_lightning.codec.mpeg4.tables import DC_THRESHOLDS

VOP_START = b"\x00\x00\x01\xb6"
_VOP_CODE = VOP_START[3]
_HEADER_BYTES = 64
TYPES = "IPBS"
_SPRITE_VOP = 3


class VideoObjectPlane(NamedTuple):
    """A VOP header (ISO/IEC 14496-2, 6.2.5).

    Attributes:
        kind: One of I, P, B, S, or N if the VOP is not coded.
        rounding: vop_rounding_type.
        seconds: Seconds from modulo_time_base.
        ticks: vop_time_increment.
        dc_threshold: Quantizer from which intra DC has no separate code.
        quantizer: vop_quant.
        forward: vop_fcode_forward, 1 if absent.
        backward: vop_fcode_backward, 1 if absent.
        position: Bit position of the first macroblock, counted from the VOP start code.
    """

    kind: str
    rounding: int = 0
    seconds: int = 0
    ticks: int = 0
    dc_threshold: int = 0
    quantizer: int = 0
    forward: int = 1
    backward: int = 1
    position: int = 0


def parse_vop_header(data: bytes, vol: VideoObjectLayer) -> VideoObjectPlane:
    """Parse a VOP header.

    Fields added by sprites, field tools or complexity estimates are not parsed: in such layers only kind,
    rounding and time are valid.

    Args:
        data: Bytes from the VOP start code on.
        vol: The current layer.

    Raises:
        EOFError: The header is truncated.
    """
    header = _plane(*_read(np.frombuffer(data, np.uint8), 0, vol.time_bits))
    if header is None:
        raise EOFError(f"header ends at bit {8 * min(len(data), _HEADER_BYTES)}")
    return header


def _plane(
    whole: bool,
    coded: int,
    kind: int,
    seconds: int,
    ticks: int,
    rounding: int,
    threshold: int,
    quantizer: int,
    forward: int,
    backward: int,
    position: int,
) -> VideoObjectPlane | None:
    """Build a header from its coded fields; None if it is truncated."""
    if not whole:
        return None
    if not coded:
        return VideoObjectPlane("N", 0, seconds, ticks)
    threshold = DC_THRESHOLDS[threshold]
    return VideoObjectPlane(
        TYPES[kind], rounding, seconds, ticks, threshold, quantizer, forward, backward, position
    )


def vops(data: bytes, vol: VideoObjectLayer) -> Iterator[tuple[int, int, VideoObjectPlane]]:
    """The VOPs of a packet in coded order: byte offset, size and header.

    There are several if an AVI packs B-VOPs after a P-VOP. A VOP ends at the next start code.
    """
    stream = np.frombuffer(data, np.uint8)
    end = 0
    while end < len(stream):
        start, end, *fields = next_vop(stream, end, vol.time_bits)
        if (header := _plane(*fields)) is None:
            return
        yield start, end - start, header


@kernel
def next_vop(data, begin, time_bits):  # type: ignore[no-untyped-def]
    """The first VOP at or after a byte: start, end, and the fields of its header."""
    start = vop_start(data, begin)
    return start, find_start_code(data, start + 4), *_read(data, start, time_bits)


@subroutine
def vop_start(data, begin):  # type: ignore[no-untyped-def]
    """Position of the first VOP at or after a byte; the size of the data if there is none."""
    start = find_start_code(data, begin)
    while start + 3 < data.size and data[start + 3] != _VOP_CODE:
        start = find_start_code(data, start + 3)
    return start if start + 3 < data.size else data.size


@subroutine
def _bits(data, position, count):  # type: ignore[no-untyped-def]
    """Read ``count`` bits; bits after the data are zero."""
    value = 0
    for i in range(position, position + count):
        value <<= 1
        if i >> 3 < data.size:
            value |= data[i >> 3] >> (7 - (i & 7)) & 1
    return value


@kernel
def _read(data, start, time_bits):  # type: ignore[no-untyped-def]
    """Read a VOP header at the byte ``start``: whether it is complete, its coded fields, the next bit.

    The bit position is counted from ``start``.
    """
    data = data[start : start + _HEADER_BYTES]
    kind = _bits(data, 32, 2)
    position, seconds = 34, 0
    while _bits(data, position, 1):  # modulo_time_base
        seconds += 1
        position += 1
    position += 2  # its end, a marker bit
    ticks = _bits(data, position, time_bits)
    position += time_bits + 1
    coded = _bits(data, position, 1)
    position += 1
    rounding, threshold, quantizer, forward, backward = 0, 0, 0, 1, 1
    if coded:
        if kind in (P_VOP, _SPRITE_VOP):
            rounding = _bits(data, position, 1)
            position += 1
        threshold, quantizer = _bits(data, position, 3), _bits(data, position + 3, 5)
        position += 8
        if kind in (P_VOP, B_VOP):
            forward = _bits(data, position, 3)
            position += 3
        if kind == B_VOP:
            backward = _bits(data, position, 3)
            position += 3
    whole = position <= 8 * data.size
    return whole, coded, kind, seconds, ticks, rounding, threshold, quantizer, forward, backward, position
