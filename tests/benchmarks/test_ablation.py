"""benchmarks/ablation.py: what is done is not done again, and differences are paired by split and seed."""

import argparse
import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ablation() -> ModuleType:
    """benchmarks/ablation.py, whose neighbors it imports by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import ablation

        return ablation


def jobs(ablation: ModuleType) -> list[Any]:
    rows, splits = ["whole", "with exchange"], [1, 2]
    options = {"recipe": "ucf101", "root": "r", "subset": "val", "rows": rows, "splits": splits}
    return list(ablation.all_jobs(argparse.Namespace(**options, seeds=[0, 1], epochs=3)))


def run(ablation: ModuleType, job: Any, top1: float = 0.5) -> dict[str, Any]:
    cost = {"gmac": 0.1, "energy_j": 1e-3, "spikes_per_neuron": {"1": 0.5}, "parameters": 10**6, "loss": 0.7}
    return {**dataclasses.asdict(job), "options": ablation.options_of(job), "top1": top1, **cost}


def test_the_recipe_of_ucf101_is_its_configuration(ablation: ModuleType) -> None:
    config = yaml.safe_load((ROOT / "configs/ucf101.yaml").read_text())
    data = config["data"]["init_args"]
    recipe = ablation.RECIPES["ucf101"]
    assert recipe.epochs == config["trainer"]["max_epochs"]
    assert recipe.model["learning_rate"] == config["model"]["learning_rate"]
    written = data["sampling"] | data["augmentation"] | {"batch_size": data["batch_size"]}
    measured = {
        name: list(value) if isinstance(value, tuple) else value for name, value in recipe.data.items()
    }
    assert {name: measured[name] for name in written} == written
    assert (
        f"--data.protocol {measured['views']}x{measured['crops']}"
        in (ROOT / "configs/ucf101.yaml").read_text()
    )


def test_runs_count_as_done_only_with_the_current_options(ablation: ModuleType, tmp_path: Path) -> None:
    all_jobs = jobs(ablation)
    assert len(all_jobs) == 8
    runs = [run(ablation, job) for job in all_jobs[:4]]
    runs[1]["options"]["model"]["learning_rate"] = 1.0
    runs[2]["epochs"] = 4
    lines = [json.dumps(run) for run in runs]
    (tmp_path / "runs.jsonl").write_text("\n".join([*lines, lines[0][:-20]]))
    done = list(ablation.finished(tmp_path / "runs.jsonl", all_jobs))
    assert [ablation.key(run) for run in done] == [ablation.key(runs[0]), ablation.key(runs[3])]
    assert not list(ablation.finished(tmp_path / "none.jsonl", all_jobs))


def test_differences_are_paired_by_split_and_seed(ablation: ModuleType) -> None:
    whole = {(1, 0): 0.5, (1, 1): 0.6, (2, 0): 0.7, (2, 1): 0.9}
    ablated = {(1, 0): 0.4, (1, 1): 0.5, (2, 0): 0.5}  # one run is not done yet
    runs = []
    for job in jobs(ablation):
        scores = whole if job.row == "whole" else ablated
        if (job.split, job.seed) in scores:
            runs.append(run(ablation, job, scores[job.split, job.seed]))
    rows = ablation.report("ucf101", 3, "val", runs).splitlines()
    assert rows[-1].startswith("| with exchange | 3 | 0.467 ± 0.058 | -0.133 ± 0.033 |")
    assert rows[-2].startswith("| whole | 4 | 0.675 ± 0.171 |  |")


def test_the_figure_has_a_dot_for_each_row_beside_the_peer(ablation: ModuleType) -> None:
    runs = [run(ablation, job) for job in reversed(jobs(ablation))]
    picture = ablation.figure(runs)
    (legend,) = picture.legends
    assert [text.get_text() for text in legend.get_texts()] == ["X3D-S, cost alone", "whole", "with exchange"]
    energy, gmac = picture.axes
    for axes, cost in ((energy, 1.0), (gmac, 0.1)):
        peer, *dots = axes.lines
        assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([cost] * 2)
        assert [dot.get_ydata()[0] for dot in dots] == [0.5] * 2
        assert peer.get_xdata()[0] > cost


def test_the_folds_divide_the_training_videos(ablation: ModuleType, tmp_path: Path) -> None:
    for subset, count in (("train", 12), ("val", 1)):
        for name in ("a", "b"):
            folder = tmp_path / subset / name
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.avi").touch()
    scored = []
    for split in (1, 2, 3, 4, 5):
        data = ablation.Job("folds", str(tmp_path), 1, "test", "whole", split, seed=0).datamodule()
        videos = {subset: set(listed.names) for subset, listed in data.scan().items()}
        assert not videos["train"] & videos["test"]
        assert len(videos["train"] | videos["test"]) == 24
        assert {name.split("/")[1] for name in videos["test"]} == {"a", "b"}
        scored += sorted(videos["test"])
    assert len(scored) == len(set(scored)) == 24
