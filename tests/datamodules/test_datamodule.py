"""From files to batches: the same clips whatever reads them, errors that name the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from helpers.batches import epoch, same
from helpers.encoders import encode
from helpers.factories import data_options
from helpers.real_clips import HOCKEY
from helpers.worker_imports import modules_of_a_worker
from lightning import LightningModule, Trainer

from cvr_lightning import datamodules
from cvr_lightning.clip import CompressedClip
from cvr_lightning.codec import BlockMode
from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.datamodules import CompressedVideoDataModule, Folder, MotionShapes, catalog
from cvr_lightning.datamodules.loader import start_worker

SMALL = {"segments": 2, "pframes": 2, "size": (64, 88), "crop": 64, "batch_size": 4}
ONE_SCENE = {"train_scenes": 1, "val_scenes": 1, "test_scenes": 1}


@pytest.fixture
def broken(shapes_root, tmp_path) -> Path:
    """A folder of two classes whose first training video is no video."""
    for subset in ("train", "val"):
        for motion in ("left", "right"):
            shutil.copytree(shapes_root / subset / motion, tmp_path / subset / motion)
    (tmp_path / "train" / "left" / "0000.mp4").write_bytes(b"not a video")
    return tmp_path


def test_batches_do_not_depend_on_the_number_of_workers(shapes_root, shapes):
    parallel = MotionShapes(shapes_root, **data_options(ONE_SCENE, SMALL, num_workers=2))
    for number in (0, 3):
        assert same(epoch(shapes, number=number), epoch(parallel, number=number))


def test_every_data_set_is_in_the_catalog_and_is_loaded_by_the_first(shapes):
    assert datamodules.__all__ == catalog.__all__
    assert set(datamodules.__all__) - {"CompressedVideoDataModule"} <= {
        kind.__name__ for kind in every_subclass(CompressedVideoDataModule)
    }
    with pytest.raises(AttributeError, match="has no attribute 'UCF102'"):
        datamodules.UCF102  # noqa: B018


def every_subclass(kind: type) -> set[type]:
    return {kind}.union(*(every_subclass(below) for below in kind.__subclasses__()))


HEAVY = {"jsonargparse", "lightning", "matplotlib", "tensorboard", "torchmetrics"}


def test_a_spawned_worker_imports_only_what_reading_needs(shapes):
    shapes.prepare_data()
    loaded = modules_of_a_worker(shapes)
    assert {"av", "numba", "torch"} <= loaded
    assert loaded & HEAVY == set()


def test_spawned_workers_read_the_same_batches_under_a_trainer(shapes_root, shapes, monkeypatch):
    class Keep(LightningModule):
        def __init__(self):
            super().__init__()
            self.batches = []

        def validation_step(self, batch, batch_index):
            self.batches.append(batch)

    monkeypatch.setenv("PL_SEED_WORKERS", "1")  # as the command line sets it
    parallel = MotionShapes(shapes_root, **data_options(ONE_SCENE, SMALL, num_workers=1))
    loader = parallel.val_dataloader()
    loader.multiprocessing_context = "spawn"
    monkeypatch.setattr(parallel, "val_dataloader", lambda: loader)
    kept, expected = Keep(), Keep()
    for model, data in ((kept, parallel), (expected, shapes)):
        Trainer(logger=False, enable_checkpointing=False, accelerator="cpu").validate(model, data)
    assert loader.worker_init_fn is start_worker  # Lightning has put none of its own there
    assert same(kept.batches, expected.batches)


def test_epochs_differ_and_are_reproducible(shapes):
    first, second = epoch(shapes, number=0), epoch(shapes, number=1)
    assert not same(first, second)
    assert same(epoch(shapes, number=0), first)


def test_reading_leaves_the_global_generator_alone(shapes):
    torch.manual_seed(0)
    epoch(shapes)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)


def test_a_batch_describes_its_clips(shapes):
    shapes.setup()
    for batch in epoch(shapes, "val"):
        batch.validate()
        assert batch.mask.all()
        assert not (batch.modes == BlockMode.OUTSIDE).any()
        for video, label in zip(batch.video.tolist(), batch.label.tolist(), strict=True):
            assert shapes.names["val"][video].split("/")[1] == shapes.class_names[label]


def test_the_class_is_in_the_vectors_and_not_in_the_iframes(shapes_root):
    data = MotionShapes(shapes_root, **data_options(ONE_SCENE, num_workers=0, batch_size=10))
    (batch,) = epoch(data, "val")
    assert torch.equal(batch.iframes, batch.iframes[:1].expand_as(batch.iframes))
    mean = batch.motion[..., 13:19, 18:25].mean((1, 2, 4, 5))  # (B, 2) around the middle
    dx, dy = (
        dict(zip(data.class_names, mean[:, 0], strict=True)),
        dict(zip(data.class_names, mean[:, 1], strict=True)),
    )
    assert dx["left"] > 1 > -1 > dx["right"]
    assert dy["up"] > 1 > -1 > dy["down"]


def test_views_show_different_moments_of_each_test_video_once(shapes_root):
    data = MotionShapes(shapes_root, **data_options(ONE_SCENE, SMALL, num_workers=0, views=3))
    batches = epoch(data, "test")
    drawn = [pair for b in batches for pair in zip(b.video.tolist(), b.view.tolist(), strict=True)]
    assert drawn == [(video, view) for video in range(10) for view in range(3)]
    motion = torch.cat([batch.motion for batch in batches])
    assert len({motion[view].numpy().tobytes() for view in range(3)}) == 3
    assert len(epoch(data, "val")) == 3  # one view
    assert data.protocol == {
        "name": None,
        "dataset": "MotionShapes",
        "subset": "test",
        "segments": 2,
        "pframes": 2,
        "views": 3,
        "crops": 1,
        "clips": 3,
        "size": [64, 88],
        "crop": 64,
        "representation": "block",
        "modalities": ["iframes", "motion", "residual"],
    }


def short_video(path: Path, pframes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return encode(path, frames=pframes + 1, gop=100)


def test_a_video_too_short_for_the_views_asked_is_scored_by_those_that_differ(tmp_path):
    for name in ("train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4"):
        short_video(tmp_path / name, 5)
    short_video(tmp_path / "test/a/long.mp4", 30)
    short_video(tmp_path / "test/b/short.mp4", 6)
    data = Folder(tmp_path, **data_options(SMALL, num_workers=0, views=4))
    views: dict[str, list[int]] = {"test/a/long.mp4": [], "test/b/short.mp4": []}
    for batch in epoch(data, "test"):
        for video, view in zip(batch.video.tolist(), batch.view.tolist(), strict=True):
            views[data.names["test"][video]].append(view)
    # 6 P-frames in 2 segments of 2: each span of 3 holds 2 different windows.
    assert views == {"test/a/long.mp4": [0, 1, 2, 3], "test/b/short.mp4": [0, 2]}
    iframes_only = Folder(tmp_path, **data_options(SMALL, num_workers=0, views=4, modalities=("iframes",)))
    drawn = [view for batch in epoch(iframes_only, "test") for view in batch.view.tolist()]
    assert drawn == [0, 0]  # either video has a single I-frame


def test_a_video_of_fewer_pframes_than_asked_is_masked_and_repeats_none(tmp_path):
    short_video(tmp_path / "train/a/1.mp4", 3)
    (tmp_path / "val/a").mkdir(parents=True)
    short_video(tmp_path / "val/a/1.mp4", 3)
    data = Folder(tmp_path, **data_options(SMALL | {"segments": 5}, num_workers=0))
    (batch,) = epoch(data, "val")
    assert batch.mask.sum() == 3
    assert batch.mask.any(2).tolist() == [[False, True, False, True, True]]
    frames = batch.residual[batch.mask]
    assert len({frame.numpy().tobytes() for frame in frames}) == 3
    assert not batch.residual[~batch.mask].any()
    assert (batch.modes[~batch.mask] == BlockMode.OUTSIDE).all()


def test_a_protocol_sets_the_views_of_the_test_alone(shapes_root):
    data = MotionShapes(
        shapes_root, **data_options(ONE_SCENE, SMALL | {"batch_size": 7}, num_workers=0, protocol="2x3")
    )
    assert [len(batch) for batch in epoch(data, "test")] == [2] * 10  # 6 clips once cut: at most 7
    assert [len(batch) for batch in epoch(data, "val")] == [7, 3]
    assert {name: data.protocol[name] for name in ("name", "segments", "views", "crops")} == {
        "name": "2x3",
        "segments": 2,
        "views": 2,
        "crops": 3,
    }


def test_coviar_tests_25_segments_and_10_crops_whatever_the_training(shapes_root):
    options = SMALL | {"size": (80, 88), "crop": 64}
    data = Folder(shapes_root, **data_options(options, num_workers=0, protocol="coviar"))
    assert data.sampling.segments == 2
    assert (data.test_sampling.segments, data.test_sampling.crops) == (25, 10)
    batch = epoch(data, "test")[0]
    assert batch.iframe_index.shape == (1, 25)
    with pytest.raises(ValueError, match="coviar mirrors clips, but left and right are different classes"):
        MotionShapes(shapes_root, **data_options(ONE_SCENE, options, protocol="coviar"))


class Shapes(LightningModule):
    """Notes what its steps are given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[CompressedClip]] = {"train": [], "val": [], "test": []}

    def training_step(self, batch: CompressedClip, batch_idx: int) -> torch.Tensor:
        self.seen["train"].append(batch)
        return self.weight * batch.motion.mean()

    def validation_step(self, batch: CompressedClip, batch_idx: int) -> None:
        self.seen["val"].append(batch)

    def test_step(self, batch: CompressedClip, batch_idx: int) -> None:
        self.seen["test"].append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit_and_test(data: CompressedVideoDataModule, folder: Path, epochs: int) -> Shapes:
    model = Shapes()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    return model


def test_the_trainer_crops_everything_and_augments_training_only(shapes, tmp_path):
    model = fit_and_test(shapes, tmp_path, epochs=2)
    for batches in model.seen.values():
        assert all(batch.validate().iframes.shape[-2:] == (64, 64) for batch in batches)
    assert all(batch.iframes.is_floating_point() for batch in model.seen["train"])
    assert all(batch.iframes.dtype == torch.uint8 for batch in model.seen["val"] + model.seen["test"])
    orders = [[int(v) for batch in model.seen["train"][i : i + 3] for v in batch.video] for i in (0, 3)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]  # the trainer tells the sampler its epoch


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_video_stops_the_run_and_is_named(broken, workers):
    with pytest.raises(
        UnreadableVideoError, match=r"^.*train/left/0000\.mp4: .*; fetch or encode the file again"
    ):
        epoch(Folder(broken, **data_options(SMALL, num_workers=workers)))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_video_can_be_left_out_and_is_named_once(broken, caplog, workers):
    data = Folder(broken, **data_options(SMALL | {"batch_size": 1}, num_workers=workers, on_error="skip"))
    for number in range(4):
        batches = [data.on_after_batch_transfer(batch, 0) for batch in epoch(data, number=number)]
        (unread,) = (batch for batch in batches if batch.unreadable)
        (error,) = unread.unreadable.values()
        assert data.names["train"][next(iter(unread.unreadable))] == "train/left/0000.mp4"
        assert isinstance(error, UnreadableVideoError)
        assert [label for batch in batches for label in batch.label.tolist()] == [1]
    (message,) = (text for text in caplog.messages if text.startswith("skipped (on_error=skip): "))
    assert "train/left/0000.mp4: " in message


def test_a_batch_without_any_readable_video_passes_the_transforms(broken):
    data = Folder(broken, **data_options(SMALL | {"batch_size": 1}, num_workers=0, on_error="skip"))
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    assert sorted(len(batch) for batch in batches) == [0, 1]


def test_the_test_may_look_at_larger_crops_than_the_training(shapes_root, tmp_path):
    data = MotionShapes(
        shapes_root, **data_options(ONE_SCENE, SMALL | {"crop": 32}, num_workers=0, test_crop=64, crops=3)
    )
    model = fit_and_test(data, tmp_path, epochs=1)
    sides = {subset: {batch.iframes.shape[-1] for batch in batches} for subset, batches in model.seen.items()}
    assert sides == {"train": {32}, "val": {32}, "test": {64}}
    assert data.protocol["crop"] == data.test_sampling.crop == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "ignore"}, "choose one of 'raise', 'skip'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"color_jitter": 1.5}, r"color_jitter=1\.5 must be in"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"crop": 100}, "multiple of 8"),
        ({"crop": 32, "test_crop": 264}, "crop=264 must be a multiple of 8"),
        ({"val_scenes": 0}, "val_scenes=0"),
        ({"protocol": "3x10"}, "protocol='3x10' is not known; choose one of coviar, 1x1"),
        ({"protocol": "10x3", "views": 5}, "'10x3' sets views=10, contradicting views=5"),
        ({"protocol": "5x3", "crops": 5}, "'5x3' sets crops=3, contradicting crops=5"),
        ({"crops": 4}, "crops=4 is not supported; choose one of 1, 3, 5, 10"),
        ({"crops": 10}, "crops=10 mirrors clips"),
        ({"crops": 3, "size": (224, 232)}, "crops=3 of crop=224 would coincide"),
        ({"modality_dropout": 0.5, "modalities": ("motion",)}, "needs two modalities"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        MotionShapes(tmp_path, **data_options(options))


@pytest.mark.skipif(not HOCKEY.is_dir(), reason="the hockey clips are not on this machine")
def test_real_videos_give_the_same_batches_with_and_without_workers():
    alone, parallel = (Folder(HOCKEY, **data_options(SMALL, num_workers=workers)) for workers in (0, 2))
    assert alone.class_names == ["fight", "no_fight"]
    batches = epoch(alone, "val")
    assert sum(len(batch) for batch in batches) == 34
    assert all(batch.motion.abs().sum() > 0 and batch.residual.abs().sum() > 0 for batch in batches)
    assert same(batches, epoch(parallel, "val"))
