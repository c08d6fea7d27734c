"""The embedded data set: real files, deterministic, told apart by motion only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from helpers.data_oracle import export_vectors, packets
from helpers.factories import data_options

from cvr_lightning.datamodules import Folder, HardMotionShapes, MotionShapes
from cvr_lightning.datamodules.errors import DatasetError, DatasetMismatchError, DatasetNotFoundError
from cvr_lightning.datamodules.motion_scenes import (
    CLASS_NAMES,
    GOP,
    Shot,
    draw_hard_shot,
    draw_shot,
    dress,
    pose_at,
)
from cvr_lightning.datamodules.motion_video import render

ONE_SCENE = {"train_scenes": 1, "val_scenes": 1, "test_scenes": 1}


def video(root: Path, motion: str, subset: str = "train") -> Path:
    return root / subset / motion / "0000.mp4"


def test_files_are_prepared_mpeg4(shapes_root):
    with av.open(str(video(shapes_root, "circle"))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("mpeg4", 340, 256)
        assert (stream.pix_fmt, stream.average_rate) == ("yuv420p", 25)
        kinds = [PictureType(frame.pict_type).name for frame in container.decode(video=0)]
    assert kinds == (["I"] + ["P"] * 11) * 3


def test_iframes_are_the_same_bytes_in_all_classes_and_pframes_are_not(shapes_root):
    streams = [packets(video(shapes_root, motion)) for motion in CLASS_NAMES]
    for stream in streams[1:]:
        assert stream[::GOP] == streams[0][::GOP]
    assert len({stream[1] for stream in streams}) == len(CLASS_NAMES)


def test_subsets_and_shots_show_different_pictures(shapes_root):
    iframes = [
        packet
        for subset in ("train", "val", "test")
        for packet in packets(video(shapes_root, "up", subset))[::GOP]
    ]
    assert len(set(iframes)) == 9


@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("left", 0, 1), ("right", 0, -1), ("up", 1, 1), ("down", 1, -1)]
)
def test_vectors_of_the_shape_point_back_along_its_way(shapes_root, motion, axis, sign):
    for _, centers, vectors in export_vectors(video(shapes_root, motion)):
        inside = (np.abs(centers - (170, 128)) < 24).all(axis=1)
        mean = vectors[inside].mean(axis=0)
        assert mean[axis] * sign > 0.8
        assert abs(mean[1 - axis]) < abs(mean[axis])


@pytest.mark.parametrize(("motion", "sign"), [("rotate_clockwise", 1), ("rotate_counterclockwise", -1)])
def test_vectors_of_a_rotating_shape_turn_against_it(shapes_root, motion, sign):
    turns = [circulation(*item) for item in export_vectors(video(shapes_root, motion))]
    assert sign * np.mean(turns) < -0.3


@pytest.mark.parametrize(("motion", "sign"), [("zoom_in", 1), ("zoom_out", -1)])
def test_vectors_of_a_zooming_shape_run_toward_where_it_came_from(shapes_root, motion, sign):
    flows = [divergence(*item) for item in export_vectors(video(shapes_root, motion))]
    assert sign * np.mean(flows) < -0.2


def ring(centers: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions from the frame's middle, and vectors, of the blocks around the middle."""
    away = centers - (170, 128)
    distance = np.hypot(*away.T)
    near = (distance > 8) & (distance < 40)
    return away[near] / distance[near, None], vectors[near]


def divergence(_: int, centers: np.ndarray, vectors: np.ndarray) -> float:
    away, flow = ring(centers, vectors)
    return float((away * flow).sum(axis=1).mean())


def circulation(_: int, centers: np.ndarray, vectors: np.ndarray) -> float:
    away, flow = ring(centers, vectors)
    return float((away[:, 0] * flow[:, 1] - away[:, 1] * flow[:, 0]).mean())


def test_a_shape_never_leaves_the_frame_and_starts_alike_in_all_classes():
    rng = np.random.default_rng(0)
    for shot in (draw_shot(rng) for _ in range(50)):
        for motion in CLASS_NAMES:
            assert pose_at(shot.shape, motion, 0) == shot.shape.start
            for pose in (pose_at(shot.shape, motion, frame) for frame in range(GOP)):
                reach = shot.shape.radius * (1 + shot.shape.depth) * pose.scale
                assert reach < pose.x < 340 - reach
                assert reach < pose.y < 256 - reach


def test_bytes_depend_on_the_seed_alone(shapes_root, tmp_path):
    MotionShapes(tmp_path / "again", **data_options(ONE_SCENE)).prepare_data()
    MotionShapes(tmp_path / "other", **data_options(ONE_SCENE, scene_seed=1)).prepare_data()
    for path in sorted(shapes_root.rglob("*.mp4")):
        name = path.relative_to(shapes_root)
        assert (tmp_path / "again" / name).read_bytes() == path.read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != path.read_bytes()


def test_an_interrupted_run_is_resumed_and_a_second_run_writes_nothing(shapes_root):
    shapes, lost = MotionShapes(shapes_root, **data_options(ONE_SCENE)), video(shapes_root, "shake", "val")
    before = written(shapes_root)
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(
        DatasetNotFoundError, match=r"val/shake/0000\.mp4 has not been written: call prepare_data"
    ):
        shapes.setup()
    shapes.prepare_data()
    assert lost.read_bytes() == content
    after = written(shapes_root)
    changed = {path for path in after if before.get(path) != after[path]}
    assert {path for path in changed if ".cvr_index" not in path.parts} == {lost}
    shapes.prepare_data()
    assert written(shapes_root) == after


def written(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_a_failed_write_leaves_no_video_behind(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("cvr_lightning.datamodules.motion_video.render", fail)
    with pytest.raises(OSError, match="no space left"):
        MotionShapes(tmp_path / "shapes", **data_options(ONE_SCENE)).prepare_data()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "shapes" / "dataset.json"]


def test_another_recipe_is_refused_before_anything_is_written(shapes_root):
    with pytest.raises(DatasetMismatchError, match=r"dataset\.json records .* choose another --data\.root"):
        MotionShapes(shapes_root, train_scenes=2).prepare_data()


def test_a_damaged_recipe_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text('{"dataset": "Motion')
    with pytest.raises(DatasetError, match=r"dataset\.json is damaged .* delete the folder"):
        MotionShapes(tmp_path).prepare_data()


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DatasetMismatchError, match="a folder of its own"):
        MotionShapes(tmp_path).prepare_data()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_files_read_as_any_folder(shapes_root):
    shapes, folder = MotionShapes(shapes_root, **data_options(ONE_SCENE)), Folder(shapes_root)
    shapes.setup()
    folder.setup()
    assert folder.class_names == shapes.class_names == list(CLASS_NAMES)
    assert {subset: dict(zip(v.names, v.labels, strict=True)) for subset, v in folder.videos.items()} == {
        subset: dict(zip(v.names, v.labels, strict=True)) for subset, v in shapes.videos.items()
    }


def mean_chroma(planes: np.ndarray) -> tuple[float, ...]:
    return tuple(planes[1:].mean(axis=(1, 2)).round(3).tolist())


@pytest.fixture(scope="module")
def films() -> dict[str, list[list[Shot]]]:
    """The videos of 200 training and 50 test scenes that are never written."""
    shapes = HardMotionShapes("nowhere")
    return {
        subset: [shots for scene in range(count) for shots in shapes.film(subset, scene)]
        for subset, count in (("train", 20), ("test", 5))
    }


def worn_by(films: list[list[Shot]]) -> np.ndarray:
    """(videos,) the class whose color the shape of each video wears."""
    tints = [mean_chroma(dress(films[0][0].shape, label).skin) for label in range(10)]
    worn = [np.linalg.norm(np.subtract(tints, mean_chroma(shots[0].shape.skin)), axis=1) for shots in films]
    return np.argmin(worn, axis=1)


def test_hard_colors_agree_with_the_class_in_training_and_never_in_the_test(films):
    for subset, low, high in (("train", 0.4, 0.6), ("test", 0.0, 0.0)):
        fraction = (worn_by(films[subset]) == np.tile(np.arange(10), len(films[subset]) // 10)).mean()
        assert low <= fraction <= high


def test_hard_shots_have_a_moving_camera_and_smaller_distractors(films):
    shots = [shot for video in films["train"] for shot in video]
    assert 0.3 < np.mean([np.hypot(*shot.camera) for shot in shots]) < 1.5
    for shot in shots:
        assert [shape.radius < shot.shape.radius for shape, _ in shot.distractors] == [True, True]
    assert {motion for shot in shots for _, motion in shot.distractors} == set(CLASS_NAMES)


def test_the_camera_moves_the_ground_and_all_shapes_alike():
    """A still picture that pans by whole texels is the first frame shifted."""
    shot = draw_hard_shot(np.random.default_rng(0))
    still = replace(shot.shape, speed=0.0)
    others = tuple((replace(shape, speed=0.0), "left") for shape, _ in shot.distractors)
    shot = replace(shot, shape=still, distractors=others, drift=(0.0, 0.0), camera=(2.0, -1.0))
    first, third = (render(shot, "left", frame)[:256] for frame in (0, 2))
    np.testing.assert_array_equal(third[:250, 4:], first[2:252, :-4])


def test_hard_videos_are_written_and_read_as_any_other(tmp_path):
    shapes = HardMotionShapes(
        tmp_path / "hard", **data_options(ONE_SCENE, num_workers=0, batch_size=2, crop=96)
    )
    shapes.prepare_data()
    assert len({packets(video(tmp_path / "hard", motion))[0] for motion in CLASS_NAMES}) > 5
    shapes.setup()
    assert shapes.protocol["dataset"] == "HardMotionShapes"
    assert len(next(iter(shapes.val_dataloader()))) == 2
    with pytest.raises(DatasetMismatchError, match=r"records .*HardMotionShapes.*, but .*'MotionShapes'"):
        MotionShapes(tmp_path / "hard", **data_options(ONE_SCENE)).prepare_data()
