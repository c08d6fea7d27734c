import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.encoders import COARSE, encode

from cvr_lightning.codec import CompressedVideoReader, errors
from cvr_lightning.codec.errors import (
    BitstreamError,
    UnreadableVideoError,
    UnsupportedStreamError,
    VideoError,
)


@pytest.mark.parametrize("kind", [VideoError, UnreadableVideoError, UnsupportedStreamError, BitstreamError])
def test_errors_pickle_with_all_fields(kind: type[VideoError]) -> None:
    error = kind("a.avi", "cause", "remedy", frame=3, macroblock=7, bit=1234)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == "a.avi, frame 3, macroblock 7, bit 1234: cause; remedy"
    assert (copy.file, copy.frame, copy.bit) == ("a.avi", 3, 1234)


def read_all(path: Path) -> object:
    with CompressedVideoReader(path) as video:
        return video.read(video.segments(40, 3), pframes=3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match=r"nothing\.avi: no such file; check the path"):
        CompressedVideoReader(tmp_path / "nothing.avi")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match="not a regular file"):
        CompressedVideoReader(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").touch()
    with pytest.raises(UnreadableVideoError, match="empty"):
        CompressedVideoReader(tmp_path / "clip.avi")


@pytest.mark.parametrize("content", [b"this is no video\n" * 100, b"RIFF", b"\x1a\x45\xdf\xa3", bytes(5000)])
def test_a_file_that_is_not_a_video_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.avi").write_bytes(content)
    with pytest.raises(UnreadableVideoError, match=r"clip\.avi"):
        read_all(tmp_path / "clip.avi")


def test_a_file_without_a_video_stream_is_refused(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "clip.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(UnreadableVideoError, match="no video stream"):
        CompressedVideoReader(tmp_path / "clip.wav")


@pytest.mark.parametrize("suffix", ["avi", "mp4", "mkv"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_truncated_file_is_never_a_shorter_video(tmp_path: Path, suffix: str, part: float) -> None:
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    path = encode(tmp_path / f"clip.{suffix}", container_options=options)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(UnreadableVideoError, match="cut short"):
        read_all(path)


def test_damaged_packet_is_never_concealed(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", options={"qmin": "6", "qmax": "6"})
    with CompressedVideoReader(path) as video:
        packets = list(zip(video.index.positions.tolist(), video.index.sizes.tolist(), strict=True))
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    frames: list[int | None] = []
    for position, size in packets:
        damaged = bytearray(data)
        place = position + 8 + size // 2
        damaged[place : place + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()
        path.write_bytes(damaged)
        try:
            read_all(path)
        except BitstreamError as error:
            frames.append(error.frame)
    assert None not in frames
    # The others decode to different pictures without an error, which cannot be detected.
    assert len(frames) >= 0.8 * len(packets)


def test_damage_outside_the_frames_needed_is_not_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", options=COARSE)
    with CompressedVideoReader(path) as video:
        position = int(video.index.positions[20])
    data = bytearray(path.read_bytes())
    data[position + 16 : position + 40] = bytes(24)
    path.write_bytes(data)
    with CompressedVideoReader(path) as video:
        first = video.segments(3, 3)[0]
        assert video.read([first]).mask.all()
        with pytest.raises(BitstreamError):
            video.read(video.segments(20, 3))
        assert video.read([first]).mask.all()  # the reader is still sound


def test_a_file_that_changed_since_it_was_indexed_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", options=COARSE)
    with CompressedVideoReader(path) as video:
        index = video.index
    encode(path, options={"qmin": "4", "qmax": "4"})
    with (
        pytest.raises(UnreadableVideoError, match="the file has changed"),
        CompressedVideoReader(path, index=index),
    ):
        pass


def test_damage_is_caught_as_an_unreadable_video() -> None:
    assert issubclass(errors.BitstreamError, errors.UnreadableVideoError)
    assert issubclass(errors.UnsupportedStreamError, errors.VideoError)
