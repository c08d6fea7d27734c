"""Score fusion of scores.npz files, and what cannot be fused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.score_files import make_score_file

from cvr_lightning.cli.main import main
from cvr_lightning.evaluation.score_file import ScoreFile


def shuffled(file: ScoreFile) -> ScoreFile:
    order = np.random.default_rng(9).permutation(len(file.video))
    per_video = ("video", "label", "views", "logits", "probabilities")
    return replace(file, **{name: getattr(file, name)[order] for name in per_video})


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Three runs over the same videos, one of which lists them in another order."""
    for seed in range(3):
        file = make_score_file(seed)
        (shuffled(file) if seed == 1 else file).write(tmp_path / f"run{seed}" / "scores.npz")
    return [str(tmp_path / f"run{seed}") for seed in range(3)]


def test_scores_are_read_back_unchanged_and_nothing_is_pickled(tmp_path: Path) -> None:
    file = make_score_file(0)
    file.write(tmp_path / "scores.npz")
    read = ScoreFile.read(tmp_path)
    for name, values in vars(file).items():
        np.testing.assert_array_equal(getattr(read, name), values)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]


@pytest.mark.parametrize("averaging", ["softmax", "logits"])
@pytest.mark.parametrize("weights", [[], [2.0, 1.0, 1.0]])
def test_fusion_is_the_weighted_mean_of_the_scores(
    runs: list[str], weights: list[float], averaging: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--fuse", *map(str, weights), "--averaging", averaging, "--format", "json"]
    main(["results", *runs, *options])
    fused = json.loads(capsys.readouterr().out)
    files = [make_score_file(seed) for seed in range(3)]
    values = [file.probabilities if averaging == "softmax" else file.logits for file in files]
    mean = np.average(values, axis=0, weights=weights or None)
    expected = np.mean(mean.argmax(1) == files[0].label)
    assert fused["fused"]["top1"] == pytest.approx(expected)
    assert fused["fused"]["top1_all"] == pytest.approx(expected * 40 / 41)
    assert expected > max(run["top1"] for run in fused["runs"])  # three opinions are better than one
    assert sum(run["weight"] for run in fused["runs"]) == pytest.approx(1)
    assert (fused["videos"], fused["unreadable"]) == (40, ["test/broken.avi"])


def test_the_table_shows_each_run_and_the_fusion(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["results", *runs, "--fuse", "3", "1", "0"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [
        [run, weight] for run, weight in zip(runs, ("0.750", "0.250", "0.000"), strict=True)
    ]
    assert lines[4].split()[:4] == ["fused,", "mean", "of", "softmax"]
    assert "of all)" in lines[4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: replace(f, video=np.char.add("x", f.video)),
            "40 videos are only in {0}, such as test/0.avi",
        ),
        (lambda f: replace(f, class_names=f.class_names[::-1]), "their classes differ in order"),
        (
            lambda f: replace(f, class_names=np.char.upper(f.class_names)),
            "6 classes are only in {0}, such as a",
        ),
        (lambda f: replace(f, label=(f.label + 1) % 6), "the labels of test/0.avi differ"),
    ],
)
def test_other_videos_are_refused(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: object, message: str
) -> None:
    change(make_score_file(0)).write(tmp_path / "other" / "scores.npz")
    with pytest.raises(SystemExit) as stop:
        main(["results", runs[0], str(tmp_path / "other"), "--fuse"])
    assert stop.value.code == 1
    assert message.format(runs[0]) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fuse", "1"], "1 weights for 3 runs"),
        (["--fuse", "1", "-1", "1"], "must not be negative"),
        (["--fuse", "0", "0", "0"], "not all 0"),
        (["--fuse", "nan", "1", "1"], "must not be negative"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    runs: list[str], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["results", *runs, *arguments])
    assert message in capsys.readouterr().err


def test_invalid_score_files_are_refused_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "scores.npz").write_bytes(b"not an archive")
    (tmp_path / "pickled").mkdir()
    np.savez(tmp_path / "pickled" / "scores.npz", video=np.array([{}], dtype=object))
    (tmp_path / "short").mkdir()
    file = make_score_file(0)
    replace(file, label=file.label[:3]).write(tmp_path / "short" / "scores.npz")
    for name, message in {
        "nowhere": "no such file; cvr test writes it",
        "garbage": "not a valid score file",
        "pickled": "not a valid score file",
        "short": r"label is int64 of shape (3,), expected (40,)",
    }.items():
        with pytest.raises(SystemExit):
            main(["results", str(tmp_path / name), str(tmp_path / name), "--fuse"])
        error = capsys.readouterr().err
        assert message in error
        assert f"{name}/scores.npz" in error
