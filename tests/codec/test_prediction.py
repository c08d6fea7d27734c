"""Residuals are exact: at quantizer 31 a block holds either nothing or coefficients of at least 3 x 31."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers.encoders import COARSE, encode

from cvr_lightning.codec import BlockMode, ClipArrays, CompressedVideoReader
from cvr_lightning.codec.errors import UnsupportedStreamError

TOOLS = {
    "one vector": {},
    "four vectors": {"flags": "+mv4", "mbd": "rd"},
    "quarter sample": {"flags": "+qpel"},
    "quarter sample, four vectors": {"flags": "+qpel+mv4", "mbd": "rd"},
    "B-frames": {"bf": "2"},
    "data partitioning": {"data_partitioning": "1"},
}


def read_all(path: Path | str, **options: object) -> ClipArrays:
    with CompressedVideoReader(path, parser="ffmpeg") as video:
        frames = video.info.frame_types.count("P")
        return video.read(video.segments(frames, 1), pframes=1, **options)  # type: ignore[arg-type]


def components(clip: ClipArrays) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Largest coefficient of each component (3, blocks) and which blocks are inter."""
    blocks = np.stack(np.split(clip.residual[clip.mask], 3, axis=1))
    return np.abs(blocks).max(2), clip.modes[clip.mask] != BlockMode.INTRA


@pytest.mark.parametrize("size", [(176, 144), (354, 226), (130, 34), (20, 18)])
@pytest.mark.parametrize("tool", TOOLS)
def test_mpeg4_blocks_without_coefficients_are_exactly_zero(
    tmp_path: Path, tool: str, size: tuple[int, int]
) -> None:
    path = encode(tmp_path / "clip.avi", size, frames=14, options={**COARSE, **TOOLS[tool]})
    clip = read_all(path, coefficients=(64, 64))
    largest, inter = components(clip)
    coded = largest[:, inter]
    assert not ((coded > 0) & (coded < 80)).any()
    if min(size) > 100:
        assert (coded == 0).mean() > 0.6
        assert ("four" in tool) == (clip.modes == BlockMode.INTER4V).any()
    fractions = np.unique(np.abs(clip.motion) % 1)
    assert set(fractions.tolist()) <= ({0, 0.25, 0.5, 0.75} if "quarter" in tool else {0, 0.5})


@pytest.mark.parametrize(
    "name",
    [
        "v_BaseballPitch_g01_c03.avi",
        "v_TaiChi_g01_c02.avi",
        "xvid_354x226.avi",
        "xvid_448x132.avi",
        "xvid_asp_packed_bframes.avi",
        "xvid_single_iframe.avi",
    ],
)
def test_most_blocks_of_real_clips_are_exactly_zero(clip: Callable[[str], str], name: str) -> None:
    with CompressedVideoReader(clip(name), parser="ffmpeg") as video:
        largest, inter = components(video.read(video.segments(8, 3), coefficients=(64, 64)))
    assert (largest[:, inter] == 0).mean() > 0.5
    assert largest[0, inter][largest[0, inter] > 0].min() > 3  # rounding noise of a wrong tap would be less


def test_intra_blocks_hold_the_picture(mpeg4: str) -> None:
    clip = read_all(mpeg4, coefficients=(64, 64))
    intra = clip.modes == BlockMode.INTRA
    assert intra.any()
    assert (clip.residual[:, :, 0][intra] > 0).all()  # DC of samples, not of differences
    assert not clip.motion.transpose(0, 1, 3, 4, 2)[intra].any()


def test_skipped_blocks_are_empty(clip: Callable[[str], str]) -> None:
    with CompressedVideoReader(clip("v_TaiChi_g01_c02.avi"), parser="ffmpeg") as video:
        arrays = video.read(video.segments(8, 3), coefficients=(64, 64))
    skipped = arrays.modes == BlockMode.SKIPPED
    assert skipped.mean() > 0.5
    assert not arrays.motion.transpose(0, 1, 3, 4, 2)[skipped].any()
    assert not arrays.residual.transpose(0, 1, 3, 4, 2)[skipped].any()


@pytest.mark.parametrize(
    ("codec", "suffix", "options", "cause"),
    [
        ("libx264", "mp4", {"qp": "0"}, "lossless"),
        ("mpeg2video", "mpg", {}, "mpeg2video"),
        ("flv", "flv", {}, "flv1"),
        ("msmpeg4", "avi", {}, "msmpeg4v3"),
    ],
)
def test_inexact_residuals_are_refused_but_motion_is_read(
    tmp_path: Path, codec: str, suffix: str, options: dict[str, str], cause: str
) -> None:
    path = encode(tmp_path / f"clip.{suffix}", codec=codec, options=options)
    with CompressedVideoReader(path) as video:
        with pytest.raises(UnsupportedStreamError, match=cause) as caught:
            video.read(video.segments(2, 3))
        assert str(path) in str(caught.value)
        assert "prepare it: ffmpeg" in str(caught.value)
        clip = video.read(video.segments(2, 3), modalities=("iframes", "motion"))
    assert clip.motion.any()
    assert not clip.residual.any()


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx265", "mp4", {"x265-params": "log-level=none"}),
        ("libvpx-vp9", "webm", {}),
        ("mpeg4", "avi", {"flags": "+ildct+ilme"}),
        ("libx264", "mp4", {"flags": "+ildct+ilme"}),
    ],
)
def test_streams_without_frame_vectors_are_refused(
    tmp_path: Path, codec: str, suffix: str, options: dict[str, str]
) -> None:
    path = encode(tmp_path / f"clip.{suffix}", (64, 64), frames=6, codec=codec, options=options)
    with CompressedVideoReader(path) as video:
        with pytest.raises(UnsupportedStreamError, match="prepare it: ffmpeg"):
            video.read(video.segments(2, 3), modalities=("motion",))
        assert video.read(video.segments(2, 3), modalities=("iframes",)).iframes.any()
