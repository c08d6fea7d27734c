"""A stream gives the very arrays that the reader gives of the same frames, without knowing what follows."""

import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.encoders import COARSE, encode
from helpers.streams import FIELDS, SIZE, assert_equals_reader, listed, load, read

from cvr_lightning.codec.container.packets import StreamPacket, open_packets
from cvr_lightning.codec.errors import BitstreamError, UnreadableVideoError, UnsupportedStreamError
from cvr_lightning.codec.mpeg4.headers import SequenceHeaders
from cvr_lightning.codec.stream import CompressedStream


@pytest.mark.parametrize(("pframes", "stride"), [(3, 5), (4, 4), (1, 100)])
def test_frames_are_those_of_the_reader(mpeg4: str, pframes: int, stride: int) -> None:
    with open_packets(mpeg4) as packets:
        assert_equals_reader(read(packets, pframes, stride), mpeg4, pframes, stride)


def test_bframes_are_skipped(bframes: str) -> None:
    with open_packets(bframes) as packets:
        assert_equals_reader(read(packets), bframes, 3, 5)


@pytest.mark.parametrize("name", ["xvid_asp_packed_bframes.avi", "dx50_bframes.avi", "xvid_354x226.avi"])
def test_frames_of_old_encoders_are_those_of_the_reader(clip: Callable[[str], str], name: str) -> None:
    with open_packets(clip(name)) as packets:
        assert_equals_reader(read(packets), clip(name), 3, 5)


def test_what_is_not_asked_for_is_zero(mpeg4: str) -> None:
    whole = read(load(mpeg4))[1].arrays
    motion = read(load(mpeg4), modalities=("motion",))[1].arrays
    residual = read(load(mpeg4), modalities=("residual",))[1].arrays
    assert whole is not None
    assert motion is not None
    assert residual is not None
    np.testing.assert_array_equal(motion.motion, whole.motion)
    np.testing.assert_array_equal(residual.residual, whole.residual)
    np.testing.assert_array_equal(motion.modes, whole.modes)
    assert not motion.residual.any()
    assert motion.residual.shape == whole.residual.shape
    assert not residual.motion.any()
    assert not motion.iframes.any()


def test_each_frame_comes_before_the_next_packet_is_asked_for(mpeg4: str) -> None:
    asked = 0

    def counted(packets: Iterable[StreamPacket]) -> Iterator[StreamPacket]:
        nonlocal asked
        for asked, packet in enumerate(packets, 1):  # noqa: B007 - read below, while the loop waits
            yield packet

    packets = load(mpeg4)
    for frame in CompressedStream(replace(packets, packets=counted(packets.packets)), 3, 5, SIZE):
        assert asked == frame.number + 1


def test_a_packet_gives_its_first_frame_unless_the_stream_is_packed(mpeg4: str) -> None:
    packets = load(mpeg4)
    first, second, third, *_ = listed(packets)
    joined = [first, second._replace(data=second.data + third.data)]
    packed = replace(packets, packets=joined, header=packets.header + b"\0\0\1\xb2DivX503b1393p")
    assert len(read(replace(packets, packets=joined))) == 2
    assert len(read(packed)) == 3


def test_times_are_those_of_the_container(mpeg4: str) -> None:
    assert [frame.seconds for frame in read(load(mpeg4))] == pytest.approx([n / 25 for n in range(30)])


def test_a_stream_that_starts_inside_a_gop_waits_for_an_iframe(mpeg4: str) -> None:
    packets = load(mpeg4)
    late = read(replace(packets, packets=listed(packets)[5:]))
    whole = read(packets)
    assert [frame.kind for frame in late] == [frame.kind for frame in whole[12:]]
    for frame, expected in zip(late, whole[12:], strict=True):
        assert (frame.arrays is None) == (expected.arrays is None)
        if frame.arrays is not None and expected.arrays is not None:
            np.testing.assert_array_equal(frame.arrays.residual, expected.arrays.residual)
            np.testing.assert_array_equal(frame.arrays.iframes, expected.arrays.iframes)


def test_a_stream_without_an_iframe_is_an_error(mpeg4: str) -> None:
    packets = load(mpeg4)
    with pytest.raises(UnreadableVideoError, match="ended before the first I-frame with a sequence header"):
        read(replace(packets, packets=listed(packets)[1:12]))
    with pytest.raises(UnreadableVideoError, match="with a sequence header"):
        read(replace(packets, header=b""))  # MP4 keeps it apart from the packets


def damage(packet: StreamPacket) -> StreamPacket:
    half = len(packet.data) // 2
    return packet._replace(data=packet.data[:half] + bytes(len(packet.data) - half))


def test_damage_is_named_by_frame_and_place(mpeg4: str) -> None:
    packets = load(mpeg4)
    for number in (2, 12):
        broken = listed(packets).copy()
        broken[number] = damage(broken[number])
        with pytest.raises(BitstreamError) as caught:
            read(replace(packets, packets=broken))
        assert (caught.value.file, caught.value.frame) == (mpeg4, number)
        assert "leave it out" in caught.value.remedy
    broken[2] = broken[2]._replace(damaged=True)
    with pytest.raises(BitstreamError, match="frame 2: its packet is cut short or damaged"):
        read(replace(packets, packets=broken))


def test_skipping_drops_up_to_the_next_iframe_and_says_so_once(
    mpeg4: str, caplog: pytest.LogCaptureFixture
) -> None:
    packets = load(mpeg4)
    broken = listed(packets).copy()
    broken[2] = damage(broken[2])
    broken[13] = damage(broken[13])
    stream = CompressedStream(replace(packets, packets=broken), 3, 5, SIZE, on_error="skip")
    with caplog.at_level(logging.WARNING):
        frames = list(stream)
    assert [frame.number for frame in frames] == [0, 1, 12, *range(24, 30)]
    assert stream.damaged == 2
    (message,) = caplog.messages
    assert "frame 2" in message
    assert "up to the next I-frame" in message


def test_a_damaged_iframe_drops_its_gop(mpeg4: str) -> None:
    packets = load(mpeg4)
    broken = listed(packets).copy()
    broken[12] = damage(broken[12])
    frames = read(replace(packets, packets=broken), on_error="skip")
    assert [frame.number for frame in frames] == [*range(12), *range(24, 30)]


def test_the_size_may_change_in_mid_stream(mpeg4: str, tmp_path: Path) -> None:
    """The frames of both parts are those of each part alone, at the one size that is delivered."""
    first, second = (
        load(str(encode(tmp_path / f"{size[0]}.avi", size, frames=8, options=COARSE)))
        for size in ((176, 144), (96, 64))
    )
    joined = replace(first, packets=itertools.chain(listed(first), listed(second)))
    frames, expected = read(joined), [*read(first), *read(second)]
    assert len(frames) == 16
    for frame, alone in zip(frames, expected, strict=True):
        if frame.arrays is not None and alone.arrays is not None:
            for name in FIELDS:
                np.testing.assert_array_equal(getattr(frame.arrays, name), getattr(alone.arrays, name), name)


def test_changing_user_data_do_not_accumulate() -> None:
    headers = SequenceHeaders(b"")
    for number in range(10_000):
        headers.read(b"\x00\x00\x01\xb2camera %d" % number)
    assert len(headers.header) <= 4096


def pipe_of(path: Path) -> Path:
    """A named pipe through which the file comes."""
    pipe = path.with_suffix(".pipe")
    os.mkfifo(pipe)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            pipe.write_bytes(path.read_bytes())

    threading.Thread(target=write, daemon=True).start()
    return pipe


@pytest.mark.parametrize("suffix", ["avi", "ts", "mkv"])
def test_a_pipe_gives_what_the_file_gives(suffix: str, tmp_path: Path) -> None:
    path = encode(tmp_path / f"clip.{suffix}", options=COARSE)
    with open_packets(pipe_of(path)) as packets:
        piped = list(packets.packets)
    assert [packet.data for packet in piped] == [packet.data for packet in listed(load(str(path)))]


def test_a_pipe_that_must_be_read_from_its_end_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", (352, 288), frames=40, options={"qmin": "1", "qmax": "1"})
    with (
        open_packets(pipe_of(path)) as packets,
        pytest.raises(UnreadableVideoError, match=r"MP4 with \+faststart"),
    ):
        read(packets)


def test_what_is_not_a_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.avi").write_bytes(b"not a video")
    for name, message in [("x.avi", "FFmpeg cannot open it"), ("none.avi", "no such file")]:
        with pytest.raises(UnreadableVideoError, match=message), open_packets(tmp_path / name):
            pass


def test_another_codec_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mpg", codec="mpeg1video", frames=4)
    with open_packets(path) as packets, pytest.raises(UnsupportedStreamError) as caught:
        read(packets)
    assert "its codec is mpeg1video" in str(caught.value)
    assert "| cvr watch -" in str(caught.value)


def test_interlaced_coding_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", frames=4, options={"flags": "+ilme+ildct"})
    with open_packets(path) as packets, pytest.raises(UnsupportedStreamError, match="interlaced coding"):
        read(packets)


def test_turned_frames_are_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", frames=4, rotation=90)
    with open_packets(path) as packets, pytest.raises(UnsupportedStreamError, match="turned by 90 degrees"):
        read(packets)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"pframes": 6}, "a stride of 5 does not hold"), ({"on_error": "ignore"}, r"\('raise', 'skip'\)")],
)
def test_mistakes_are_refused(mpeg4: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(load(mpeg4), **options)  # type: ignore[arg-type]
