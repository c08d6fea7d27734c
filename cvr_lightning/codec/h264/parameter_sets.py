"""Sequence and picture parameter sets (ITU-T H.264, 7.3.2.1 and 7.3.2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cvr_lightning.codec.bitstream.bits import BitReader
from cvr_lightning.codec.h264.display_order import Reordering, buffered_frames, declared_depth
from cvr_lightning.codec.h264.scaling_lists import ScalingLists, read_scaling

_CHROMA_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_MOST_BYTES = 4096
_MOST_MACROBLOCKS = 139264
"""MaxFS of the highest level (Table A-1): what a decoder of any level may be asked to hold."""
_KEPT = 64
_DISPLAYED_AS_CODED = 2  # a type of picture order count
_INTRA_ONLY = 0x10  # constraint_set3_flag


class BadParameterSetError(Exception):
    """A parameter set breaks the syntax or the limits of the standard."""


@dataclass(frozen=True)
class SequenceParameters:
    """What a sequence parameter set says of the pictures that refer to it.

    Attributes:
        number: seq_parameter_set_id.
        profile: profile_idc.
        chroma_format: chroma_format_idc: 0 luma alone, 1 4:2:0, 2 4:2:2, 3 4:4:4.
        depth: Bits of a sample, of luma or chroma, whichever has more.
        lossless: qpprime_y_zero_transform_bypass_flag.
        planes: separate_colour_plane_flag.
        scaling: Lists that it holds, None without any.
        frame_num_bits: Length of frame_num.
        order_type: pic_order_cnt_type.
        order_bits: Length of pic_order_cnt_lsb, type 0.
        delta_always_zero: delta_pic_order_always_zero_flag, type 1.
        offset_non_reference: offset_for_non_ref_pic, type 1.
        offset_bottom: offset_for_top_to_bottom_field, type 1.
        offsets: offset_for_ref_frame, type 1.
        references: max_num_ref_frames.
        gaps: gaps_in_frame_num_value_allowed_flag.
        columns: Width in macroblocks.
        rows: Height in macroblocks.
        progressive: frame_mbs_only_flag.
        direct_8x8: direct_8x8_inference_flag.
        crop: Luma samples cut off at the left, right, top and bottom.
        reordering: How far pictures may be displayed later than they are decoded.
    """

    number: int
    profile: int
    chroma_format: int
    depth: int
    lossless: bool
    planes: bool
    scaling: ScalingLists | None
    frame_num_bits: int
    order_type: int
    order_bits: int
    delta_always_zero: bool
    offset_non_reference: int
    offset_bottom: int
    offsets: tuple[int, ...]
    references: int
    gaps: bool
    columns: int
    rows: int
    progressive: bool
    direct_8x8: bool
    crop: tuple[int, int, int, int]
    reordering: Reordering


@dataclass(frozen=True)
class PictureParameters:
    """What a picture parameter set says of the slices that refer to it.

    Attributes:
        number: pic_parameter_set_id.
        sequence: seq_parameter_set_id.
        cabac: entropy_coding_mode_flag.
        bottom_order: bottom_field_pic_order_in_frame_present_flag.
        slice_groups: num_slice_groups_minus1 + 1.
        references: num_ref_idx_l0/l1_default_active_minus1 + 1.
        weighted: weighted_pred_flag.
        bipredicted: weighted_bipred_idc.
        quantizer: 26 + pic_init_qp_minus26.
        chroma_offsets: Of the quantizers of Cb and Cr.
        deblocking: deblocking_filter_control_present_flag.
        constrained: constrained_intra_pred_flag.
        redundant: redundant_pic_cnt_present_flag.
        transform_8x8: transform_8x8_mode_flag.
        scaling: Lists that it holds, None without any.
    """

    number: int
    sequence: int
    cabac: bool
    bottom_order: bool
    slice_groups: int
    references: tuple[int, int]
    weighted: bool
    bipredicted: int
    quantizer: int
    chroma_offsets: tuple[int, int]
    deblocking: bool
    constrained: bool
    redundant: bool
    transform_8x8: bool
    scaling: ScalingLists | None


def _check(value: int, low: int, high: int, name: str) -> int:
    if not low <= value <= high:
        raise BadParameterSetError(f"{name} is {value}, which the standard forbids")
    return value


def remove_emulation(unit: bytes) -> bytes:
    """The payload of a NAL unit without emulation prevention bytes (7.4.1)."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


@lru_cache(maxsize=_KEPT)
def read_sequence(unit: bytes) -> SequenceParameters:
    """Read a sequence parameter set.

    Args:
        unit: The NAL unit behind its header byte.

    Raises:
        BadParameterSetError: It is cut short or holds forbidden values.
    """
    try:
        return _read_sequence(BitReader(remove_emulation(unit[:_MOST_BYTES])))
    except EOFError as error:
        raise BadParameterSetError(f"a sequence parameter set is cut short: {error}") from error


def _read_sequence(bits: BitReader) -> SequenceParameters:
    profile, constraints, level = bits.read(8), bits.read(8), bits.read(8)
    number = _check(bits.unsigned(), 0, 31, "seq_parameter_set_id")
    chroma, depth, lossless, planes, scaling = (
        _read_chroma(bits) if profile in _CHROMA_PROFILES else (1, 8, False, False, None)
    )
    frame_num_bits = 4 + _check(bits.unsigned(), 0, 12, "log2_max_frame_num_minus4")
    order = _read_order(bits)
    references = _check(bits.unsigned(), 0, 16, "max_num_ref_frames")
    gaps = bits.flag()
    columns = _check(bits.unsigned() + 1, 1, _MOST_MACROBLOCKS, "pic_width_in_mbs_minus1")
    rows = bits.unsigned() + 1
    progressive = bits.flag()
    rows *= 1 if progressive else 2
    _check(rows * columns, 1, _MOST_MACROBLOCKS, "the number of macroblocks of a picture")
    if not progressive:
        bits.skip(1)  # mb_adaptive_frame_field_flag
    direct_8x8 = bits.flag()
    crop = (0, 0, 0, 0)
    if bits.flag():
        x = 2 if chroma in (1, 2) else 1
        y = (2 if chroma == 1 else 1) * (1 if progressive else 2)
        crop = (x * bits.unsigned(), x * bits.unsigned(), y * bits.unsigned(), y * bits.unsigned())
        _check(sum(crop[:2]), 0, 16 * columns - 1, "the crop of the width")
        _check(sum(crop[2:]), 0, 16 * rows - 1, "the crop of the height")
    reordered = declared_depth(bits) if bits.flag() else None
    if order[0] == _DISPLAYED_AS_CODED or (profile in _CHROMA_PROFILES and constraints & _INTRA_ONLY):
        reordered = 0
    limit = buffered_frames(level, rows * columns)
    reordering = Reordering(limit if reordered is None else reordered, reordered is not None)
    return SequenceParameters(
        number, profile, chroma, depth, lossless, planes, scaling, frame_num_bits, *order,
        references, gaps, columns, rows, progressive, direct_8x8, crop, reordering,
    )  # fmt: skip


def _read_chroma(bits: BitReader) -> tuple[int, int, bool, bool, ScalingLists | None]:
    chroma = _check(bits.unsigned(), 0, 3, "chroma_format_idc")
    planes = chroma == 3 and bits.flag()
    luma_depth = 8 + _check(bits.unsigned(), 0, 6, "bit_depth_luma_minus8")
    chroma_depth = 8 + _check(bits.unsigned(), 0, 6, "bit_depth_chroma_minus8")
    lossless = bits.flag()
    scaling = read_scaling(bits, 12 if chroma == 3 else 8) if bits.flag() else None
    return chroma, max(luma_depth, chroma_depth), lossless, planes, scaling


def _read_order(bits: BitReader) -> tuple[int, int, bool, int, int, tuple[int, ...]]:
    kind = _check(bits.unsigned(), 0, 2, "pic_order_cnt_type")
    if kind == 0:
        return kind, 4 + _check(bits.unsigned(), 0, 12, "log2_max_pic_order_cnt_lsb_minus4"), False, 0, 0, ()
    if kind == 2:
        return kind, 0, False, 0, 0, ()
    always_zero, non_reference, bottom = bits.flag(), bits.signed(), bits.signed()
    count = _check(bits.unsigned(), 0, 255, "num_ref_frames_in_pic_order_cnt_cycle")
    return kind, 0, always_zero, non_reference, bottom, tuple(bits.signed() for _ in range(count))


@lru_cache(maxsize=_KEPT)
def read_picture(unit: bytes, chroma_format: int) -> PictureParameters:
    """Read a picture parameter set.

    Args:
        unit: The NAL unit behind its header byte.
        chroma_format: Of the sequence parameter set that it refers to.

    Raises:
        BadParameterSetError: It is cut short or holds forbidden values.
    """
    data = remove_emulation(unit[:_MOST_BYTES]).rstrip(b"\x00")
    try:
        return _read_picture(BitReader(data), data, chroma_format)
    except EOFError as error:
        raise BadParameterSetError(f"a picture parameter set is cut short: {error}") from error


def sequence_of_picture(unit: bytes) -> tuple[int, int]:
    """pic_parameter_set_id and seq_parameter_set_id of a picture parameter set.

    Raises:
        BadParameterSetError: It is cut short or holds forbidden values.
    """
    bits = BitReader(remove_emulation(unit[:16]))
    try:
        return (
            _check(bits.unsigned(), 0, 255, "pic_parameter_set_id"),
            _check(bits.unsigned(), 0, 31, "seq_parameter_set_id"),
        )
    except EOFError as error:
        raise BadParameterSetError(f"a picture parameter set is cut short: {error}") from error


def _read_picture(bits: BitReader, data: bytes, chroma_format: int) -> PictureParameters:
    number, sequence = bits.unsigned(), bits.unsigned()
    cabac, bottom_order = bits.flag(), bits.flag()
    groups = 1 + _check(bits.unsigned(), 0, 7, "num_slice_groups_minus1")
    if groups > 1:  # refused by its name: what follows is not needed
        return PictureParameters(
            number, sequence, cabac, bottom_order, groups, (1, 1), False, 0, 26, (0, 0),
            False, False, False, False, None,
        )  # fmt: skip
    references = (
        1 + _check(bits.unsigned(), 0, 31, "num_ref_idx_l0_default_active_minus1"),
        1 + _check(bits.unsigned(), 0, 31, "num_ref_idx_l1_default_active_minus1"),
    )
    weighted, bipredicted = bits.flag(), _check(bits.read(2), 0, 2, "weighted_bipred_idc")
    quantizer = 26 + _check(bits.signed(), -62, 25, "pic_init_qp_minus26")
    bits.signed()  # pic_init_qs_minus26
    offset = _check(bits.signed(), -12, 12, "chroma_qp_index_offset")
    deblocking, constrained, redundant = bits.flag(), bits.flag(), bits.flag()
    transform_8x8, scaling, second = False, None, offset
    end = 8 * len(data) - 1 - (data[-1] & -data[-1]).bit_length() + 1 if data else 0
    if bits.position < end:  # more_rbsp_data
        transform_8x8 = bits.flag()
        if bits.flag():
            count = 6 + (6 if chroma_format == 3 else 2) * transform_8x8
            scaling = read_scaling(bits, count)
        second = _check(bits.signed(), -12, 12, "second_chroma_qp_index_offset")
    return PictureParameters(
        number, sequence, cabac, bottom_order, groups, references, weighted, bipredicted, quantizer,
        (offset, second), deblocking, constrained, redundant, transform_8x8, scaling,
    )  # fmt: skip


def unread_tool(sequence: SequenceParameters, picture: PictureParameters) -> str:
    """The coding tool of a stream that the parser does not read; empty where it reads all."""
    if not sequence.progressive:
        return "field tools (frame_mbs_only_flag is 0: interlaced, PAFF or MBAFF)"
    if sequence.chroma_format > 1:
        return f"chroma format {'4:2:2' if sequence.chroma_format == 2 else '4:4:4'}"
    if sequence.depth > 8:
        return f"samples of {sequence.depth} bits"
    if sequence.lossless:
        return "lossless transform bypass"
    if picture.slice_groups > 1:
        return "slice groups (flexible macroblock ordering)"
    return ""
