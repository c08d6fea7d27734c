"""Headers of H.264 streams: parameter sets and the first fields of a slice (ITU-T H.264, 7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cvr_lightning.codec.bitstream.bits import BitReader

_SLICE, _SLICE_IDR, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
_PARTITIONS = (2, 3, 4)
_RECOVERY_POINT = 6
_SEI_BYTES = 4096
_SLICE_TYPES = "PBIPI"  # P, B, I, SP, SI (Table 7-6)
_SLICE_HEADER_BYTES = 16
_CHROMA_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


@dataclass(frozen=True)
class ParameterSets:
    """What the parameter sets say about prediction.

    Attributes:
        references: The largest max_num_ref_frames.
        progressive: Every sequence is of frames only (frame_mbs_only_flag).
        shifted: The frame is cropped at its left or top, off the grid of its blocks.
        weighted: A picture parameter set uses weighted prediction of P slices.
        found: At least one parameter set of each kind was parsed.
        number_bits: Length of frame_num, 0 where it differs or something stands in front of it.
    """

    references: int
    progressive: bool
    shifted: bool
    weighted: bool
    found: bool
    number_bits: int


def length_size(extradata: bytes) -> int:
    """Bytes of a NAL unit's length prefix (ISO/IEC 14496-15, 5.3.3.1); 0 for the Annex B byte stream."""
    return (extradata[4] & 3) + 1 if len(extradata) >= 7 and extradata[0] == 1 else 0


def nal_units(data: bytes, prefix: int) -> Iterator[bytes]:
    """The NAL units of a packet, length-prefixed or (``prefix`` 0) in Annex B form."""
    if prefix:
        start = 0
        while start + prefix < len(data):
            size = int.from_bytes(data[start : start + prefix], "big")
            start += prefix
            yield data[start : start + size]
            start += size
        return
    start = data.find(b"\x00\x00\x01")
    while start >= 0:
        following = data.find(b"\x00\x00\x01", start + 3)
        yield data[start + 3 : following if following >= 0 else len(data)]
        start = following


def _extradata_units(extradata: bytes) -> Iterator[bytes]:
    if not length_size(extradata):
        yield from nal_units(extradata, 0)
        return
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


class CodedPicture(NamedTuple):
    """What the slices of a packet say.

    Attributes:
        kind: I, P, B; N where the packet holds no slice.
        reference: The picture may be referred to (nal_ref_idc != 0).
        start: Decoding can begin here: an IDR picture, or an I picture with a recovery point at itself.
        plain: One picture, of slices of one type, without data partitions.
        parameters: The units of parameter sets.
        idr: It is an IDR picture.
        number: The 16 bits behind pic_parameter_set_id of its last slice: frame_num is the first of them.
    """

    kind: str
    reference: bool
    start: bool
    plain: bool
    parameters: tuple[bytes, ...]
    idr: bool
    number: int


def coded_picture(data: bytes, prefix: int) -> CodedPicture:
    """Read the slice headers of a packet."""
    kinds, firsts, reference, start, plain = set[str](), 0, False, False, True
    parameters: tuple[bytes, ...] = ()
    idr, number = False, 0
    for unit in nal_units(data, prefix):
        kind = unit[0] & 0x1F if unit else 0
        plain = plain and kind not in _PARTITIONS
        if kind in (_SPS, _PPS):
            parameters += (unit,)
        start = start or kind == _SLICE_IDR or (kind == _SEI and _recovers_at_once(unit))
        if kind in (_SLICE, _SLICE_IDR):
            bits = BitReader(_unescape(unit[1 : 1 + _SLICE_HEADER_BYTES]))
            try:
                firsts += bits.unsigned() == 0  # first_mb_in_slice
                kinds.add(_SLICE_TYPES[bits.unsigned() % 5])
                bits.unsigned()  # pic_parameter_set_id
                number = bits.read(16)
            except EOFError:
                plain = False
            reference, idr = reference or unit[0] & 0x60 != 0, idr or kind == _SLICE_IDR
    plain = plain and len(kinds) == 1 and firsts == 1
    letter = max(kinds, key="IPB".index, default="N")
    return CodedPicture(letter, reference, start and letter == "I", plain, parameters, idr, number)


def _recovers_at_once(unit: bytes) -> bool:
    """Whether an SEI unit holds a recovery point message with recovery_frame_cnt 0 (D.1.8)."""
    payload, place = _unescape(unit[1:_SEI_BYTES]), 0
    while place + 2 < len(payload):
        kind, size = payload[place], payload[place + 1]
        if kind == _RECOVERY_POINT:
            return payload[place + 2] & 0x80 != 0  # ue(v) of 0 is one bit
        if kind == 0xFF or size == 0xFF:
            return False
        place += 2 + size
    return False


def parameter_sets(extradata: bytes, in_band: Iterable[bytes]) -> ParameterSets:
    """Summarise the parameter sets of the extradata and those among the NAL units ``in_band``.

    Raises:
        EOFError: A parameter set is cut short.
    """
    units = [*_extradata_units(extradata), *in_band]
    sps = [_parse_sps(_unescape(u[1:])) for u in units if u and u[0] & 0x1F == _SPS]
    lengths = {bits for *_, bits in sps}
    pps = [_parse_pps(_unescape(u[1:])) for u in units if u and u[0] & 0x1F == _PPS]
    return ParameterSets(
        references=max((references for references, *_ in sps), default=0),
        progressive=all(progressive for _, progressive, *_ in sps),
        shifted=any(shifted for _, _, shifted, _ in sps),
        weighted=any(pps),
        found=bool(sps and pps),
        number_bits=lengths.pop() if len(lengths) == 1 else 0,
    )


def _unescape(payload: bytes) -> bytes:
    """Drop the emulation prevention bytes (7.4.1)."""
    return payload.replace(b"\x00\x00\x03", b"\x00\x00")


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_chroma(bits: BitReader) -> bool:
    """Whether the color planes are coded apart."""
    chroma = bits.unsigned()
    planes = chroma == 3 and bits.flag()
    bits.unsigned()  # bit_depth_luma_minus8
    bits.unsigned()
    bits.skip(1)
    if bits.flag():
        for i in range(8 if chroma != 3 else 12):
            if bits.flag():
                _skip_scaling_list(bits, 16 if i < 6 else 64)
    return planes


def _parse_sps(data: bytes) -> tuple[int, bool, bool, int]:
    """max_num_ref_frames, frame_mbs_only_flag, if left or top is cropped, bits of frame_num (7.3.2.1.1)."""
    bits = BitReader(data[:512])
    profile = bits.read(8)
    bits.skip(16)
    bits.unsigned()
    planes = profile in _CHROMA_PROFILES and _skip_chroma(bits)
    number_bits = bits.unsigned() + 4
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.skip(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.unsigned(), 255)):
            bits.signed()
    references = bits.unsigned()
    bits.skip(1)
    bits.unsigned()
    bits.unsigned()
    progressive = bits.flag()
    bits.skip(1 if progressive else 2)  # mb_adaptive_frame_field_flag, direct_8x8_inference_flag
    left = top = 0
    if bits.flag():  # frame_cropping_flag
        left, _, top = bits.unsigned(), bits.unsigned(), bits.unsigned()
    return references, progressive, bool(left or top), 0 if planes or number_bits > 16 else number_bits


def _parse_pps(data: bytes) -> bool:
    """weighted_pred_flag (7.3.2.2); slice groups count as weighted, for neither can be predicted here."""
    bits = BitReader(data[:64])
    bits.unsigned()
    bits.unsigned()
    bits.skip(2)
    if bits.unsigned():  # num_slice_groups_minus1
        return True
    bits.unsigned()
    bits.unsigned()
    return bits.flag()
