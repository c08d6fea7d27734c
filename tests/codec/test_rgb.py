from pathlib import Path

import av
import numpy as np
import pytest

from cvr_lightning.codec import errors
from cvr_lightning.codec.rgb import read_rgb


def test_frames_are_those_of_ffmpeg_at_the_middles_of_equal_parts(mpeg4: str) -> None:
    with av.open(mpeg4) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = [int((part + 0.5) * len(decoded) / 4) for part in range(4)]
    frames = read_rgb(mpeg4, 4)
    assert frames.dtype == np.uint8
    expected = np.stack([decoded[number] for number in chosen]).transpose(0, 3, 1, 2)
    assert frames.shape == expected.shape
    # The two FFmpeg builds may round a colour differently; another frame would be off by far more.
    assert np.abs(frames.astype(int) - expected).mean() < 1.0


def test_size_is_height_and_width(mpeg4: str) -> None:
    assert read_rgb(mpeg4, 2, size=(64, 96)).shape == (2, 3, 64, 96)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"RIFF, but no video")
    with pytest.raises(errors.UnreadableVideoError, match=r"broken\.avi: decord cannot decode it"):
        read_rgb(broken, 4)
    with pytest.raises(errors.UnreadableVideoError, match="no such file"):
        read_rgb(tmp_path / "nowhere.avi", 4)
