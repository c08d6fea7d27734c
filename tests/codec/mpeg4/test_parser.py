"""The parser behind the reader: when it is chosen, that it agrees with FFmpeg's parser, what it touches."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.encoders import encode

from cvr_lightning.codec import BlockMode, ClipArrays, CompressedVideoReader, PacketIndex
from cvr_lightning.codec.choice import ParserName
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.errors import UnsupportedStreamError

FINE = {"qmin": "2", "qmax": "2", "bf": "2", "flags": "+mv4", "mbd": "rd"}


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(encode(tmp_path_factory.mktemp("fine") / "clip.avi", (130, 98), frames=40, options=FINE))


def read(path: str, parser: ParserName, **options: object) -> ClipArrays:
    with CompressedVideoReader(path, parser=parser) as video:
        return video.read(video.segments(6, 3), **options)  # type: ignore[arg-type]


def assert_close(native: ClipArrays, general: ClipArrays, tolerance: float) -> None:
    np.testing.assert_array_equal(native.iframes, general.iframes)
    np.testing.assert_array_equal(native.motion, general.motion)
    np.testing.assert_array_equal(native.mask, general.mask)
    # FFmpeg's parser also calls skipped what is coded with zero vectors and nothing else.
    known = general.modes != BlockMode.SKIPPED
    np.testing.assert_array_equal(native.modes[known], general.modes[known])
    assert not native.motion.transpose(0, 1, 3, 4, 2)[~known].any()
    assert not native.residual.transpose(0, 1, 3, 4, 2)[~known].any()
    assert np.abs(native.residual - general.residual).mean() < tolerance


@pytest.mark.parametrize("size", [None, (48, 80)])
def test_the_mpeg4_parser_agrees_with_ffmpeg(fine: str, size: tuple[int, int] | None) -> None:
    """Residuals differ by the rounding of decoded samples, and by clipping at black and white."""
    assert_close(read(fine, "mpeg4", size=size), read(fine, "ffmpeg", size=size), 1.0)


@pytest.mark.parametrize("name", ["xvid_asp_packed_bframes.avi", "dx50_bframes.avi", "v_TaiChi_g01_c02.avi"])
def test_parsers_agree_on_real_clips(clip: Callable[[str], str], name: str) -> None:
    assert_close(read(clip(name), "mpeg4"), read(clip(name), "ffmpeg"), 0.5)


def test_pixels_and_accumulation_agree(fine: str) -> None:
    for options in ({"representation": "pixel"}, {"accumulate": True}):
        native, general = (read(fine, parser, **options) for parser in ("mpeg4", "ffmpeg"))  # type: ignore[arg-type]
        np.testing.assert_array_equal(native.motion, general.motion)
        assert np.abs(native.residual - general.residual).mean() < 2


def test_fewer_coefficients_are_the_first_of_all(fine: str) -> None:
    full, cut = read(fine, "mpeg4", coefficients=(64, 64)), read(fine, "mpeg4", coefficients=(7, 2))
    kept = np.r_[0:7, 64:66, 128:130]
    np.testing.assert_array_equal(cut.residual, full.residual[:, :, kept])
    np.testing.assert_array_equal(cut.modes, full.modes)


def test_parse_gives_all_macroblocks(fine: str) -> None:
    with CompressedVideoReader(fine) as video:
        for frame, kind in enumerate(video.info.frame_types):
            parsed = video.parse(frame)
            assert parsed.frame_type == kind
            assert parsed.motion.shape == parsed.backward.shape == (14, 18, 2)
            assert parsed.modes.shape == parsed.directions.shape == (14, 18)
            assert parsed.luma.shape == (14, 18, 64)
            assert parsed.chroma.shape == (7, 9, 2, 64)
            assert parsed.quantizer.shape == (7, 9)
            assert (parsed.quantizer == 2).all()
            assert not (parsed.motion % 2).any()  # half samples
            assert ((parsed.directions == 0) == (parsed.modes == BlockMode.INTRA)).all()
        with pytest.raises(ValueError, match="frame must be in"):
            video.parse(40)


def test_cached_index_needs_no_container(fine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with CompressedVideoReader(fine) as video:
        index = PacketIndex.from_bytes(video.index.to_bytes())
        info, segments = video.info, video.segments(6, 3)
        expected = video.read(segments)

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("the container was opened")

    monkeypatch.setattr(av, "open", refuse)
    with CompressedVideoReader(fine, index=index) as video:
        assert video.info == info
        actual = video.read(segments)
    np.testing.assert_array_equal(actual.iframes, expected.iframes)
    np.testing.assert_array_equal(actual.residual, expected.residual)


def test_only_the_frames_needed_are_read(fine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with CompressedVideoReader(fine) as video:
        index, segment = video.index, video.segments(6, 3)[2]
    sizes: list[int] = []
    real = Demuxer.read
    monkeypatch.setattr(
        Demuxer, "read", lambda self, place, size: sizes.append(size) or real(self, place, size)
    )
    with CompressedVideoReader(fine, index=index) as video:
        video.read([segment])
    frames = (segment.iframe, *segment.pframes)
    assert sizes == [index.frame_sizes[frame] for frame in frames]


def test_packets_without_a_position_in_the_file_are_read_through_the_container(fine: str) -> None:
    with CompressedVideoReader(fine) as video:
        segments = video.segments(6, 3)
        expected, index = video.read(segments), video.index
    scattered = replace(index, data_positions=np.full_like(index.data_positions, -1))
    with CompressedVideoReader(fine, index=scattered) as video:
        actual = video.read(segments)
    np.testing.assert_array_equal(actual.residual, expected.residual)
    np.testing.assert_array_equal(actual.iframes, expected.iframes)


def test_threads_read_equal_clips(fine: str) -> None:
    expected = read(fine, "mpeg4")
    with ThreadPoolExecutor(4) as pool:
        for clip in pool.map(lambda _: read(fine, "mpeg4"), range(8)):
            np.testing.assert_array_equal(clip.residual, expected.residual)
            np.testing.assert_array_equal(clip.iframes, expected.iframes)


@pytest.mark.parametrize(
    ("options", "cause"),
    [({"data_partitioning": "1"}, "data partitioning"), ({"flags": "+ildct+ilme"}, "interlaced")],
)
def test_streams_with_other_tools_are_read_through_ffmpeg(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, options: dict[str, str], cause: str
) -> None:
    path = encode(tmp_path / "clip.avi", (64, 48), frames=6, options=options)
    with caplog.at_level(logging.INFO, "cvr_lightning"), CompressedVideoReader(path) as video:
        assert video.parser == "ffmpeg"
        assert cause in video.reason
        with pytest.raises(UnsupportedStreamError, match=cause):
            video.parse(1)
    (record,) = caplog.records
    assert cause in record.getMessage()
    assert str(path) in record.getMessage()
    with pytest.raises(UnsupportedStreamError, match=cause):
        CompressedVideoReader(path, parser="mpeg4")


def test_other_codecs_are_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", (64, 48), frames=6, codec="libx264")
    with pytest.raises(UnsupportedStreamError, match="h264, not MPEG-4 Part 2"):
        CompressedVideoReader(path, parser="mpeg4")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts the descriptors in /proc")
def test_descriptors_are_closed(fine: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        read(fine, "mpeg4")
    assert len(os.listdir("/proc/self/fd")) <= before
