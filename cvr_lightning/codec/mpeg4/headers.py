"""Headers of MPEG-4 Part 2 visual streams: the VOL and encoders' marks (ISO/IEC 14496-2, 6.2)."""

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
_HEADER_BYTES = 512  # a VOL with both quantiser matrices and VBV parameters is far shorter
_MOST_BYTES = 4096  # of a VOL and the marks behind it: a camera may write the time into every frame
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
        resolution: Ticks of vop_time_increment in a second.
        time_bits: Length of vop_time_increment in bits.
        rectangular: False for shaped video objects.
        interlaced: Field tools may be used.
        sprite: sprite_enable: 0 none, 1 static, 2 global motion compensation.
        quarter_sample: Vectors are in quarter samples.
        matrices: Intra and inter matrices of MPEG quantisation, in zigzag order; None for H.263 quantisation.
        packets: Resync markers may occur.
        partitioned: Data partitioning, with or without reversible codes.
        unread: The name of a tool that hides the macroblocks from a parser, empty where there is none.
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


def _quantiser_matrices(bits: BitReader) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Matrices of 1 to 64 values; a zero ends one early, and its last value is repeated."""
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
    """The second half of a VOL header, from the field ``interlaced`` on."""
    interlaced = bits.flag()
    if not bits.flag():  # obmc_disable
        unread = unread or "overlapped block motion compensation"
    sprite = bits.read(1 if verid == 1 else 2)
    if sprite in (1, 2):
        _skip_sprite(bits, sprite)
    if bits.flag():  # not_8_bit
        unread = unread or "samples of other than 8 bits"
        bits.skip(8)
    matrices = _quantiser_matrices(bits) if bits.flag() else None
    quarter = verid != 1 and bits.flag()
    vol = replace(vol, interlaced=interlaced, sprite=sprite, quarter_sample=quarter, matrices=matrices)
    if not bits.flag():  # the lengths of complexity estimates would have to be known to pass over them
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
    """The headers in force while packets go by.

    Args:
        extradata: What the container knows beforehand.

    Attributes:
        header: The VOL and the encoders' marks, as a decoder wants them.
        vol: The VOL, None before there is one.
        packed: The bitstream is packed: a packet may hold the B-VOP that is shown before its P-VOP.
    """

    def __init__(self, extradata: bytes) -> None:
        self.header = extradata
        self.vol = find_vol(extradata)
        self.packed = is_packed(extradata)

    def read(self, front: bytes) -> bool:
        """Take note of what stands before a packet's first VOP; true where another VOL comes into force."""
        self.packed = self.packed or is_packed(front)
        vol = find_vol(front)
        if vol is not None and vol != self.vol:
            self.vol, self.header = vol, front
            return True
        for mark in user_data(front):
            if mark not in self.header and len(self.header) + len(mark) <= _MOST_BYTES:
                self.header += mark
        return False


def group_seconds(data: bytes) -> int | None:
    """The time code of a group of VOPs in seconds (6.2.4), None where there is none."""
    start = data.rfind(GROUP_START)
    bits = BitReader(data[start + 4 : start + 8])
    try:
        hours, minutes = bits.read(5), bits.read(6)
        bits.skip(1)
        seconds = bits.read(6)
    except EOFError:
        return None
    return None if start < 0 else seconds + 60 * (minutes + 60 * hours)


def user_data(data: bytes) -> list[bytes]:
    """All user data with their start codes: encoders leave their marks there."""
    return _USER_DATA.findall(data)


def is_packed(data: bytes) -> bool:
    """Whether user data announce a packed bitstream: DivX's mark, which XviD writes too."""
    return _PACKED.search(data) is not None


def leaves_out_stuffing(data: bytes) -> bool:
    """Whether user data name an encoder that may end a VOP without stuffing."""
    match = _XVID.search(data)
    return (match is not None and int(match[1]) < _XVID_STUFFS) or _DIVX_WITHOUT_STUFFING.search(
        data
    ) is not None


def predicts_unclipped_dc(data: bytes) -> bool:
    """Whether user data name an encoder that predicts intra DC from values beyond 11 bits."""
    for mark, first in ((_XVID, _XVID_CLIPS_DC), (_LAVC, _LAVC_CLIPS_DC)):
        match = mark.search(data)
        if match is not None and int(match[1]) < first:
            return True
    return False


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
