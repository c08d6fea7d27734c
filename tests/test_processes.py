"""Two processes train and score as one does: every step in step, every video counted once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from encoders import encode

from cvr_lightning.cli import main

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = """
import json, sys
from cvr_lightning.cli import main

for command in json.loads(sys.argv[1]):
    main(command)
"""
CLIPS = {
    "segments": 2,
    "pframes": 2,
    "height": 64,
    "width": 88,
    "crop": 64,
    "batch_size": 1,
    "num_workers": 0,
}


EPOCHS = 4
"""So many that either process draws the broken training video in one of them."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs ``fit``, ``two`` and ``single`` of two processes, and ``one`` of one process."""
    root = tmp_path_factory.mktemp("processes")
    for data, videos in {"data": 7, "single": 1}.items():
        for part, count in {"train": 3, "val": 3, "test": videos}.items():
            for number in range(count):
                path = root / data / part / "ab"[number % 2] / f"{number}.avi"
                path.parent.mkdir(parents=True, exist_ok=True)
                encode(path, (96, 80), frames=10 + number)
        for part in ("train", "test"):
            (root / data / part / "b").mkdir(exist_ok=True)
            (root / data / part / "b" / "broken.avi").write_bytes(b"not a video")
    runs = root / "runs"
    common = [f"--trainer.default_root_dir={runs}", "--trainer.enable_progress_bar=false"]
    options = [f"--data.{name}={value}" for name, value in CLIPS.items()]
    options += ["--data.batch_size=1", "--data.num_workers=0", "--data.on_error=skip"]
    fit = ["fit", "--data=Folder", f"--data.root={root / 'data'}", f"--trainer.max_epochs={EPOCHS}", *options]
    test = ["test", f"--ckpt_path={runs}/fit/checkpoints/last.ckpt", "--data.protocol=2x3"]
    cpus = ["--trainer.accelerator=cpu", "--trainer.strategy=ddp", "--trainer.devices=2"]
    commands = [
        [*fit, *common, *cpus, "--run=fit"],
        [*test, *common, *cpus, "--run=two"],
        [*test, *common, *cpus, "--run=single", f"--data.root={root / 'single'}"],
    ]
    script = root / "commands.py"
    script.write_text(COMMANDS)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = subprocess.run(
        [sys.executable, *launch, json.dumps(commands)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # the script lies elsewhere
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (runs / "log").write_text(done.stderr)
    main(
        [
            *test,
            *common,
            "--trainer.accelerator=cpu",
            "--trainer.strategy=auto",
            "--trainer.devices=1",
            "--run=one",
        ]
    )
    return runs


def read(run: Path) -> dict[str, object]:
    return json.loads((run / "results.json").read_text())


def test_every_video_counts_once_and_the_scores_are_those_of_one_process(results: Path) -> None:
    one, two = (dict(np.load(results / run / "scores.npz", allow_pickle=False)) for run in ("one", "two"))
    assert [name for name in two["video"]] == [f"test/{'ab'[i % 2]}/{i}.avi" for i in (0, 2, 4, 6, 1, 3, 5)]
    assert two["views"].tolist() == [6] * 7
    for name, values in one.items():
        if name in ("logits", "probabilities"):
            np.testing.assert_allclose(two[name], values, atol=1e-6)
        else:
            np.testing.assert_array_equal(two[name], values)
    for name in ("top1", "top1_all", "videos", "unreadable", "protocol", "gmac_per_video"):
        assert read(results / "two")[name] == read(results / "one")[name]


def test_an_unreadable_video_is_named_once_and_counts_as_wrong_over_all(results: Path) -> None:
    found = read(results / "two")
    assert (found["videos"], found["unreadable"]) == (7, ["test/b/broken.avi"])
    assert found["top1_all"] == pytest.approx(found["top1"] * 7 / 8)
    log = (results / "log").read_text()
    assert log.count("data/test/b/broken.avi: ") == 1


def test_a_video_that_both_processes_meet_in_training_is_named_once(results: Path) -> None:
    names = sorted(path.name for path in (results.parent / "data" / "train").glob("*/*.avi"))
    assert names == ["0.avi", "1.avi", "2.avi", "broken.avi"]
    draws = [np.random.default_rng((0, epoch)).permutation(4).tolist() for epoch in range(EPOCHS)]
    assert {order.index(3) % 2 for order in draws} == {0, 1}
    log = (results / "log").read_text()
    assert log.count("left out, as on_error=skip asks: ") == 2 + 1  # in training, in two; in single
    assert log.count("data/train/b/broken.avi: ") == 1


def test_a_process_without_a_readable_batch_steps_all_the_same(results: Path) -> None:
    # In batches of one, the broken training video leaves one of the processes an empty batch each epoch.
    assert (results / "fit" / "checkpoints" / "last.ckpt").is_file()


def test_more_processes_than_videos_score_each_once(results: Path) -> None:
    found = read(results / "single")
    assert (found["videos"], found["unreadable"]) == (1, ["test/b/broken.avi"])
