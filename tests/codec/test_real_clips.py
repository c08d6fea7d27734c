"""Every real clip is read, or refused by name with a remedy."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.errors import UnreadableVideoError, UnsupportedStreamError

# What each real clip gives: everything, no residual, I-frames alone, or damage.
VERDICTS = {
    "av1.mkv": "iframes",
    "corrupted.mp4": "damaged",
    "divx_4x4.avi": "all",
    "dx50_bframes.avi": "all",
    "h264_10bit.mp4": "motion",
    "h264_320x240_bframes.mp4": "all",
    "h264_bad_metadata.mp4": "all",
    "h264_k400_bframes.mp4": "all",
    "h264_k400_no_bframes.mkv": "all",
    "hevc.mp4": "iframes",
    "mpeg1_ucf11_biking.mpg": "motion",
    "mpeg4_720p.mp4": "all",
    "rotated_90.mov": "all",
    "small_video.avi": "iframes",
    "unordered.mov": "all",
    "v_BaseballPitch_g01_c03.avi": "all",
    "v_Biking_g01_c01.avi": "all",
    "v_TaiChi_g01_c02.avi": "all",
    "xvid_320x268.avi": "all",
    "xvid_354x226.avi": "all",
    "xvid_448x132.avi": "all",
    "xvid_asp_packed_bframes.avi": "all",
    "xvid_single_iframe.avi": "all",
}


def test_every_real_clip_has_an_expectation(clip: Callable[[str], str]) -> None:
    folder = Path(clip("av1.mkv")).parent
    assert sorted(VERDICTS) == sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_real_clip_is_read_or_refused_and_named(clip: Callable[[str], str], name: str) -> None:
    verdict = VERDICTS[name]
    with CompressedVideoReader(clip(name)) as video:
        segments = video.segments(4, 3)
        iframes = video.read(segments, pframes=3, modalities=("iframes",))
        assert len(iframes.iframes) == len({segment.iframe for segment in segments})
        if verdict == "all":
            arrays = video.read(segments, pframes=3)
            assert arrays.mask.sum() == sum(len(segment.pframes) for segment in segments)
            return
        if verdict == "damaged":
            with pytest.raises(UnreadableVideoError, match=name):
                video.read(segments, pframes=3)
            return
        with pytest.raises(UnsupportedStreamError, match="prepare it: ffmpeg") as caught:
            video.read(segments, pframes=3)
        assert name in str(caught.value)
        if verdict == "motion":
            assert video.read(segments, pframes=3, modalities=("motion",)).mask.any()
            return
        with pytest.raises(UnsupportedStreamError, match=name):
            video.read(segments, pframes=3, modalities=("motion",))


@pytest.mark.parametrize("name", ["v_TaiChi_g01_c02.avi", "h264_k400_bframes.mp4", "hevc.mp4", "av1.mkv"])
def test_iframes_of_real_clips_are_those_of_pyav(clip: Callable[[str], str], name: str) -> None:
    with CompressedVideoReader(clip(name)) as video:
        segments = video.segments(3, 0)
        arrays = video.read(segments, size=(120, 160), modalities=("iframes",))
    with av.open(clip(name), metadata_errors="replace") as container:
        wanted = {segment.iframe for segment in segments}
        frames = {i: frame for i, frame in enumerate(container.decode(video=0)) if i in wanted}
    for place, number in enumerate(sorted(frames)):
        scaled = frames[number].reformat(width=160, height=120, interpolation="BILINEAR")
        expected = scaled.to_ndarray(format="rgb24")
        np.testing.assert_array_equal(arrays.iframes[place], expected.transpose(2, 0, 1))
        assert PictureType(frames[number].pict_type).name == "I"
