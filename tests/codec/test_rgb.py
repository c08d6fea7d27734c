"""Decoded frames: exact by number through the reader, and decord's for comparison."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from helpers.encoders import COARSE, encode

from cvr_lightning.codec import CompressedVideoReader, Segment, errors
from cvr_lightning.codec.ffmpeg.rgb import read_rgb
from cvr_lightning.codec.windows import spread_frames

VP9 = {"deadline": "realtime", "cpu-used": "8"}
STREAMS = {
    "mpeg4.mp4": {},
    "one_iframe.avi": {"gop": 300},
    "bframes.avi": {"options": {**COARSE, "bf": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": VP9},
    "open_gop.mp4": {"codec": "libx264", "options": {"bf": "3", "x264-params": "open-gop=1"}},
    "mpeg1.mpg": {"codec": "mpeg1video", "options": {"bf": "2"}},
    "turned.mp4": {"rotation": 90},
}


def decode_in_order(path: Path) -> list[npt.NDArray[np.uint8]]:
    """All frames as PyAV gives them from the first one on, turned as they are displayed."""
    with av.open(str(path)) as container:
        decoded = [
            np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            for frame in container.decode(video=0)
        ]
    return decoded


@pytest.mark.parametrize("name", STREAMS)
def test_each_frame_is_exactly_the_one_of_its_number(name: str, tmp_path: Path) -> None:
    path = encode(tmp_path / name, **STREAMS[name])
    decoded = decode_in_order(path)
    with CompressedVideoReader(path) as reader:
        assert reader.info.num_frames == len(decoded)
        for number in np.random.default_rng(0).permutation(len(decoded)).tolist():
            (picture,) = reader.read_frames([Segment(number, ())]).iframes
            assert np.array_equal(picture.transpose(1, 2, 0), decoded[number]), number


def test_frames_read_together_are_those_read_alone_and_none_is_decoded_twice(tmp_path: Path) -> None:
    path = encode(tmp_path / "bframes.avi", options={**COARSE, "bf": "2"})
    decoded = decode_in_order(path)
    with CompressedVideoReader(path) as reader:
        arrays = reader.read_frames([Segment(number, ()) for number in (21, 3, 3, 16)])
    assert arrays.iframe_index.tolist() == [2, 0, 0, 1]
    for picture, number in zip(arrays.iframes, (3, 16, 21), strict=True):
        assert np.array_equal(picture.transpose(1, 2, 0), decoded[number])
    assert arrays.motion.shape == (4, 1, 2, 18, 22)
    assert arrays.residual.shape == (4, 1, 24, 18, 22)
    assert not arrays.mask.any()


def test_damage_before_a_frame_is_not_concealed(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", gop=300)
    with CompressedVideoReader(path) as reader:
        place, size = (int(column[9]) for column in (reader.index.data_positions, reader.index.sizes))
    data = bytearray(path.read_bytes())
    data[place + size // 3 : place + size] = bytes(size - size // 3)
    path.write_bytes(data)
    with CompressedVideoReader(path) as reader:
        assert reader.read_frames([Segment(8, ())]).iframes.any()
        with pytest.raises(errors.BitstreamError, match=r"clip\.avi, frame 9: "):
            reader.read_frames([Segment(20, ())])


def test_frames_lie_in_equal_spans() -> None:
    assert [segment.iframe for segment in spread_frames(10, 5)] == [1, 3, 5, 7, 9]
    assert [segment.iframe for segment in spread_frames(10, 5, 0.0)] == [0, 2, 4, 6, 8]
    assert [segment.iframe for segment in spread_frames(100, 2, [0.1, 0.99])] == [5, 99]
    assert [segment.iframe for segment in spread_frames(2, 4)] == [0, 0, 1, 1]
    for bad in ({"segments": 0}, {"segments": 2, "offsets": [0.5]}, {"segments": 1, "offsets": 1.0}):
        with pytest.raises(ValueError, match=r"at least 1|offsets"):
            spread_frames(10, **bad)


def test_decords_frames_are_those_of_ffmpeg_at_the_middles_of_equal_parts(mpeg4: str) -> None:
    with av.open(mpeg4) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = [int((part + 0.5) * len(decoded) / 4) for part in range(4)]
    frames = read_rgb(mpeg4, 4)
    assert frames.dtype == np.uint8
    expected = np.stack([decoded[number] for number in chosen]).transpose(0, 3, 1, 2)
    assert frames.shape == expected.shape
    # The two FFmpeg builds may round a color differently; another frame would be off by far more.
    assert np.abs(frames.astype(int) - expected).mean() < 1.0


def test_size_is_height_and_width(mpeg4: str) -> None:
    assert read_rgb(mpeg4, 2, size=(64, 96)).shape == (2, 3, 64, 96)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"RIFF, but no video")
    with pytest.raises(errors.UnreadableVideoError, match=r"broken\.avi: FFmpeg cannot open it"):
        read_rgb(broken, 4)
    with pytest.raises(errors.UnreadableVideoError, match="no such file"):
        read_rgb(tmp_path / "nowhere.avi", 4)
