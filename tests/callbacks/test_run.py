"""Runs through the command line, and the tags that they leave in TensorBoard: the documented ones."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.tiny_runs import TINY_CLIPS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cvr_lightning import callbacks
from cvr_lightning.callbacks.hparams import chosen_options
from cvr_lightning.cli.lightning_cli import CompressedVideoCLI
from cvr_lightning.cli.main import main
from cvr_lightning.energy import counters as power
from cvr_lightning.training.module import RecognitionModule

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "callbacks"
TINY = [
    *TINY_CLIPS,
    "--data.num_workers=0",
    "--data.batch_size=5",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.num_sanity_val_steps=0",
]
EVERY_STEP = "--trainer.callbacks=[{class_path: SpikeSparsity, init_args: {every_n_steps: 1, clips: 2}}]"
DIAGNOSTICS = "--trainer.callbacks+=[{class_path: MixedPrecision}, {class_path: HyperParameters}]"
PARTS = [
    "iframe_encoder",
    "pframe_encoder",
    "modulation",
    "iframe_tokens",
    "pframe_tokens",
    "time",
    "transformer",
    "heads",
]
PLACES = {"<layer>": ["layer1", "layer2", "layer3", "layer4"], "<part>": PARTS, "<clip>": ["0", "1"]}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten videos each for training, validation and test."""
    from cvr_lightning.datamodules import MotionShapes

    root = tmp_path_factory.mktemp("data") / "shapes"
    MotionShapes(root=root, train_scenes=1, val_scenes=1, test_scenes=1).prepare_data()
    return root


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs on a machine with an energy counter, trained and tested."""
    powercap = tmp_path_factory.mktemp("powercap")
    domain = powercap / "intel-rapl:0"
    domain.mkdir()
    for name, text in {"name": "package-0", "max_energy_range_uj": "1000", "energy_uj": "7"}.items():
        (domain / name).write_text(text)
    runs = tmp_path_factory.mktemp("runs")
    arguments = ["--data=Folder", f"--data.root={shapes}", f"--trainer.default_root_dir={runs}", "--run=tiny"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(power, "POWERCAP", powercap)
        main(["fit", *arguments, *TINY, EVERY_STEP, DIAGNOSTICS, "--trainer.max_epochs=3"])
        weights = f"--ckpt_path={runs / 'tiny' / 'checkpoints' / 'last.ckpt'}"
        main(["test", weights, "--trainer.callbacks={class_path: HyperParameters}"])
    return runs / "tiny"


@pytest.fixture(scope="module")
def events(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def documented() -> set[str]:
    """The tags that the docstrings list, each <place> filled in."""
    tags: set[str] = set()
    for kind in [RecognitionModule, *(getattr(callbacks, name) for name in callbacks.__all__)]:
        for tag in re.findall(r"``(\w+/[\w<>/]+)``", inspect.getdoc(kind) or ""):
            place = next((place for place in PLACES if place in tag), None)
            tags |= {tag.replace(place, name) for name in PLACES[place]} if place else {tag}
    return {f"vitals/{tag}" if tag.startswith("test/") else tag for tag in tags}


def test_the_groups_of_diagnostics_sort_after_those_of_training_and_validation(
    events: EventAccumulator,
) -> None:
    tags = events.Tags()
    found = {tag for kind in ("scalars", "images", "histograms") for tag in tags[kind]}
    groups = {tag.partition("/")[0] for tag in found}
    assert sorted(groups) == ["train", "val", "vitals"]  # as TensorBoard sorts them


def test_tensorboard_holds_every_documented_tag_and_no_other(events: EventAccumulator) -> None:
    tags = events.Tags()
    found = {tag for kind in ("scalars", "images", "histograms") for tag in tags[kind]}
    # Only where there are unreadable videos, a loss scale, several processes.
    absent = {"val/unreadable", "vitals/test/unreadable", "vitals/precision/loss_scale"}
    absent |= {tag for tag in documented() if tag.startswith("vitals/processes/")}
    assert len(documented()) > 50
    assert found == documented() - absent | {"vitals/epoch"}  # the trainer's own


def test_pictures_are_drawn_at_the_first_second_and_last_validation(events: EventAccumulator) -> None:
    for tag in (
        "val/clips/fixed",
        "val/clips/worst",
        "val/clips/best",
        "vitals/spikes/raster_0",
        "vitals/spikes/map_1",
    ):
        assert [image.step for image in events.Images(tag)] == [2, 4, 6], tag
    assert len(events.Images("vitals/test/confusion_matrix")) == 1


def values(events: EventAccumulator, tag: str) -> list[float]:
    return [scalar.value for scalar in events.Scalars(tag)]


def test_logged_figures_agree_with_each_other(events: EventAccumulator) -> None:
    assert [scalar.step for scalar in events.Scalars("vitals/spikes/activation_sparsity")] == list(range(6))
    assert len(values(events, "vitals/throughput/videos_per_second")) == 5  # all steps but the first
    for layer in PLACES["<layer>"]:
        rates, per_neuron = (
            values(events, f"vitals/spikes/{layer}/{name}") for name in ("rate", "per_neuron")
        )
        assert per_neuron == pytest.approx([2 * 4 * rate for rate in rates])  # P-frames x levels
    parts = [values(events, f"vitals/energy_parts/{part}_uj_per_view") for part in PARTS]
    total = values(events, "vitals/energy/theoretical_uj_per_view")
    assert [sum(column) for column in zip(*parts, strict=True)] == pytest.approx(total, rel=1e-5)
    assert values(events, "vitals/final/val_top1") == values(events, "val/top1")[-1:]
    assert values(events, "vitals/final/test_loss") == values(events, "vitals/test/loss")


def test_hyper_parameters_are_logged(events: EventAccumulator) -> None:
    summaries = events.summary_metadata
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(summaries)
    start = summaries["_hparams_/session_start_info"].plugin_data.content.decode("utf-8", "ignore")
    for option in ("segments", "pframes", "crop", "preset", "learning_rate", "max_epochs"):
        assert option in start


def test_results_contain_energies_and_what_they_include(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    energy = results["energy_j_per_video"]
    assert sum(energy["by_part"].values()) == pytest.approx(energy["theoretical"])
    assert energy["theoretical_per_view"] == pytest.approx(energy["theoretical"])  # one view
    assert "ISSCC 2014" in energy["includes"]
    assert energy["measured"] is None  # the test takes less than two seconds
    assert "less than 2 s" in energy["measured_includes"]
    assert set(results["synaptic_operations_per_video"]) == {"Dense", "Effective_MACs", "Effective_ACs"}
    training = results["training_energy"]
    assert (training["epochs"], training["videos"]) == (3, 30)
    assert training["measured_j"] == 0  # the counter stands still; that is a measurement


def test_a_resumed_run_continues_its_counts_of_validations_and_joules(run: Path) -> None:
    states = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    assert states["ClipPanels"] == {"validations": 3}
    assert states["EnergyMonitor"]["epochs"] == 3


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_callback_configuration_is_accepted(
    path: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(CompressedVideoCLI, "fit", lambda cli, **_: made.append(cli.trainer), raising=False)
    arguments = ["--data=Folder", f"--data.root={shapes}", f"--trainer.default_root_dir={tmp_path}"]
    other = "--trainer.callbacks+={class_path: cvr_lightning.callbacks.Throughput}"
    main(["fit", *arguments, *TINY, other, f"--config={path}"])
    (given,) = yaml.safe_load(path.read_text())["trainer"]["callbacks+"]
    kinds = [type(callback).__name__ for callback in made[0].callbacks]
    name = given["class_path"].rpartition(".")[2]
    assert kinds.count(name) == 1  # in the place of the default
    guards = {"MixedPrecision": "FiniteGradients", "DDPMonitor": "ProcessGuard"}
    assert [guard in kinds for guard in guards.values()] == [name != monitor for monitor in guards]
    assert kinds.count("Throughput") == 1  # and beside what the command line adds
    assert (kinds.count("RunCheckpoint"), kinds.count("LastCheckpoint")) == (1, 1)
    callback = next(callback for callback in made[0].callbacks if type(callback).__name__ == name)
    for option, value in given["init_args"].items():
        found = getattr(callback, "counter_names" if option == "counters" else option)
        assert (vars(found) if isinstance(value, dict) else found) == value


def test_a_run_with_a_logger_of_text_warns_once_and_keeps_its_scalars(
    shapes: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    logger = f"--trainer.logger={{class_path: CSVLogger, init_args: {{save_dir: {tmp_path}}}}}"
    arguments = ["--data=Folder", f"--data.root={shapes}", f"--trainer.default_root_dir={tmp_path}"]
    main(["fit", *arguments, *TINY, EVERY_STEP, logger, "--trainer.max_epochs=1", "--run=text"])
    for name in ("SpikeSparsity", "ClipPanels", "ConfusionMatrix"):
        told = [str(w.message) for w in recwarn if str(w.message).startswith(f"{name} needs a logger with")]
        assert len(told) == 1, name
        assert "CSVLogger" in told[0]
    header = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()[0]
    for tag in (
        "vitals/spikes/layer1/rate",
        "vitals/throughput/videos_per_second",
        "vitals/energy/theoretical_uj_per_view",
    ):
        assert tag in header


def test_a_run_without_a_logger_ends_like_any_other(
    shapes: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    arguments = ["--data=Folder", f"--data.root={shapes}", f"--trainer.default_root_dir={tmp_path}"]
    main(["fit", *arguments, *TINY, "--trainer.logger=false", "--trainer.max_epochs=1", "--run=silent"])
    assert (tmp_path / "silent" / "checkpoints" / "last.ckpt").is_file()
    assert not [w for w in recwarn if "needs a logger" in str(w.message)]


def test_options_have_short_names_and_plain_values() -> None:
    config = {
        "seed_everything": 3,
        "model": {"preset": "tiny", "iframe_weights": None},
        "data": {
            "class_path": "cvr_lightning.datamodules.Folder",
            "init_args": {"sampling": {"crop": 64, "coefficients": [16, 4]}},
        },
    }
    names = [
        "data",
        "data.sampling.crop",
        "data.sampling.coefficients",
        "model.preset",
        "model.iframe_weights",
        "trainer.precision",
    ]
    assert chosen_options(config, names) == {
        "data": "Folder",
        "crop": 64,
        "coefficients": "[16, 4]",
        "preset": "tiny",
    }
