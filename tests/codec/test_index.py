import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from helpers.encoders import SINGLE_REFERENCE, encode

from cvr_lightning.codec import CompressedVideoReader, PacketIndex, gather
from cvr_lightning.codec.container.keys import NO_TIMESTAMP
from cvr_lightning.codec.mpeg4.headers import align_vols, find_vol

NAMES = """
    divx_4x4.avi dx50_bframes.avi h264_10bit.mp4 h264_320x240_bframes.mp4 h264_bad_metadata.mp4
    h264_k400_bframes.mp4 h264_k400_no_bframes.mkv mpeg1_ucf11_biking.mpg mpeg4_720p.mp4 rotated_90.mov
    small_video.avi unordered.mov v_BaseballPitch_g01_c03.avi v_Biking_g01_c01.avi v_TaiChi_g01_c02.avi
    xvid_320x268.avi xvid_354x226.avi xvid_448x132.avi xvid_asp_packed_bframes.avi xvid_single_iframe.avi
"""
READ_BY_HEADER = NAMES.split()


def decoded_types(path: str) -> str:
    with av.open(path, metadata_errors="replace") as container:
        return "".join(PictureType(frame.pict_type).name for frame in container.decode(video=0))


def indexed_types(path: str) -> str:
    with CompressedVideoReader(path) as video:
        return video.info.frame_types


@pytest.mark.parametrize("name", READ_BY_HEADER)
def test_frame_types_of_real_clips(clip: Callable[[str], str], name: str) -> None:
    assert indexed_types(clip(name)) == decoded_types(clip(name))


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("mpeg4", "avi", {"bf": "2"}),
        ("mpeg4", "mkv", {"bf": "1", "flags": "+qpel"}),
        ("mpeg1video", "mpg", {"bf": "2"}),
        ("mpeg2video", "ts", {}),
        ("libx264", "mp4", {}),
        ("libx264", "ts", {"bf": "3"}),
        ("libx264", "avi", {"bf": "2"}),  # AVI has no display times: the video is decoded for its order
        ("flv", "flv", {}),
        ("msmpeg4", "avi", {}),
        ("mjpeg", "avi", {}),
    ],
)
def test_frame_types_of_encodes(tmp_path: Path, codec: str, suffix: str, options: dict[str, str]) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / f"clip.{suffix}", (64, 48), codec=codec, options=options, pix_fmt=pix_fmt)
    assert indexed_types(str(path)) == decoded_types(str(path))


def test_a_packed_bitstream_has_its_frames_in_display_order(clip: Callable[[str], str]) -> None:
    with CompressedVideoReader(clip("xvid_asp_packed_bframes.avi")) as video:
        index = video.index
    assert index.frame_types.startswith("IBBPBBP")
    assert index.types[:4].tolist() == [b"I", b"P", b"B", b"N"]
    assert index.frame_packets[:4].tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("name", READ_BY_HEADER)
def test_an_index_is_unchanged_by_serialization(clip: Callable[[str], str], name: str) -> None:
    with CompressedVideoReader(clip(name)) as video:
        same_index(video.index)


@pytest.mark.parametrize("name", ["h264_k400_bframes.mp4", "xvid_asp_packed_bframes.avi", "mpeg4_720p.mp4"])
def test_the_index_does_not_depend_on_the_batches(
    clip: Callable[[str], str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with packets larger than a batch, and with positions that are found in the file."""
    with CompressedVideoReader(clip(name)) as video:
        expected = video.index
    assert (expected.data_positions >= 0).all()
    monkeypatch.setattr(gather, "BATCH_BYTES", 2000)
    with CompressedVideoReader(clip(name)) as video:
        assert video.index.to_bytes() == expected.to_bytes()


def test_an_index_without_timestamps_is_unchanged_by_serialization(mpeg4: str) -> None:
    with CompressedVideoReader(mpeg4) as video:
        index = video.index
    unknown = np.where(np.arange(len(index.dts)) % 2, index.dts, NO_TIMESTAMP)
    large = replace(index.facts, file_size=1 << 41)
    same_index(replace(index, facts=large, dts=unknown, positions=index.positions + (1 << 40)))
    same_index(replace(index, facts=large, data_positions=np.full(len(unknown), -1)))


def same_index(index: PacketIndex) -> None:
    copy = PacketIndex.from_bytes(index.to_bytes())
    assert copy.facts == index.facts
    for item in fields(index)[1:]:
        before, after = getattr(index, item.name), getattr(copy, item.name)
        assert after.dtype == before.dtype, item.name
        np.testing.assert_array_equal(after, before, item.name)


def test_a_given_index_leads_to_the_same_clip(mpeg4: str) -> None:
    with CompressedVideoReader(mpeg4) as video:
        index = PacketIndex.from_bytes(video.index.to_bytes())
        expected = video.read(video.segments(4, 3), pframes=3)
    with CompressedVideoReader(mpeg4, index=index) as video:
        clip = video.read(video.segments(4, 3), pframes=3)
    np.testing.assert_array_equal(clip.residual, expected.residual)
    np.testing.assert_array_equal(clip.iframes, expected.iframes)


def test_damaged_bytes_are_not_an_index(mpeg4: str) -> None:
    with CompressedVideoReader(mpeg4) as video:
        data = bytearray(video.index.to_bytes())
    data[len(data) // 2] ^= 1
    for damaged in (bytes(data), bytes(data[:-9]), b"", zlib.compress(b"[]\n")):
        with pytest.raises(ValueError, match="not a packet index"):
            PacketIndex.from_bytes(damaged)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("frame_packets", 10_000),
        ("frame_sources", -1),
        ("frame_offsets", -1),
        ("frame_headers", 7),
        ("data_positions", 1 << 30),
        ("sizes", -5),
        ("header_ends", 0),
        ("types", b"\n"),
        ("frame_kinds", b"I"),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(mpeg4: str, column: str, value: object) -> None:
    with CompressedVideoReader(mpeg4) as video:
        index = video.index
    changed = getattr(index, column).copy()
    changed[-1] = value
    with pytest.raises(ValueError, match=f"not a packet index: {column}"):
        PacketIndex.from_bytes(replace(index, **{column: changed}).to_bytes())


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("reference_lists", 33, "reference_lists: no lengths of lists"),
        ("reference_lists", -1, "reference_lists: no lengths of lists"),
        ("reference_lists", 1, "reference_lists: no"),
        ("frame_list_ends", 1, "reference_lists: no lengths of lists"),
        ("frame_list_ends", -1000, "frame_list_ends: not the ends of the lists"),
    ],
)
def test_reference_lists_that_contradict_themselves_are_refused(
    tmp_path: Path, slices: int, column: str, change: int, message: str
) -> None:
    options = {"x264-params": f"slices={slices}:bframes=1"}
    path = encode(tmp_path / "clip.mp4", (64, 48), 4, "libx264", options=options)
    with CompressedVideoReader(path) as video:
        index = video.index
    changed = getattr(index, column).copy()
    changed[0] += change
    PacketIndex.from_bytes(index.to_bytes())
    with pytest.raises(ValueError, match=message):
        PacketIndex.from_bytes(replace(index, **{column: changed}).to_bytes())


def test_an_index_that_expands_to_a_gigabyte_is_refused(mpeg4: str, monkeypatch) -> None:
    with CompressedVideoReader(mpeg4) as video:
        index = video.index
    huge = replace(index, headers=np.zeros(33 << 20, np.uint8), header_ends=np.array([33 << 20]))
    data = huge.to_bytes()
    assert len(data) < 100_000
    with pytest.raises(ValueError, match="set CVR_MAX_INDEX_BYTES="):
        PacketIndex.from_bytes(data)
    monkeypatch.setenv("CVR_MAX_INDEX_BYTES", str(34 << 20))
    assert len(PacketIndex.from_bytes(data).headers) == 33 << 20


def test_an_index_that_declares_more_rows_than_it_holds_is_refused(mpeg4: str) -> None:
    with CompressedVideoReader(mpeg4) as video:
        data = video.index.to_bytes()
    head, _, columns = zlib.decompress(data[16:]).partition(b"\n")
    facts, described = json.loads(head)
    refused = {
        (1 << 40,): "set CVR_MAX_INDEX_BYTES=",
        (31,): "31 rows instead of 30|30 rows instead of 31",
        (-1,): "for -1 rows",
        (1 << 40, float("nan")): "for nan rows",
    }
    for rows, message in refused.items():
        changed = [
            (kind, row, stored) for (kind, _, stored), row in zip(described, rows, strict=False)
        ] + described[len(rows) :]
        packed = zlib.compress(json.dumps([facts, changed]).encode() + b"\n" + columns)
        with pytest.raises(ValueError, match=message):
            PacketIndex.from_bytes(hashlib.blake2b(packed, digest_size=16).digest() + packed)


def test_aligning_a_header_rounds_its_size_up_to_macroblocks(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", (130, 34), frames=2)
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    assert extradata is not None
    before, after = find_vol(extradata), find_vol(align_vols(extradata))
    assert before is not None
    assert after is not None
    assert (before.width, before.height, after.width, after.height) == (130, 34, 144, 48)
    assert align_vols(align_vols(extradata)) == align_vols(extradata)


def test_stream_info_gives_codec_size_gops_and_rate(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", codec="libx264", options=SINGLE_REFERENCE)
    with CompressedVideoReader(path) as video:
        info = video.info
    assert (info.codec, info.width, info.height, info.rotation) == ("h264", 176, 144, 0)
    assert (info.num_frames, info.gop_lengths, info.has_b_frames) == (30, (12, 12, 6), False)
    assert info.fps == 25
    assert info.duration == pytest.approx(1.2, abs=0.05)
    assert info.bit_rate > 0


@pytest.mark.parametrize("changed", [0, 100, 300, 999])
def test_a_packet_whose_data_differ_from_the_file_in_any_byte_has_no_place_in_it(changed: int) -> None:
    file = np.random.default_rng(0).integers(256, size=3000, dtype=np.uint8)
    data = file[500:1500].copy()

    def place(near: int) -> int:
        return gather._find_place(file.ctypes.data, 3000, near, data.ctypes.data, 1000)

    assert (place(500), place(480), place(501), place(2900)) == (500, 500, -1, -1)
    data[changed] ^= 1
    assert place(500) == -1
