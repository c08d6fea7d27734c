"""Headers of MPEG-4 Part 2 visual streams: the VOL and the first fields of a VOP (ISO/IEC 14496-2, 6.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cvr_lightning.codec.bits import BitReader

VOP_START = b"\x00\x00\x01\xb6"
_VOL_START = re.compile(rb"\x00\x00\x01[\x20-\x2f]", re.DOTALL)
_PACKED = re.compile(rb"\x00\x00\x01\xb2DivX\d{1,4}(?:Build|b)\d{1,6}p", re.DOTALL)
_HEADER_BYTES = 512  # a VOL with both quantiser matrices and VBV parameters is far shorter
_EXTENDED_PAR = 15
_RECTANGULAR = 0
_VOP_TYPES = "IPBS"


@dataclass(frozen=True)
class VideoObjectLayer:
    """What the reader needs of a VOL header (ISO/IEC 14496-2, 6.2.3).

    Attributes:
        width: Width of the layer in luma samples.
        height: Height of the layer in luma samples.
        size_bit: Bit position of the width field, counted from the VOL start code.
        time_bits: Length of vop_time_increment in bits.
        rectangular: False for shaped video objects.
        interlaced: Field tools may be used.
        sprite: sprite_enable: 0 none, 1 static, 2 global motion compensation.
        quarter_sample: Vectors are in quarter samples.
    """

    width: int
    height: int
    size_bit: int
    time_bits: int
    rectangular: bool
    interlaced: bool
    sprite: int
    quarter_sample: bool


@dataclass(frozen=True)
class VideoObjectPlane:
    """The first fields of a VOP header: ``kind`` is one of I, P, B, S, or N where the VOP is not coded."""

    kind: str
    rounding: int


def _skip_vol_control(bits: BitReader) -> None:
    bits.skip(2 + 1)  # chroma_format, low_delay
    if bits.flag():  # vbv_parameters
        bits.skip(79)


def _skip_quantiser_matrices(bits: BitReader) -> None:
    for _ in range(2):
        if bits.flag():
            count = 0
            while count < 64 and bits.read(8):
                count += 1


def _skip_sprite(bits: BitReader, sprite: int) -> None:
    if sprite == 1:
        bits.skip(4 * 14)  # sprite size and place, each 13 bits and a marker
    bits.skip(6 + 2 + 1)
    if sprite == 1:
        bits.skip(1)


def parse_vol(data: bytes) -> VideoObjectLayer:
    """Parse a VOL header.

    Args:
        data: Bytes from the VOL start code on.

    Raises:
        EOFError: The header is cut short.
    """
    bits = BitReader(data[:_HEADER_BYTES])
    bits.skip(32 + 1 + 8)  # start code, random_accessible_vol, video_object_type_indication
    verid = 1
    if bits.flag():
        verid = bits.read(4)
        bits.skip(3)
    if bits.read(4) == _EXTENDED_PAR:
        bits.skip(16)
    if bits.flag():
        _skip_vol_control(bits)
    shape = bits.read(2)
    if shape == 3 and verid != 1:
        bits.skip(4)
    bits.skip(1)
    resolution = bits.read(16)
    bits.skip(1)
    time_bits = max(1, (resolution - 1).bit_length()) if resolution else 1
    if bits.flag():  # fixed_vop_rate
        bits.skip(time_bits)
    if shape != _RECTANGULAR:
        return VideoObjectLayer(0, 0, 0, time_bits, False, False, 0, False)
    bits.skip(1)
    size_bit = bits.position
    width = bits.read(13)
    bits.skip(1)
    height = bits.read(13)
    bits.skip(1)
    interlaced = bits.flag()
    bits.skip(1)  # obmc_disable
    sprite = bits.read(1 if verid == 1 else 2)
    if sprite in (1, 2):
        _skip_sprite(bits, sprite)
    if bits.flag():  # not_8_bit
        bits.skip(8)
    if bits.flag():  # quant_type: MPEG matrices
        _skip_quantiser_matrices(bits)
    quarter = verid != 1 and bits.flag()
    return VideoObjectLayer(width, height, size_bit, time_bits, True, interlaced, sprite, quarter)


def find_vol(data: bytes) -> VideoObjectLayer | None:
    """The first VOL header in ``data`` that can be parsed."""
    for match in _VOL_START.finditer(data):
        try:
            return parse_vol(data[match.start() : match.start() + _HEADER_BYTES])
        except EOFError:
            continue
    return None


def vops(data: bytes, time_bits: int) -> Iterator[VideoObjectPlane]:
    """The VOPs of a packet in coded order; several where an AVI packs B-VOPs behind a P-VOP."""
    start = data.find(VOP_START)
    while start >= 0:
        try:
            yield _parse_vop(data[start + 4 : start + 32], time_bits)
        except EOFError:
            return
        start = data.find(VOP_START, start + 4)


def _parse_vop(data: bytes, time_bits: int) -> VideoObjectPlane:
    bits = BitReader(data)
    kind = _VOP_TYPES[bits.read(2)]
    while bits.flag():  # modulo_time_base
        pass
    bits.skip(1 + time_bits + 1)
    if not bits.flag():  # vop_coded
        return VideoObjectPlane("N", 0)
    return VideoObjectPlane(kind, bits.read(1) if kind in "PS" else 0)


def is_packed(data: bytes) -> bool:
    """Whether user data announce a packed bitstream: DivX's mark, which XviD writes too."""
    return _PACKED.search(data) is not None


def align_vols(data: bytes) -> bytes:
    """Raise the size in every VOL header to whole macroblocks.

    A decoder crops its frames to the size in the VOL, but predictions may refer to all decoded samples.
    """
    out = bytearray(data)
    for match in _VOL_START.finditer(data):
        start = match.start()
        try:
            vol = parse_vol(data[start : start + _HEADER_BYTES])
        except EOFError:
            continue
        if vol.rectangular:
            _write_bits(out, 8 * start + vol.size_bit, 13, -(-vol.width // 16) * 16)
            _write_bits(out, 8 * start + vol.size_bit + 14, 13, -(-vol.height // 16) * 16)
    return bytes(out)


def _write_bits(data: bytearray, position: int, count: int, value: int) -> None:
    for i in range(count):
        byte, bit = divmod(position + i, 8)
        mask = 0x80 >> bit
        data[byte] = data[byte] | mask if value >> (count - 1 - i) & 1 else data[byte] & ~mask
