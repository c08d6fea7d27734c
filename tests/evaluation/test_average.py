"""The mean over splits, and what cannot be averaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from cvr_lightning.cli.main import main
from cvr_lightning.evaluation.results import write_results

PROTOCOL = {
    "name": "5x3",
    "dataset": "UCF101",
    "subset": "test",
    "split": 1,
    "segments": 8,
    "pframes": 3,
    "modalities": ["iframes", "motion", "residual"],
    "views": 5,
    "crops": 3,
    "size": [256, 340],
    "crop": 224,
    "averaging": "softmax",
}


def write_run(root: Path, split: int | None, top1: float, top5: float | None = 1.0, **protocol: Any) -> str:
    run = root / f"run{len(list(root.iterdir()))}"
    described = PROTOCOL | {"split": split} | protocol
    results = {
        "top1": top1,
        "top5": top5,
        "top1_all": top1,
        "top5_all": top5,
        "videos": 3783,
        "unreadable": [],
        "protocol": {name: value for name, value in described.items() if value is not None},
        "videos_per_second": {"with_reading": 1.0, "model_only": 2.0},
        "parameters": 1_830_000,
        "gmac_per_video": 1.0,
        "energy_j_per_video": {"theoretical": 0.1, "measured": None},
        "activation_sparsity": 0.9,
    }
    write_results(run / "results.json", results)
    return str(run)


def test_the_mean_and_the_deviation_over_three_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracies = {1: (0.90, 0.97), 2: (0.92, 0.98), 3: (0.88, 0.99)}
    runs = [write_run(tmp_path, split, *values) for split, values in accuracies.items()]
    main(["results", *runs, "--mean", "--format", "json"])
    averaged = json.loads(capsys.readouterr().out)
    assert averaged["mean"] == pytest.approx({"top1": 0.9, "top5": 0.98, "top1_all": 0.9, "top5_all": 0.98})
    assert averaged["std"]["top1"] == pytest.approx(0.02)
    assert averaged["std"]["top5"] == pytest.approx(0.01)
    assert [run["split"] for run in averaged["runs"]] == [1, 2, 3]
    assert averaged["protocol"] == {name: value for name, value in PROTOCOL.items() if name != "split"}
    main(["results", *runs, "--mean"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:4] == [runs[1], "2", "3783", "scored,"]
    assert lines[2].split()[-4:] == ["92.00", "%", "98.00", "%"]
    assert lines[-2].split() == ["mean", "90.00", "%", "98.00", "%"]
    assert lines[-1].split() == ["std", "2.00", "%", "1.00", "%"]


def test_accuracies_over_all_videos_are_averaged_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path, split, 0.8, top5=None) for split in (1, 2)]
    file = Path(runs[1]) / "results.json"
    results = json.loads(file.read_text())
    write_results(file, results | {"top1_all": 0.6, "unreadable": ["a.avi"], "missing": 2})
    main(["results", *runs, "--mean"])
    lines = capsys.readouterr().out.splitlines()
    assert "80.00 % (60.00 % of all)" in lines[2]
    assert "3783 scored, 0 unreadable  " in lines[1]
    assert "3783 scored, 1 unreadable, 2 missing  " in lines[2]
    assert "80.00 % (70.00 % of all)" in lines[-2]
    assert lines[-2].split()[-1] == "-"  # no top-5


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"split": 2, "dataset": "HMDB51"}, "they differ in dataset: 'UCF101' and 'HMDB51'"),
        ({"split": 2, "crops": 10}, "they differ in crops: 3 and 10"),
        ({"split": 2, "averaging": "logits"}, "they differ in averaging: 'softmax' and 'logits'"),
        ({"split": 1}, "both tested split 1"),
        ({"split": None}, "has no splits"),
    ],
)
def test_what_cannot_be_averaged_is_refused_with_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: dict[str, Any], message: str
) -> None:
    runs = [write_run(tmp_path, 1, 0.9), write_run(tmp_path, top1=0.8, **second)]
    with pytest.raises(SystemExit) as stop:
        main(["results", *runs, "--mean"])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert runs[1] in error


def test_one_run_has_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["results", write_run(tmp_path, 1, 0.9), "--mean"])
    assert "the mean over splits needs several runs" in capsys.readouterr().err


def test_a_limited_test_is_shown_as_one_and_not_averaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path, 1, 0.9), write_run(tmp_path, 2, 0.9)]
    path = Path(runs[1]) / "results.json"
    limited = json.loads(path.read_text()) | {"videos": 2, "subset_videos": 547}
    path.write_text(json.dumps(limited))
    main(["results", *runs])
    assert "2 of 547 scored" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["results", *runs, "--mean"])
    assert "2 of 547 scored, 0 unreadable: a limited test" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["results", *runs, "--fuse"])
    assert "a limited test; run cvr test again" in capsys.readouterr().err
