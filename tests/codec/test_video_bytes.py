"""Videos in memory are read as those on the disk are."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from helpers.encoders import SINGLE_REFERENCE, encode

from cvr_lightning.codec import CompressedVideoReader, VideoBytes
from cvr_lightning.codec.errors import UnreadableVideoError


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "mpeg4", {}),
        ("a.avi", "mpeg4", {"bf": "2"}),
        ("a.mkv", "libx264", SINGLE_REFERENCE),
        ("b.avi", "mpeg4", {"flags": "+qpel"}),
    ],
)
def test_a_video_in_memory_is_read_as_its_file_is(
    name: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    path = encode(tmp_path / name, codec=codec, options=options)
    both = []
    for file in (path, VideoBytes("name", path.read_bytes())):
        with CompressedVideoReader(file) as video:
            both.append((video.index, video.read(video.segments(3, 4))))
    (index, clip), (index_in_memory, clip_in_memory) = both
    assert index.facts == index_in_memory.facts
    for field in fields(index)[1:]:
        np.testing.assert_array_equal(getattr(index, field.name), getattr(index_in_memory, field.name))
    for field in fields(clip):
        np.testing.assert_array_equal(getattr(clip, field.name), getattr(clip_in_memory, field.name))


def test_an_index_serves_a_video_in_memory(mpeg4: str) -> None:
    with CompressedVideoReader(mpeg4) as video:
        index, expected = video.index, video.read(video.segments(2, 3))
    with CompressedVideoReader(VideoBytes("x", Path(mpeg4).read_bytes()), index=index) as video:
        np.testing.assert_array_equal(video.read(video.segments(2, 3)).motion, expected.motion)
    with pytest.raises(UnreadableVideoError, match="x: its size is not that of the index"):
        CompressedVideoReader(VideoBytes("x", Path(mpeg4).read_bytes() + b"\0"), index=index)


@pytest.mark.parametrize(
    ("data", "cause"), [(b"", "the file is empty"), (b"not a video at all", "FFmpeg cannot open it")]
)
def test_errors_contain_its_name(data: bytes, cause: str) -> None:
    with pytest.raises(UnreadableVideoError, match=rf"shard 3/a\.avi: {cause}"):
        CompressedVideoReader(VideoBytes("shard 3/a.avi", data))


def test_a_truncated_video_in_memory_is_detected(tmp_path: Path) -> None:
    data = encode(tmp_path / "a.avi").read_bytes()
    with pytest.raises(UnreadableVideoError, match="it is cut short"):
        CompressedVideoReader(VideoBytes("a.avi", data[:-2000]))
