from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.filter import Graph
from helpers.encoders import COARSE, encode

from cvr_lightning.codec import MODALITIES, BlockMode, ClipArrays, CompressedVideoReader, Segment
from cvr_lightning.codec.arrays import Representation
from cvr_lightning.codec.choice import ParserName
from cvr_lightning.codec.container import demux

LUMA_OF_RGB = np.array([0.299, 0.587, 0.114]) * 219 / 255


def read(path: str, segments: int = 4, pframes: int = 3, **options: object) -> ClipArrays:
    with CompressedVideoReader(path) as video:
        return video.read(video.segments(segments, pframes), pframes=pframes, **options)  # type: ignore[arg-type]


def assert_same(clip: ClipArrays, other: ClipArrays) -> None:
    for name in ("iframes", "iframe_index", "motion", "residual", "modes", "mask"):
        np.testing.assert_array_equal(getattr(clip, name), getattr(other, name), err_msg=name)


def test_arrays_have_the_documented_shapes_and_dtypes(mpeg4: str) -> None:
    clip = read(mpeg4, coefficients=(10, 3))
    assert clip.iframes.shape == (3, 3, 144, 176)
    assert clip.iframe_index.tolist() == [0, 0, 1, 2]
    assert clip.motion.shape == (4, 3, 2, 18, 22)
    assert clip.residual.shape == (4, 3, 16, 18, 22)
    assert clip.modes.shape == (4, 3, 18, 22)
    assert clip.mask.all()
    dtypes = [array.dtype for array in (clip.iframes, clip.motion, clip.residual, clip.modes)]
    assert dtypes == [np.uint8, np.float32, np.float32, np.uint8]


@pytest.mark.parametrize("size", [None, (256, 340), (97, 61)])
def test_iframes_are_those_of_pyav(bframes: str, size: tuple[int, int] | None) -> None:
    with CompressedVideoReader(bframes) as video:
        segments = video.segments(8, 3)
        clip = video.read(segments, size=size)
    height, width = size or (144, 176)
    with av.open(bframes) as container:
        frames = list(container.decode(video=0))
    for segment, place in zip(segments, clip.iframe_index, strict=True):
        scaled = frames[segment.iframe].reformat(width=width, height=height, interpolation="BILINEAR")
        expected = scaled.to_ndarray(format="rgb24")
        np.testing.assert_array_equal(clip.iframes[place], expected.transpose(2, 0, 1))


def exported_vectors(path: str, frame: int, grid: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Vectors of one frame written block by block, with plain PyAV."""
    with av.open(path, metadata_errors="replace") as container:
        context = container.streams.video[0].codec_context
        context.thread_count = 1
        context.flags2 |= av.codec.context.Flags2.export_mvs
        decoded = list(container.decode(video=0))[frame]
    out = np.zeros((2, *grid))
    side_data = decoded.side_data.get("MOTION_VECTORS")
    for mv in side_data if side_data is not None else ():
        for y in range((mv.dst_y - mv.h // 2) // 8, (mv.dst_y + mv.h // 2) // 8):
            for x in range((mv.dst_x - mv.w // 2) // 8, (mv.dst_x + mv.w // 2) // 8):
                if mv.source == -1 and y < grid[0] and x < grid[1]:
                    out[:, y, x] = (mv.motion_x / mv.motion_scale, mv.motion_y / mv.motion_scale)
    return out


@pytest.mark.parametrize(
    "name",
    [
        "xvid_asp_packed_bframes.avi",
        "dx50_bframes.avi",
        "xvid_354x226.avi",
        "mpeg1_ucf11_biking.mpg",
    ],
)
def test_vectors_are_those_of_ffmpeg(clip: Callable[[str], str], name: str) -> None:
    with CompressedVideoReader(clip(name)) as video:
        segments = video.segments(3, 2)
        motion = video.read(segments, modalities=("motion",)).motion
    for segment, window in zip(segments, motion, strict=True):
        for frame, field in zip(segment.pframes, window, strict=True):
            expected = exported_vectors(clip(name), frame, field.shape[1:])
            np.testing.assert_array_equal(field, expected)


def test_modalities_left_out_are_zero(mpeg4: str) -> None:
    full = read(mpeg4)
    motion = read(mpeg4, modalities=("motion",))
    assert not motion.iframes.any()
    assert not motion.residual.any()
    np.testing.assert_array_equal(motion.motion, full.motion)
    np.testing.assert_array_equal(motion.modes, full.modes)
    residual = read(mpeg4, modalities=("iframes", "residual"))
    assert not residual.motion.any()
    np.testing.assert_array_equal(residual.residual, full.residual)
    iframes = read(mpeg4, modalities=("iframes",))
    np.testing.assert_array_equal(iframes.iframes, full.iframes)
    assert not iframes.mask.any()
    assert (iframes.modes == BlockMode.OUTSIDE).all()
    assert not iframes.motion.any()


def test_short_windows_are_masked(tmp_path: Path) -> None:
    path = str(encode(tmp_path / "clip.avi", (64, 48), gop=3))
    clip = read(path, pframes=4)
    assert clip.mask.tolist() == [[True, True, False, False]] * 4
    assert (clip.modes[:, 2:] == BlockMode.OUTSIDE).all()
    assert not clip.residual[:, 2:].any()


def test_the_age_of_a_pframe_counts_from_its_iframe(mpeg4: str) -> None:
    with CompressedVideoReader(mpeg4) as video:
        clip = video.read([Segment(0, (1, 11)), Segment(12, (13,))], pframes=3)
    assert clip.age.tolist() == [[1, 11, 0], [1, 0, 0]]


def test_a_video_of_iframes_alone_has_no_pframes(tmp_path: Path) -> None:
    clip = read(str(encode(tmp_path / "clip.avi", (64, 48), gop=1)), pframes=2)
    assert len(clip.iframes) == 4
    assert not clip.mask.any()


def test_the_longest_window_gives_the_length_if_none_is_asked_for(mpeg4: str) -> None:
    with CompressedVideoReader(mpeg4) as video:
        clip = video.read([Segment(0, (1,)), Segment(12, (13, 14))])
    assert clip.mask.tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("parser", ["mpeg4", "ffmpeg"])
def test_windows_may_share_pframes(mpeg4: str, parser: ParserName) -> None:
    with CompressedVideoReader(mpeg4, parser=parser) as video:
        both = video.read([Segment(0, (1, 2)), Segment(0, (2, 3))])
        alone = video.read([Segment(0, (2, 3))])
    np.testing.assert_array_equal(both.mask, True)
    for field in ("motion", "residual", "modes"):
        np.testing.assert_array_equal(getattr(both, field)[1], getattr(alone, field)[0])
        np.testing.assert_array_equal(getattr(both, field)[0, 1], getattr(alone, field)[0, 0])
    assert both.residual.any()


def test_resized_fields_are_nearest_blocks_with_scaled_vectors(mpeg4: str) -> None:
    native, doubled = read(mpeg4), read(mpeg4, size=(288, 176))
    np.testing.assert_array_equal(doubled.residual, native.residual.repeat(2, axis=-2))
    np.testing.assert_array_equal(doubled.modes, native.modes.repeat(2, axis=-2))
    scaled = native.motion.repeat(2, axis=-2) * np.array([1, 2], np.float32)[:, None, None]
    np.testing.assert_array_equal(doubled.motion, scaled)
    odd = read(mpeg4, size=(100, 90))
    assert odd.motion.shape[-2:] == (13, 12)
    assert odd.iframes.shape[-2:] == (100, 90)


def test_pixels_agree_with_blocks(mpeg4: str) -> None:
    block = read(mpeg4, coefficients=(64, 64))
    pixel = read(mpeg4, representation="pixel")
    assert pixel.motion.shape == (4, 3, 2, 144, 176)
    assert pixel.residual.shape == (4, 3, 3, 144, 176)
    np.testing.assert_array_equal(pixel.motion[..., ::8, ::8], block.motion)
    # A block's DC is 8 times its mean.
    luma = np.tensordot(LUMA_OF_RGB, pixel.residual, axes=(0, 2))
    means = luma.reshape(4, 3, 18, 8, 22, 8).mean((3, 5))
    np.testing.assert_allclose(8 * means, block.residual[:, :, 0], atol=0.05)
    assert read(mpeg4, representation="pixel", size=(72, 88)).residual.shape[-2:] == (72, 88)


@pytest.mark.parametrize("representation", ["block", "pixel"])
def test_accumulation_starts_at_the_iframe_and_adds_up(mpeg4: str, representation: Representation) -> None:
    first, second, late = Segment(0, (1, 2)), Segment(0, (2,)), Segment(12, (20,))
    with CompressedVideoReader(mpeg4) as video:
        plain = video.read([first], representation=representation)
        summed = video.read([first], representation=representation, accumulate=True)
        both = video.read([second, late], representation=representation, accumulate=True)
        alone = video.read([late], representation=representation, accumulate=True)
    np.testing.assert_array_equal(summed.motion[0, 0], plain.motion[0, 0])
    np.testing.assert_array_equal(summed.residual[0, 0], plain.residual[0, 0])
    assert np.abs(summed.motion[0, 1]).sum() > 1.2 * np.abs(plain.motion[0, 1]).sum()
    np.testing.assert_array_equal(both.motion[0, 0], summed.motion[0, 1])
    np.testing.assert_array_equal(both.residual[1], alone.residual[0])


def test_accumulated_fields_rebuild_the_frame(clip: Callable[[str], str]) -> None:
    """A P-frame is the I-frame moved along the traced vectors, plus the traced residuals."""
    path = clip("v_TaiChi_g01_c02.avi")
    with CompressedVideoReader(path) as video:
        arrays = video.read([Segment(0, (10,))], representation="pixel", accumulate=True)
    with av.open(path) as container:
        luma = [frame.to_ndarray()[:240].astype(np.float32) for frame in container.decode(video=0)]
    rows, columns = np.indices((240, 320))
    dx, dy = np.floor(arrays.motion[0, 0] + 0.5).astype(int)
    moved = luma[0][np.clip(rows + dy, 0, 239), np.clip(columns + dx, 0, 319)]
    residual = np.tensordot(LUMA_OF_RGB, arrays.residual[0, 0], axes=1)
    inter = (arrays.modes[0, 0] != BlockMode.INTRA).repeat(8, 0).repeat(8, 1)
    plain, rebuilt = np.abs(luma[0] - luma[10])[inter], np.abs(moved + residual - luma[10])[inter]
    assert rebuilt.mean() < 0.5 * plain.mean()


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_file_gives_rotated_fields(tmp_path: Path, rotation: int) -> None:
    upright = encode(tmp_path / "upright.mp4", (96, 64), options=COARSE)
    rotated = encode(tmp_path / "rotated.mp4", (96, 64), options=COARSE, rotation=rotation)
    plain, turned = read(str(upright), coefficients=(64, 64)), read(str(rotated), coefficients=(64, 64))
    with CompressedVideoReader(rotated) as video:
        turns = video.info.rotation // 90
        assert video.info.rotation in (rotation, 360 - rotation)
        assert (video.info.height, video.info.width) == ((64, 96) if turns == 2 else (96, 64))
    np.testing.assert_array_equal(turned.iframes, np.rot90(plain.iframes, turns, axes=(-2, -1)))
    np.testing.assert_array_equal(turned.modes, np.rot90(plain.modes, turns, axes=(-2, -1)))
    pixel = read(str(upright), representation="pixel")
    turned_pixel = read(str(rotated), representation="pixel")
    np.testing.assert_array_equal(turned_pixel.residual, np.rot90(pixel.residual, turns, axes=(-2, -1)))
    cut = read(str(rotated))
    np.testing.assert_array_equal(cut.residual[:, :, :16], turned.residual[:, :, :16])


def test_rotated_clip_is_turned_as_ffmpeg_does(clip: Callable[[str], str]) -> None:
    with CompressedVideoReader(clip("rotated_90.mov")) as video:
        arrays = video.read(video.segments(1, 2))
        assert (video.info.width, video.info.height, video.info.rotation) == (320, 568, 270)
    with av.open(clip("rotated_90.mov")) as container:
        frame = next(container.decode(video=0)).reformat(format="rgb24")
    graph = Graph()
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        ),
        graph.add("transpose", "clock"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    expected = graph.pull().to_ndarray()
    np.testing.assert_array_equal(arrays.iframes[0], expected.transpose(2, 0, 1))
    assert arrays.motion.shape[-2:] == (71, 40)


def test_large_files_are_read_by_seeking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through FFmpeg; the MPEG-4 parser reads packets where the index says."""
    for suffix in ("avi", "mp4", "mkv", "mpg"):
        codec = "mpeg1video" if suffix == "mpg" else "mpeg4"
        modalities = ("iframes", "motion") if suffix == "mpg" else MODALITIES
        path = str(encode(tmp_path / f"clip.{suffix}", (64, 48), 300, codec, options=COARSE))
        with CompressedVideoReader(path, parser="ffmpeg") as video:
            segments = [*video.segments(3, 3), *video.segments(2, 3, 0.9)][::-1]
            expected = video.read(segments, modalities=modalities)
        with monkeypatch.context() as patch:
            patch.setattr(demux, "KEEP_BYTES", 0)
            with CompressedVideoReader(path, parser="ffmpeg") as video:
                assert_same(video.read(segments, modalities=modalities), expected)
                assert_same(video.read(segments, modalities=modalities), expected)


def test_threads_do_not_disturb_each_other(mpeg4: str, bframes: str) -> None:
    paths = [mpeg4, bframes] * 6
    expected = {path: read(path) for path in (mpeg4, bframes)}
    with ThreadPoolExecutor(4) as pool:
        for path, clip in zip(paths, pool.map(read, paths), strict=True):
            assert_same(clip, expected[path])


def test_arguments_are_checked(mpeg4: str) -> None:
    with pytest.raises(ValueError, match="parser must be one of"):
        CompressedVideoReader(mpeg4, parser="other")  # type: ignore[arg-type]
    with CompressedVideoReader(mpeg4) as video:
        assert video.parser == "mpeg4"
        assert "MPEG-4 Part 2" in video.reason
        segments = video.segments(2, 3)
        for options, text in (
            ({"pframes": 2}, "less than those of the longest window"),
            ({"size": (0, 5)}, "size must be"),
            ({"representation": "voxel"}, "representation must be"),
            ({"modalities": ("sound",)}, "modalities must be"),
            ({"modalities": ()}, "modalities must be"),
            ({"coefficients": (65, 4)}, "coefficients must be"),
        ):
            with pytest.raises(ValueError, match=text):
                video.read(segments, **options)  # type: ignore[arg-type]
        for wrong in (Segment(1, ()), Segment(0, (12,)), Segment(0, (400,))):
            with pytest.raises(ValueError, match="-frame of"):
                video.read([wrong])


@pytest.mark.parametrize("bf", ["0", "2"])
@pytest.mark.parametrize("codec", ["mpeg4", "mpeg1video", "libx264"])
def test_no_pframe_loses_its_vectors(tmp_path: Path, codec: str, bf: str) -> None:
    """FFmpeg drops the vectors of a frame that is flushed out of it: the last of a run, or of the video."""
    path = str(encode(tmp_path / "clip.mkv", (96, 64), 13, codec, gop=7, options={"bf": bf}))
    with CompressedVideoReader(path, parser="ffmpeg") as video:
        pframes = [i for i, kind in enumerate(video.info.frame_types) if kind == "P"]
        for frame in pframes:
            iframe = video.info.frame_types.rindex("I", 0, frame)
            clip = video.read([Segment(iframe, (frame,))], modalities=("motion",))
            if frame != pframes[-1]:  # that one plain PyAV loses
                np.testing.assert_array_equal(clip.motion[0, 0], exported_vectors(path, frame, (8, 12)))
            assert clip.motion.any()


def test_an_open_gop_is_not_damage(tmp_path: Path) -> None:
    options = {"bf": "3", "x264-params": "open-gop=1"}
    with CompressedVideoReader(encode(tmp_path / "open.mp4", codec="libx264", options=options)) as video:
        types = video.info.frame_types
        gops = [(start, types.find("P", start)) for start in range(len(types)) if types[start] == "I"]
        clip = video.read([Segment(i, (p,)) for i, p in gops], modalities=("iframes", "motion"))
    assert len(gops) > 1
    assert "B" in types
    assert clip.motion.any(axis=(1, 2, 3, 4)).all()
