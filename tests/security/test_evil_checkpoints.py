"""A checkpoint is data: whatever stands in it, no command executes it or writes outside the run directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import TINY_CLIPS

from cvr_lightning import datamodules
from cvr_lightning.cli.main import main
from cvr_lightning.training.checkpoint_schema import DATA, MODEL, fits
from cvr_lightning.training.module import RecognitionModule

Checkpoint = dict[str, Any]


def spawn(marker: Path) -> dict[str, Any]:
    """What makes jsonargparse start a process, where it builds what it is told to."""
    return {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(marker)]}}


def config(checkpoint: Checkpoint, section: str) -> dict[str, Any]:
    part: dict[str, Any] = checkpoint["cvr_lightning"]["config"][section]
    return part


def strategy(checkpoint: Checkpoint, place: Path) -> None:
    options = {"ddp_comm_state": spawn(place / "executed")}
    config(checkpoint, "trainer")["strategy"] = {
        "class_path": "lightning.pytorch.strategies.DDPStrategy",
        "init_args": options,
    }


def callbacks(checkpoint: Checkpoint, place: Path) -> None:
    keeper = {"dirpath": str(place / "kept"), "save_on_train_epoch_end": True}
    config(checkpoint, "trainer")["callbacks"] = [{"class_path": "ModelCheckpoint", "init_args": keeper}]


def logger(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "trainer")["logger"] = {
        "class_path": "CSVLogger",
        "init_args": {"save_dir": str(place / "logs")},
    }


def profiler(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "trainer")["profiler"] = {
        "class_path": "SimpleProfiler",
        "init_args": {"dirpath": str(place), "filename": "profile"},
    }


def plugins(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "trainer")["plugins"] = [spawn(place / "executed")]


def run_directory(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "trainer")["default_root_dir"] = str(place)


def run_name(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["cvr_lightning"]["config"]["run"] = str(place)


def data_class(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "data").update(spawn(place / "executed"))


def imported_data_class(checkpoint: Checkpoint, place: Path) -> None:
    (place / "evil.py").write_text(f"open({str(place / 'executed')!r}, 'w')\nclass Data: pass\n")
    config(checkpoint, "data")["class_path"] = "evil.Data"


def data_class_that_looks_like_ours(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "data")["class_path"] = "cvr_lightning.datamodules.base.os.system"


def data_keywords(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "data")["dict_kwargs"] = spawn(place / "executed")


def model_class(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["cvr_lightning"]["config"]["model"] = spawn(place / "executed")


def model_weights(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "model")["iframe_weights"] = "hub:somebody/something"


def lightnings_own_options(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["hyper_parameters"] = {
        "_class_path": "subprocess.Popen",
        "args": ["touch", str(place / "executed")],
    }


def options_for_lightnings_own(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["hyper_parameters"] = {"pretrained": str(place / "other.ckpt")}


def index_folder(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "data")["init_args"]["index_dir"] = str(place / "index")


def root_without_an_index(checkpoint: Checkpoint, place: Path) -> None:
    root = Path(config(checkpoint, "data")["init_args"]["root"])
    shutil.copytree(root, place / "videos", ignore=shutil.ignore_patterns(".cvr_index"))
    config(checkpoint, "data")["init_args"]["root"] = f"{place}//videos"


def root_to_fill(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "data").update(
        class_path="cvr_lightning.datamodules.MotionShapes", init_args={"root": str(place / "videos")}
    )


def root_elsewhere(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "data").update(
        class_path="cvr_lightning.datamodules.Shards", init_args={"root": f"simplecache::file://{place}"}
    )


def unknown_value(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["cvr_lightning"]["on_load"] = "import os"


def class_for_a_number(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "trainer")["max_epochs"] = spawn(place / "executed")


def class_in_the_architecture(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["cvr_lightning"]["architecture"]["preset"] = spawn(place / "executed")


def class_in_the_sampling(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["cvr_lightning"]["sampling"]["parser"] = spawn(place / "executed")


def huge_text(checkpoint: Checkpoint, place: Path) -> None:
    config(checkpoint, "data")["init_args"]["root"] = "x" * 10**6


def list_for_the_contents(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["cvr_lightning"] = ["class_names"]


def no_weights(checkpoint: Checkpoint, place: Path) -> None:
    checkpoint["state_dict"] = "none"


def files_to_delete(checkpoint: Checkpoint, place: Path) -> None:
    for name, state in checkpoint["callbacks"].items():
        if "ModelCheckpoint" in name or "RunCheckpoint" in name:
            lie = f"{state['dirpath']}/../../victim"
            state |= {
                "best_model_path": lie,
                "kth_best_model_path": lie,
                "best_k_models": {lie: torch.tensor(0.0)},
            }


EVIL: list[Callable[[Checkpoint, Path], None]] = [
    *(strategy, callbacks, logger, profiler, plugins, run_directory, run_name),
    *(data_class, imported_data_class, data_class_that_looks_like_ours, data_keywords),
    *(model_class, model_weights, lightnings_own_options, options_for_lightnings_own),
    *(index_folder, root_without_an_index, root_to_fill, root_elsewhere),
    *(unknown_value, class_for_a_number, class_in_the_architecture, class_in_the_sampling),
    *(huge_text, list_for_the_contents, no_weights, files_to_delete),
]


WITHOUT_DATA = {"pretrained", "classify", "watch", "inspect", "export", "summarize"}
"""Commands that take nothing of a checkpoint's data set."""
ACCEPTED: dict[Callable[[Checkpoint, Path], None], set[str]] = {
    **dict.fromkeys((imported_data_class, data_class_that_looks_like_ours), WITHOUT_DATA),
    **dict.fromkeys((root_to_fill, root_elsewhere), WITHOUT_DATA),
    root_without_an_index: {*WITHOUT_DATA, "test", "validate", "predict", "fit"},
}
"""Commands that a checkpoint of allowed values does not stop; all others refuse it."""


def commands(checkpoint: Path, video: Path, runs: Path) -> dict[str, list[str]]:
    data = ["--data=Folder", f"--data.root={video.parents[2]}", *TINY_CLIPS, "--data.num_workers=0"]
    trainer = ["--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={runs}"]
    more = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    stored = {
        name: [name, f"--ckpt_path={checkpoint}", *trainer, f"--run={name}"]
        for name in ("test", "validate", "predict", "fit", "pretrain")
    }
    stored["fit"] += more
    stored["pretrain"] += more
    return stored | {
        "pretrained": ["fit", f"--model.pretrained={checkpoint}", *trainer, *data, *more, "--run=pretrained"],
        "classify": ["classify", str(video), "--checkpoint", str(checkpoint)],
        "watch": ["watch", str(video), "--checkpoint", str(checkpoint)],
        "inspect": ["inspect", str(video), "--checkpoint", str(checkpoint), "--output", f"{runs}/sheet.png"],
        "export": ["export", str(checkpoint), str(runs / "model.pt2")],
        "summarize": ["summarize", "--checkpoint", str(checkpoint), str(video)],
    }


def status(command: list[str]) -> int:
    """The exit status of a command."""
    try:
        main(command)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("change", EVIL, ids=lambda change: change.__name__)
def test_nothing_in_a_checkpoint_is_executed_or_written_to(
    change: Callable[[Checkpoint, Path], None],
    run: Path,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video, place, runs = next(shapes.glob("test/left/*.mp4")), tmp_path / "elsewhere", tmp_path / "runs"
    place.mkdir()
    (place / "victim").touch()
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    change(checkpoint, place)
    torch.save(checkpoint, place / "evil.ckpt")
    before = files(place) | files(shapes)
    monkeypatch.chdir(place)
    for name, command in commands(place / "evil.ckpt", video, runs).items():
        if name in ("export", "pretrained") and change in ACCEPTED and change is not imported_data_class:
            continue  # they take long, and take the same model of each
        assert status(command) == (0 if name in ACCEPTED.get(change, ()) else 1), name
    assert files(place) | files(shapes) == before


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/last.ckpt",
        "http://127.0.0.1:9/last.ckpt?x",
        "https://user:secret@127.0.0.1:9/last.ckpt",
        "HTTP://127.0.0.1:9/last.ckpt",
        "s3://bucket/last.ckpt",
        "simplecache::http://127.0.0.1:9/last.ckpt",
        "file:///tmp/last.ckpt",
        "registry:somebody/model",
        "registry:somebody/model.ckpt",
        "best",
        "hpc",
    ],
)
def test_only_files_of_this_machine_are_loaded(
    address: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [f"--data.root={shapes}", f"--trainer.default_root_dir={tmp_path}"]
    tries = [
        [command, f"--ckpt_path={address}", *where] for command in ("fit", "test", "validate", "predict")
    ]
    tries += [["classify", "x.avi", "--checkpoint", address], ["export", address, str(tmp_path / "x.pt2")]]
    tries += [["fit", "--data=Folder", f"--model.pretrained={address}", *where]]
    for command in tries:
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 1
        error = capsys.readouterr().err
        assert "download it" in error or "is not a .ckpt file" in error or "no such checkpoint" in error
        assert "secret" not in error


def test_a_checkpoint_in_a_configuration_is_refused(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(f"ckpt_path: {run}/checkpoints/last.ckpt\n")
    data = ["--data=Folder", f"--data.root={shapes}", f"--trainer.default_root_dir={tmp_path}"]
    with pytest.raises(SystemExit):
        main(["fit", f"--config={tmp_path / 'c.yaml'}", *data])
    assert "name the checkpoint on the command line" in capsys.readouterr().err


def test_lightning_loads_weights_and_plain_values_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: (seen.append(k.get("weights_only")), load(*a, **k))[1])
    options = ["--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={tmp_path}", "--run=x"]
    main(["fit", f"--ckpt_path={run}/checkpoints/last.ckpt", "--trainer.max_epochs=2", *options])
    assert len(seen) >= 2
    assert set(seen) == {True}


def test_an_object_in_a_last_checkpoint_is_not_built(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    shutil.copytree(run, tmp_path / "tiny")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save(checkpoint | {"evil": Evil()}, tmp_path / "tiny" / "checkpoints" / "last.ckpt")
    data = ["--data=Folder", f"--data.root={shapes}", f"--trainer.default_root_dir={tmp_path}", "--run=tiny"]
    with pytest.raises(SystemExit):
        main(["fit", "--ckpt_path=last", *data])
    assert not (tmp_path / "executed").exists()
    assert "holds more than weights and plain values" in capsys.readouterr().err


def test_a_checkpoint_outside_a_run_writes_to_a_new_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(run / "checkpoints" / "last.ckpt", tmp_path / "lone.ckpt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CVR_RUN", "new")
    main(["test", "--ckpt_path=lone.ckpt", "--trainer.enable_progress_bar=false"])
    assert (tmp_path / "runs" / "new" / "results.json").is_file()


def test_every_option_of_ours_is_in_the_schema_or_left_out_on_purpose() -> None:
    """An option that is forgotten here would be lost between training and test."""
    left_out = {"self", "options", "class_names", "residual_channels", "representation"}
    ours = set(signature(RecognitionModule).parameters) - left_out
    assert ours - set(MODEL) == {"iframe_weights", "model", "pretrained"}
    for name in datamodules.__all__:
        for kind in getattr(datamodules, name).__mro__[:-1]:
            if kind.__module__.startswith("cvr_lightning") and "__init__" in vars(kind):
                assert set(signature(kind.__init__).parameters) - {*left_out, "sources"} <= set(DATA) | {
                    "self"
                }


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [
        (1, int, True),
        (True, int, False),
        (1, float, True),
        (float("nan"), float, False),
        ([1, 2], list[int], True),
        ([1, "2"], list[int], False),
        (None, int | None, True),
        ({}, int | str | None, False),
        ("x" * 5000, str, False),
        (torch.tensor(1), int, False),
    ],
)
def test_values_are_of_the_kind_that_they_should_be(value: Any, kind: Any, right: bool) -> None:
    assert fits(value, kind) is right
