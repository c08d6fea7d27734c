"""Headers of MPEG-4 Part 2 visual streams: VOL and encoder user data (ISO/IEC 14496-2, 6.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cvr_lightning.codec.bitstream.bits import BitReader
from cvr_lightning.codec.mpeg4.tables import DEFAULT_MATRICES

GROUP_START = b"\x00\x00\x01\xb3"
_VOL_START = re.compile(rb"\x00\x00\x01[\x20-\x2f]", re.DOTALL)
_USER_DATA = re.compile(rb"\x00\x00\x01\xb2[^\x00]*", re.DOTALL)
_PACKED = re.compile(rb"\x00\x00\x01\xb2DivX\d{1,4}(?:Build|b)\d{1,6}p", re.DOTALL)
_XVID = re.compile(rb"\x00\x00\x01\xb2XviD(\d{1,6})", re.DOTALL)
_LAVC = re.compile(rb"\x00\x00\x01\xb2FFmpe[^b]{1,32}b(\d{1,6})", re.DOTALL)
_HEADER_BYTES = 512  # a VOL with both quantizer matrices and VBV parameters is much shorter
_MOST_BYTES = 4096  # of a VOL and user data: a camera may write the time into every frame
_EXTENDED_PAR = 15
_RECTANGULAR = 0
_STUDIO_TYPES = (14, 15)
_DIVX_WITHOUT_STUFFING = re.compile(rb"\x00\x00\x01\xb2DivX501(?:Build|b)20020416", re.DOTALL)
_XVID_STUFFS = 4  # the first build that ends every VOP with stuffing
_XVID_CLIPS_DC = 33  # the first build that predicts DC from clipped values
_LAVC_CLIPS_DC = 4713


@dataclass(frozen=True)
class VideoObjectLayer:
    """A VOL header (ISO/IEC 14496-2, 6.2.3).

    Attributes:
        width: Width of the layer in luma samples.
        height: Height of the layer in luma samples.
        size_bit: Bit position of the width field, counted from the VOL start code.
        resolution: Ticks of vop_time_increment per second.
        time_bits: Length of vop_time_increment in bits.
        rectangular: False for shaped video objects.
        interlaced: Field tools may be used.
        sprite: sprite_enable: 0 none, 1 static, 2 global motion compensation.
        quarter_sample: Vectors are in quarter samples.
        matrices: Intra and inter matrices of MPEG quantization, in zigzag order; None for H.263 quantization.
        packets: Resync markers may occur.
        partitioned: Data partitioning, with or without reversible codes.
        unread: Name of a coding tool that prevents parsing the macroblocks, empty if none.
    """

    width: int
    height: int
    size_bit: int
    resolution: int
    time_bits: int
    rectangular: bool
    interlaced: bool = False
    sprite: int = 0
    quarter_sample: bool = False
    matrices: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    packets: bool = False
    partitioned: bool = False
    unread: str = ""


def _skip_vol_control(bits: BitReader) -> None:
    bits.skip(2 + 1)  # chroma_format, low_delay
    if bits.flag():  # vbv_parameters
        bits.skip(79)


def _quantizer_matrices(bits: BitReader) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Read matrices of 1 to 64 values; a zero ends a matrix early and repeats its last value."""
    out = []
    for default in DEFAULT_MATRICES:
        if not bits.flag():
            out.append(default)
            continue
        values: list[int] = []
        while len(values) < 64 and (value := bits.read(8)):
            values.append(value)
        out.append(tuple(values + (64 - len(values)) * (values[-1:] or [0])))
    return out[0], out[1]


def _skip_sprite(bits: BitReader, sprite: int) -> None:
    if sprite == 1:
        bits.skip(4 * 14)  # sprite size and position, 13 bits and a marker each
    bits.skip(6 + 2 + 1)
    if sprite == 1:
        bits.skip(1)


def parse_vol(data: bytes) -> VideoObjectLayer:
    """Parse a VOL header.

    Args:
        data: Bytes from the VOL start code on.

    Raises:
        EOFError: The header is truncated.
    """
    bits = BitReader(data[:_HEADER_BYTES])
    bits.skip(32 + 1)  # start code, random_accessible_vol
    studio = bits.read(8) in _STUDIO_TYPES
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
        return VideoObjectLayer(0, 0, 0, resolution, time_bits, False, unread="shaped objects")
    bits.skip(1)
    size_bit = bits.position
    width = bits.read(13)
    bits.skip(1)
    height = bits.read(13)
    bits.skip(1)
    vol = VideoObjectLayer(width, height, size_bit, resolution, time_bits, True)
    return _parse_tools(bits, vol, verid, "a studio profile" if studio else "")


def _parse_tools(bits: BitReader, vol: VideoObjectLayer, verid: int, unread: str) -> VideoObjectLayer:
    """Parse the second half of a VOL header, from the field ``interlaced`` on."""
    interlaced = bits.flag()
    if not bits.flag():  # obmc_disable
        unread = unread or "overlapped block motion compensation"
    sprite = bits.read(1 if verid == 1 else 2)
    if sprite in (1, 2):
        _skip_sprite(bits, sprite)
    if bits.flag():  # not_8_bit
        unread = unread or "samples of other than 8 bits"
        bits.skip(8)
    matrices = _quantizer_matrices(bits) if bits.flag() else None
    quarter = verid != 1 and bits.flag()
    vol = replace(vol, interlaced=interlaced, sprite=sprite, quarter_sample=quarter, matrices=matrices)
    if not bits.flag():  # complexity estimates cannot be skipped without knowing their lengths
        return replace(vol, unread=unread or "complexity estimation")
    packets = not bits.flag()
    partitioned = bits.flag()
    if partitioned:
        bits.skip(1)  # reversible_vlc
    if verid != 1:
        if bits.flag():
            return replace(vol, unread=unread or "NEWPRED")
        if bits.flag():
            unread = unread or "VOPs of reduced resolution"
    if bits.flag():
        unread = unread or "scalability"
    return replace(vol, packets=packets, partitioned=partitioned, unread=unread)


def find_vol(data: bytes) -> VideoObjectLayer | None:
    """The first VOL header in ``data`` that can be parsed."""
    for match in _VOL_START.finditer(data):
        try:
            return parse_vol(data[match.start() : match.start() + _HEADER_BYTES])
        except EOFError:
            continue
    return None


class SequenceHeaders:
    """Tracks the current headers while packets are read.

    Args:
        extradata: The container's extradata.

    Attributes:
        header: The VOL and encoder user data, in the form that a decoder needs.
        vol: The VOL, None before the first.
        packed: The bitstream is packed: a packet may also contain the B-VOP shown before its P-VOP.
    """

    def __init__(self, extradata: bytes) -> None:
        self.header = extradata
        self.vol = find_vol(extradata)
        self.packed = is_packed(extradata)

    def read(self, front: bytes) -> bool:
        """Read the headers before a packet's first VOP; true if the VOL changes."""
        self.packed = self.packed or is_packed(front)
        vol = find_vol(front)
        if vol is not None and vol != self.vol:
            self.vol, self.header = vol, front
            return True
        for mark in user_data(front):
            if mark not in self.header and len(self.header) + len(mark) <= _MOST_BYTES:
                self.header += mark
        return False


def split_group(front: bytes) -> tuple[bytes, int | None]:
    """Take the header of a group of VOPs (6.2.4) out of the headers before a VOP.

    Returns:
        The other headers, and the time code of the group in seconds, None if absent or cut short.
    """
    start = front.rfind(GROUP_START)
    bits = int.from_bytes(front[start + 4 : start + 7], "big")
    if start < 0 or len(front) < start + 7:
        return front, None
    seconds = bits >> 6 & 63
    return front[:start] + front[start + 7 :], seconds + 60 * ((bits >> 13 & 63) + 60 * (bits >> 19))


def user_data(data: bytes) -> list[bytes]:
    """All user data with their start codes; they identify the encoder."""
    return _USER_DATA.findall(data)


def is_packed(data: bytes) -> bool:
    """Whether user data declare a packed bitstream: DivX's marker, also written by XviD."""
    return _PACKED.search(data) is not None


def leaves_out_stuffing(data: bytes) -> bool:
    """Whether user data identify an encoder that may end a VOP without stuffing."""
    match = _XVID.search(data)
    return (match is not None and int(match[1]) < _XVID_STUFFS) or _DIVX_WITHOUT_STUFFING.search(
        data
    ) is not None


def predicts_unclipped_dc(data: bytes) -> bool:
    """Whether user data identify an encoder that predicts intra DC from values of more than 11 bits."""
    for mark, first in ((_XVID, _XVID_CLIPS_DC), (_LAVC, _LAVC_CLIPS_DC)):
        match = mark.search(data)
        if match is not None and int(match[1]) < first:
            return True
    return False


def align_vols(data: bytes) -> bytes:
    """Round the size in every VOL header up to whole macroblocks.

    Decoders crop frames to the size in the VOL, but prediction may use all decoded samples.
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
