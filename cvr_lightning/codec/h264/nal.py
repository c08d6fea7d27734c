"""NAL units: where they lie in a packet, and what they hold (ITU-T H.264, 7.3.1 and Annex B)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from cvr_lightning.codec.bitstream.kernels import kernel, subroutine
from cvr_lightning.codec.bitstream.words import has_two_zeros

SLICE: Final = 1
PARTITION_A: Final = 2
PARTITION_C: Final = 4
IDR_SLICE: Final = 5
SEQUENCE_PARAMETERS: Final = 7
PICTURE_PARAMETERS: Final = 8
SUPPLEMENTAL: Final = 6


def length_size(extradata: bytes) -> int:
    """Bytes of a NAL unit's length prefix (ISO/IEC 14496-15, 5.3.3.1); 0 for the Annex B byte stream."""
    return (extradata[4] & 3) + 1 if len(extradata) >= 7 and extradata[0] == 1 else 0


def extradata_units(extradata: bytes) -> Iterator[bytes]:
    """The parameter sets that a container holds apart from the packets."""
    if not length_size(extradata):
        data = np.frombuffer(extradata, np.uint8)
        position = 0
        while True:
            begin, end, position = next_unit(data, position, len(data), 0)
            if begin < 0:
                return
            yield extradata[begin:end]
    position = 5
    for mask in (0x1F, 0xFF):  # sequence parameter sets, then picture parameter sets
        if position >= len(extradata):
            return
        count = extradata[position] & mask
        position += 1
        for _ in range(count):
            size = int.from_bytes(extradata[position : position + 2], "big")
            yield extradata[position + 2 : position + 2 + size]
            position += 2 + size


@subroutine
def _start_code(data, position, limit):  # type: ignore[no-untyped-def]
    """The next 00 00 01 at or behind ``position``, ``limit`` where there is none."""
    position += 2
    while position < limit:
        byte = data[position]
        if byte > 1:
            position += 3
        elif byte == 0:
            position += 1
        elif data[position - 1] == 0 and data[position - 2] == 0:
            return position - 2
        else:
            position += 3
    return limit


@kernel
def next_unit(data, position, limit, prefix):  # type: ignore[no-untyped-def]
    """The next NAL unit in ``data[position:limit]``: its first byte, its end, where to go on.

    The first byte is -1 where there is no further unit; -2 where a length prefix leaves the packet.

    Args:
        data: uint8, one packet or several.
        position: Where to look.
        limit: End of the packet.
        prefix: Bytes of the length prefix, 0 in Annex B form.
    """
    if prefix:
        while position + prefix < limit:
            size = 0
            for k in range(prefix):
                size = size << 8 | np.int64(data[position + k])
            position += prefix
            if size > limit - position:
                return -2, limit, limit
            if size:
                return position, position + size, position + size
        return -1, limit, limit
    begin = _start_code(data, position, limit) + 3
    if begin >= limit:
        return -1, limit, limit
    following = _start_code(data, begin, limit)
    end = following
    while end > begin and data[end - 1] == 0:
        end -= 1
    if end == begin:
        return begin, begin + 1, following  # a unit of zeros, whose type nobody reads
    return begin, end, following


@subroutine
def unescape(data, begin, end, out):  # type: ignore[no-untyped-def]
    """Copy ``data[begin:end]`` without emulation prevention bytes to ``out``; returns the bytes written."""
    size, zeros, i = 0, 0, begin
    while i < end:
        if zeros == 0 and i + 9 <= end and not has_two_zeros(data, i):
            for k in range(8):
                out[size + k] = data[i + k]
            zeros = np.int64(data[i + 7] == 0)
            i += 8
            size += 8
            continue
        byte = data[i]
        i += 1
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        zeros = zeros + 1 if byte == 0 else 0
        out[size] = byte
        size += 1
    return size


@subroutine
def stop_bit(data, size):  # type: ignore[no-untyped-def]
    """Bit of rbsp_stop_one_bit in ``data[:size]``, -1 where all are zero; cabac_zero_words may follow it."""
    while size and data[size - 1] == 0:
        size -= 1
    if not size:
        return -1
    byte, bit = data[size - 1], 7
    while byte & 1 == 0:
        byte >>= 1
        bit -= 1
    return 8 * (size - 1) + bit
