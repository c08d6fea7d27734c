"""A stream of H.264 gives the arrays that the reader gives of the same frames in a file."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from helpers.encoders import encode
from helpers.streams import FIELDS, assert_equals_reader, listed, load, read

from cvr_lightning.codec.container.packets import PacketStream, StreamPacket, open_packets
from cvr_lightning.codec.errors import BitstreamError, UnreadableVideoError, UnsupportedStreamError
from cvr_lightning.codec.h264.nal import IDR_SLICE, SLICE
from cvr_lightning.codec.h264.stream import H264Stream
from cvr_lightning.codec.stream import CompressedStream, StreamFrame

OPTIONS = {
    "live": "bframes=0:keyint=10:sliced-threads=1:slices=2:ref=1",
    "pyramid": "bframes=3:b-pyramid=normal:b-adapt=0:keyint=20:ref=4:weightp=2",
    "open GOP": "bframes=2:b-adapt=0:open-gop=1:keyint=9:min-keyint=9:ref=3",
    "intra refresh": "bframes=0:intra-refresh=1:keyint=12:ref=2",
    "CAVLC": "bframes=1:b-adapt=0:cabac=0:8x8dct=0:keyint=15:ref=2",
}


def x264(path: Path, params: str, size: tuple[int, int] = (96, 64), frames: int = 30) -> str:
    options = {"x264-params": f"{params}:repeat-headers=1:annexb=1:threads=1:scenecut=0"}
    return str(encode(path, size, frames, "libx264", gop=250, options=options))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("suffix", ["mkv", "h264", "ts"])
def test_frames_are_those_of_the_reader(name: str, suffix: str, tmp_path: Path) -> None:
    path = x264(tmp_path / f"clip.{suffix}", OPTIONS[name])
    with open_packets(path) as packets:
        assert_equals_reader(read(packets), path, 3, 5)


@pytest.mark.parametrize(
    "name", ["h264_k400_bframes.mp4", "h264_k400_no_bframes.mkv", "h264_320x240_bframes.mp4"]
)
def test_frames_of_real_clips_are_those_of_the_reader(clip: Callable[[str], str], name: str) -> None:
    with open_packets(clip(name)) as packets:
        assert_equals_reader(read(packets, 1, 12), clip(name), 1, 12)


@pytest.mark.parametrize(
    "name",
    [
        "Cisco_Men_whisper_640x320_CABAC_Bframe_9.264",  # B-frames shown before an IDR picture
        "MR1_BT_A.h264",
        "MIDR_MW_D.264",
        "NRF_MW_E.264",
        "CI_MW_D.264",
        "BA_MW_D.264",
        "SarVui.264",
    ],
)
def test_frames_of_conformance_streams_are_those_of_the_reader(
    h264_streams: Callable[[str], Path], name: str
) -> None:
    path = str(h264_streams("conformance") / name)
    with open_packets(path) as packets:
        assert_equals_reader(read(packets, 2, 7), path, 2, 7)


def arrived(packets: PacketStream) -> list[tuple[int, StreamFrame]]:
    """The frames, with the number of packets that had come."""
    came = 0

    def counted():  # type: ignore[no-untyped-def]
        nonlocal came
        for packet in listed(packets):
            came += 1
            yield packet

    stream = CompressedStream(replace(packets, packets=counted()), 3, 5, (64, 96))
    return [(came, frame) for frame in stream]


def test_without_reordering_each_frame_comes_with_its_packet(tmp_path: Path) -> None:
    frames = arrived(load(x264(tmp_path / "clip.h264", OPTIONS["live"])))
    assert [came for came, _ in frames] == list(range(1, 31))
    assert [frame.number for _, frame in frames] == list(range(30))


def test_with_b_frames_a_frame_waits_for_those_shown_before_it(tmp_path: Path) -> None:
    frames = arrived(load(x264(tmp_path / "clip.h264", OPTIONS["pyramid"])))
    numbers = [frame.number for _, frame in frames]
    assert numbers == sorted(numbers)
    assert numbers[:3] == [0, 4, 8]
    for came, frame in frames:
        assert came >= min(30, frame.number + 1)
        assert came <= frame.number + 5


def equal(first: list[StreamFrame], second: list[StreamFrame]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert (one.kind, one.arrays is None) == (other.kind, other.arrays is None)
        for name in FIELDS if one.arrays is not None else ():
            np.testing.assert_array_equal(getattr(one.arrays, name), getattr(other.arrays, name), name)


@pytest.mark.parametrize("name", ["live", "pyramid", "open GOP"])
def test_a_stream_that_is_joined_waits_for_an_iframe_and_says_so(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packets = load(x264(tmp_path / "clip.h264", OPTIONS[name]))
    whole = read(packets)
    second = [place for place, frame in enumerate(whole) if frame.kind == "I"][1]
    with caplog.at_level(logging.WARNING):
        late = read(replace(packets, packets=listed(packets)[4:]))
    equal(late, whole[second:])
    (message,) = caplog.messages
    assert "joined in the middle" in message
    assert "packets before the first I-frame are left out" in message


def test_joining_a_stream_without_further_iframes_is_an_error(tmp_path: Path) -> None:
    packets = load(x264(tmp_path / "clip.h264", OPTIONS["intra refresh"]))
    with pytest.raises(UnreadableVideoError, match="ended before the first I-frame"):
        read(replace(packets, packets=listed(packets)[4:]))


def test_parameter_sets_may_change_with_the_size(tmp_path: Path) -> None:
    parts = [
        load(x264(tmp_path / f"{number}.h264", params, size, frames=12))
        for number, (params, size) in enumerate(
            [(OPTIONS["pyramid"], (96, 64)), (OPTIONS["CAVLC"], (64, 48)), (OPTIONS["live"], (96, 64))]
        )
    ]
    joined = replace(parts[0], header=b"", packets=list(chain(*map(listed, parts))))
    equal(read(joined), [frame for part in parts for frame in read(part)])


def test_an_endless_change_of_parameter_sets_does_not_pile_up(tmp_path: Path) -> None:
    parts = [load(x264(tmp_path / f"{n}.h264", f"bframes=0:qp={20 + n}", frames=2)) for n in range(4)]
    packets = [packet for _ in range(30) for part in parts for packet in listed(part)]
    parser = H264Stream(replace(parts[0], header=b""))
    frames = [picture for packet in packets for picture in parser.read(packet)]
    assert [frame.number for frame in frames] == list(range(240))
    assert parser._scan.parameters.current < 40
    assert len(parser._numbers) <= 300


def without_reference(packets: list[StreamPacket], number: int) -> list[StreamPacket]:
    return packets[:number] + packets[number + 1 :]


@pytest.mark.parametrize("name", ["live", "pyramid"])
def test_a_lost_frame_is_told(name: str, tmp_path: Path) -> None:
    packets = load(x264(tmp_path / "clip.h264", OPTIONS[name]))
    whole = read(packets, 3, 3)
    lost = replace(packets, packets=without_reference(listed(packets), 1))
    with pytest.raises(BitstreamError, match="predicted from a picture that is not in the stream"):
        read(lost, 3, 3)
    second = [place for place, frame in enumerate(whole) if frame.kind == "I"][1]
    left = read(lost, 3, 3, on_error="skip")
    place = next(place for place, frame in enumerate(left[1:], 1) if frame.kind == "I")
    equal(left[place:], whole[second:])


def test_damage_is_named_by_frame_and_place(tmp_path: Path) -> None:
    packets = load(x264(tmp_path / "clip.h264", OPTIONS["live"]))
    broken = listed(packets).copy()
    broken[2] = broken[2]._replace(data=broken[2].data[:-20])
    with pytest.raises(BitstreamError) as caught:
        read(replace(packets, packets=broken))
    assert caught.value.frame == 2
    assert caught.value.macroblock is not None
    broken[2] = broken[2]._replace(damaged=True)
    with pytest.raises(BitstreamError, match="frame 2: its packet is cut short or damaged"):
        read(replace(packets, packets=broken))


def test_a_packet_that_holds_a_part_of_a_picture_is_told(tmp_path: Path) -> None:
    """As where a sender gives NAL units in place of access units."""
    packets = load(x264(tmp_path / "clip.h264", OPTIONS["live"]))
    first = listed(packets)[0].data
    starts = [place for place in range(len(first)) if first[place : place + 3] == b"\0\0\1"]
    cut = [place for place in starts if first[place + 3] & 31 in (SLICE, IDR_SLICE)][1]
    halves = [StreamPacket(first[:cut]), StreamPacket(first[cut:])]
    with pytest.raises(BitstreamError, match="slices are lost"):
        read(replace(packets, packets=halves))


@pytest.mark.parametrize(
    ("options", "pix_fmt", "cause"),
    [({"x264-params": "interlaced=1"}, "yuv420p", "field tools"), ({}, "yuv444p", "chroma format 4:4:4")],
)
def test_what_is_not_read_is_refused_by_name(
    options: dict[str, str], pix_fmt: str, cause: str, tmp_path: Path
) -> None:
    path = encode(tmp_path / "clip.ts", (64, 64), 4, "libx264", options=options, pix_fmt=pix_fmt)
    with open_packets(path) as packets, pytest.raises(UnsupportedStreamError, match=cause) as caught:
        read(packets)
    assert "| cvr watch -" in str(caught.value)


@pytest.mark.parametrize("suffix", ["h264", "ts"])
def test_a_pipe_gives_the_frames_of_the_file(suffix: str, tmp_path: Path) -> None:
    path = Path(x264(tmp_path / f"clip.{suffix}", OPTIONS["pyramid"], (176, 144), 60))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            pipe.write_bytes(path.read_bytes())

    threading.Thread(target=write, daemon=True).start()
    with open_packets(pipe) as packets:
        equal(read(packets), read(load(str(path))))
