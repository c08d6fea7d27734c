"""In which form a model sees its training videos, and later those of others."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.encoders import encode
from lightning.pytorch.trainer.states import TrainerFn

from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.datamodules import Folder
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.errors import CheckpointError
from cvr_lightning.training.checkpoint import CHECKPOINT_KEY
from cvr_lightning.training.checkpoint_model import adopt_form

SAMPLING = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64)


def folder(root: Path, *kinds: dict[str, object], sampling: ClipSampling = SAMPLING) -> Folder:
    """A class of videos per kind; the last is tested too."""
    for number, kind in enumerate(kinds):
        for subset in ("train", "val", "test"):
            for video in range(2):
                path = root / subset / f"class{number}" / f"{video}.mkv"
                path.parent.mkdir(parents=True, exist_ok=True)
                encode(path, **({"size": (96, 64), "frames": 26} | kind))  # type: ignore[arg-type]
    return Folder(root, sampling=sampling, num_workers=0)


@pytest.mark.parametrize(
    ("kinds", "recipe"),
    [
        (({}, {"frames": 9}), Recipe((96, 64))),
        (({}, {"size": (64, 96)}), Recipe(None, 64)),
        (({}, {"size": (96, 80)}), None),
        (({}, {"codec": "libx264"}), None),
        (({}, {"options": {"bf": "2"}}), None),
        (({"gop": 20, "options": {"sc_threshold": "1000000000"}},), Recipe((96, 64), gop=20)),
        (({"gop": 20}, {"gop": 13}), None),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_videos_of_one_prepared_form_are_recognized(
    kinds: tuple[dict[str, object], ...], recipe: Recipe | None, tmp_path: Path
) -> None:
    data = folder(tmp_path, *kinds)
    data.setup("fit")
    assert data.sampling.form == "stored"
    if recipe is None:
        assert data.test_sampling.form == "auto"
    else:
        assert (data.test_sampling.form, data.test_sampling.recipe) == ("prepared", recipe)


def test_videos_that_differ_in_form_are_reported_with_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        folder(tmp_path, {"codec": "libx264", "gop": 24}, {"options": {"bf": "2"}}).setup("fit")
    kinds = (
        "2 h264 with GOPs of up to 60 frames and B-frames",
        "2 mpeg4 with GOPs of up to 12 frames and B-frames",
    )
    assert f"(of 4: {'; '.join(kinds)})" in caplog.text
    assert "cvr prepare SRC DST" in caplog.text


def test_training_refuses_what_testing_prepares(tmp_path: Path) -> None:
    data = folder(tmp_path, {"codec": "mpeg1video"})
    data.setup("fit")
    with pytest.raises(UnsupportedStreamError, match="prepare it"):
        next(iter(data.train_dataloader()))
    assert len(next(iter(data.test_dataloader()))) == 2


def test_training_prepares_where_it_is_asked_to(tmp_path: Path) -> None:
    asked = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64, form="prepared")
    data = folder(tmp_path, {"codec": "mpeg1video"}, {"codec": "libx264"}, sampling=asked)
    data.setup("fit")
    assert len(next(iter(data.train_dataloader()))) == 4
    assert data.test_sampling.form == "prepared"


def test_what_is_prepared_in_memory_is_logged_once_and_only_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = folder(tmp_path, {"codec": "mpeg1video"}, {"codec": "libx264"})
    batch = next(iter(data.test_dataloader()))
    assert batch.prepared
    for _ in range(2):
        data.on_after_batch_transfer(replace(batch, prepared=False), 0)
        assert not caplog.messages
    for _ in range(2):
        data.on_after_batch_transfer(batch, 0)
    (line,) = caplog.messages
    assert line.endswith("are prepared in memory: MPEG-4 Part 2, 340x256, an I-frame every 12 frames")


def test_evaluation_takes_the_form_of_the_checkpoint(tmp_path: Path) -> None:
    data = folder(tmp_path, {"codec": "libx264"})
    stored = ClipSampling(form="prepared", recipe=Recipe((48, 32), gop=4))
    checkpoint = {CHECKPOINT_KEY: {"sampling": stored.to_dict(), "versions": {"cvr_lightning": "0"}}}
    trainer = SimpleNamespace(datamodule=data, state=SimpleNamespace(fn=TrainerFn.FITTING))
    adopt_form(checkpoint, trainer)  # type: ignore[arg-type]
    assert data.test_sampling.form == "auto"
    trainer.state.fn = TrainerFn.TESTING
    adopt_form(checkpoint, trainer)  # type: ignore[arg-type]
    assert (data.test_sampling.form, data.test_sampling.recipe) == ("prepared", stored.recipe)
    del checkpoint[CHECKPOINT_KEY]["sampling"]["form"]  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match=r"missing \['form'\]"):
        adopt_form(checkpoint, trainer)  # type: ignore[arg-type]


def test_a_sampling_with_a_recipe_is_stored_and_restored() -> None:
    sampling = ClipSampling(form="prepared", recipe=Recipe(None, 128, 30))
    assert ClipSampling.from_dict(sampling.to_dict()) == sampling
    with pytest.raises(ValueError, match="recipe"):
        ClipSampling.from_dict({**sampling.to_dict(), "recipe": {"gop": 12}})
    with pytest.raises(ValueError, match="even"):
        ClipSampling.from_dict({**sampling.to_dict(), "recipe": {"gop": 12, "size": None, "short_side": 99}})
