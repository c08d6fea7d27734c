"""Two processes train and score as one does: every step in step, every video counted once."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.encoders import encode
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cvr_lightning.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = """
import json, sys, torch
from cvr_lightning.cli.main import main
from cvr_lightning.models import CompressedVideoRecognizer

*commands, wasteful = json.loads(sys.argv[1])
for command in commands:
    main(command)
if wasteful:
    build = CompressedVideoRecognizer.__init__

    def build_with_waste(self, *arguments, **options):
        build(self, *arguments, **options)
        self.waste = torch.nn.Linear(2, 2)

    CompressedVideoRecognizer.__init__ = build_with_waste
    try:
        main(wasteful)
    except SystemExit as stop:
        print("exit code", stop.code, file=sys.stderr)
"""
CLIPS = {
    "sampling.segments": 2,
    "sampling.pframes": 2,
    "sampling.size": [64, 88],
    "sampling.crop": 64,
    "batch_size": 1,
    "num_workers": 0,
}


FIT_EPOCHS = 4
"""So many that either process draws the broken training video in one of them."""


def in_two_processes(folder: Path, commands: list[list[str] | None]) -> str:
    """Run commands under torchrun, the last on a model with weights that it does not use; gives the log."""
    script = folder / "commands.py"
    script.write_text(COMMANDS)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = run_python(*launch, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    # PYTHONPATH, for the script lies elsewhere; one thread each, as there are two processes.
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs ``fit``, ``two`` and ``single`` of two processes, and ``one`` of one process."""
    root = tmp_path_factory.mktemp("processes")
    for data, videos in {"data": 7, "single": 1}.items():
        for subset, count in {"train": 3, "val": 3, "test": videos}.items():
            for number in range(count):
                path = root / data / subset / "ab"[number % 2] / f"{number}.avi"
                path.parent.mkdir(parents=True, exist_ok=True)
                encode(path, (96, 80), frames=10 + number)
        for subset in ("train", "test"):
            (root / data / subset / "b").mkdir(exist_ok=True)
            (root / data / subset / "b" / "broken.avi").write_bytes(b"not a video")
    runs = root / "runs"
    common = [f"--trainer.default_root_dir={runs}", "--trainer.enable_progress_bar=false"]
    options = [f"--data.{name}={value}" for name, value in CLIPS.items()]
    options += ["--data.batch_size=1", "--data.num_workers=0", "--data.on_error=skip"]
    fit = [
        "fit",
        "--data=Folder",
        f"--data.root={root / 'data'}",
        f"--trainer.max_epochs={FIT_EPOCHS}",
        *options,
    ]
    test = ["test", f"--ckpt_path={runs}/fit/checkpoints/last.ckpt", "--data.protocol=2x3"]
    cpus = ["--trainer.accelerator=cpu", "--trainer.strategy=ddp", "--trainer.devices=2"]
    commands = [
        [*fit, *common, *cpus, "--run=fit"],
        [*test, *common, *cpus, "--run=two"],
        [*test, *common, *cpus, "--run=single", f"--data.root={root / 'single'}"],
        None,
    ]
    (runs / "log").write_text(in_two_processes(root, commands))
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
    draws = [np.random.default_rng((0, epoch)).permutation(4).tolist() for epoch in range(FIT_EPOCHS)]
    assert {order.index(3) % 2 for order in draws} == {0, 1}
    log = (results / "log").read_text()
    assert log.count("skipped (on_error=skip): ") == 2 + 1  # in training, in two; in single
    assert log.count("data/train/b/broken.avi: ") == 1


def test_a_process_without_a_readable_batch_still_steps(results: Path) -> None:
    # In batches of one, the broken training video leaves one of the processes an empty batch each epoch.
    assert (results / "fit" / "checkpoints" / "last.ckpt").is_file()


def test_more_processes_than_videos_score_each_once(results: Path) -> None:
    found = read(results / "single")
    assert (found["videos"], found["unreadable"]) == (1, ["test/b/broken.avi"])


# Sums in another order differ in their last bit, which sooner or later flips a spike, and then losses differ
# by more: in float64 that does not happen within some hundred steps.
PRECISION = "64-true"
EPOCHS, STEPS = 13, 52
AUGMENTED = [
    "--data.augmentation.scale_jitter=[1.0,0.75]",
    "--data.augmentation.modality_dropout=0.2",
    "--data.augmentation.color_jitter=0.3",
]


def training(root: Path, processes: int, run: str) -> list[str]:
    """Arguments of 52 steps of 4 clips, shared by so many processes."""
    options = {name: value for name, value in CLIPS.items() if name != "batch_size"}
    return [
        "fit",
        "--data=Folder",
        f"--data.root={root / 'data'}",
        *(f"--data.{name}={value}" for name, value in options.items()),
        f"--data.batch_size={4 // processes}",
        "--data.num_workers=2",
        *AUGMENTED,
        "--model.dropout=0",  # each process draws its own
        f"--trainer.default_root_dir={root}",
        f"--trainer.max_epochs={EPOCHS}",
        f"--trainer.precision={PRECISION}",
        "--trainer.accelerator=cpu",
        f"--trainer.strategy={'ddp' if processes > 1 else 'auto'}",
        f"--trainer.devices={processes}",
        "--trainer.log_every_n_steps=1",
        "--trainer.num_sanity_val_steps=0",
        f"--trainer.check_val_every_n_epoch={EPOCHS}",
        "--trainer.enable_progress_bar=false",
        "--trainer.gradient_clip_val=1.0",
        f"--run={run}",
    ]


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    """As the processes of torchrun have; more would wait for each other where other tests run beside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


DIAGNOSTICS = "--trainer.callbacks=[{class_path: MixedPrecision}, {class_path: DDPMonitor}]"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs ``one`` and ``two`` of as many processes, trained and tested; ``log`` is the latter's."""
    root = tmp_path_factory.mktemp("training")
    for subset, count in {"train": 16, "val": 2, "test": 6}.items():
        for number in range(count):
            path = root / "data" / subset / "ab"[number % 2] / f"{number}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(path, (96, 80), frames=10 + number % 3)
    commands = [
        [*training(root, 2, "two"), DIAGNOSTICS],
        [
            "test",
            f"--ckpt_path={root}/two/checkpoints/last.ckpt",
            f"--trainer.default_root_dir={root}",
            "--run=two",
        ],
        training(root, 2, "waste"),
    ]
    (root / "log").write_text(in_two_processes(root, commands))
    main(training(root, 1, "one"))
    main(
        [
            "test",
            f"--ckpt_path={root}/one/checkpoints/last.ckpt",
            f"--trainer.default_root_dir={root}",
            "--run=one",
        ]
    )
    return root


def scalars(run: Path, tag: str) -> dict[int, float]:
    events = EventAccumulator(str(run))
    events.Reload()
    values = events.Scalars(tag)
    assert len({event.step for event in values}) == len(values)  # written once
    return {event.step: event.value for event in values}


def losses(run: Path) -> list[float]:
    return list(scalars(run, "train/loss").values())


def test_two_processes_train_as_one_with_the_same_clips_in_each_step(trained: Path) -> None:
    one, two = losses(trained / "one"), losses(trained / "two")
    assert len(one) == STEPS
    assert two == pytest.approx(one, abs=1e-5)
    assert scalars(trained / "two", "train/top1") == scalars(trained / "one", "train/top1")


def test_two_processes_test_as_one(trained: Path) -> None:
    one, two = read(trained / "one"), read(trained / "two")
    for name in ("top1", "top5", "top1_all", "videos", "unreadable", "protocol", "clips_per_video"):
        assert two[name] == one[name]
    scores = [dict(np.load(trained / run / "scores.npz")) for run in ("one", "two")]
    np.testing.assert_allclose(scores[1]["probabilities"], scores[0]["probabilities"], atol=1e-6)


def test_two_processes_write_once_and_without_warnings(trained: Path) -> None:
    assert len(list((trained / "two").glob("events.out.tfevents.*"))) == 2  # of training and of the test
    log = (trained / "log").read_text()
    assert "A step: 2 processes x 2 clips = 4 clips" in log
    assert log.count("membranes, traces and thresholds float64") == 1  # of the run that asks for it
    assert not re.findall(r".*Warning.*", log)


def test_times_of_every_process_are_logged(trained: Path) -> None:
    run = trained / "two"
    for name in ("step_s", "data_wait_s", "forward_s"):
        zero, one, mean, high = (
            scalars(run, f"vitals/processes/{name}/{key}") for key in ("0", "1", "mean", "max")
        )
        assert len(zero) >= EPOCHS  # none in the first step of an epoch
        for step in zero:
            assert 0 < zero[step] < 60
            assert mean[step] == pytest.approx((zero[step] + one[step]) / 2, rel=1e-5)
            assert high[step] == max(zero[step], one[step])
    assert set(scalars(run, "vitals/processes/slowest").values()) <= {0.0, 1.0}
    assert min(scalars(run, "vitals/processes/slowdown").values()) >= 1
    assert max(scalars(run, "vitals/processes/gradient_norm_spread").values()) == 0


def test_weights_without_a_gradient_are_named_before_the_first_step(trained: Path) -> None:
    log = (trained / "log").read_text()
    names = "recognizer.waste.weight, recognizer.waste.bias"
    assert log.count(f"cvr: the loss does not depend on {names}: ") == 2  # in each process
    assert log.count("exit code 1") == 2
    assert not (trained / "waste" / "checkpoints").exists()


DIES_IN_THE_TWELFTH_EPOCH = """
import os, signal, sys
from cvr_lightning.cli.main import main
from cvr_lightning.training.module import RecognitionModule

step = RecognitionModule.training_step

def mortal_step(self, clip, batch_index):
    if (self.global_rank, self.current_epoch, batch_index) == (1, 11, 2):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, clip, batch_index)

RecognitionModule.training_step = mortal_step
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def killed(trained: Path) -> Path:
    """Run ``killed``, whose process 1 is killed in the middle of its twelfth epoch, and its ``log``."""
    script = trained / "mortal.py"
    script.write_text(DIES_IN_THE_TWELFTH_EPOCH)
    # Without reading workers, which would keep the connection of their killed process open for a while.
    done = run_python(str(script), *training(trained, 2, "killed"), "--data.num_workers=0")
    assert done.returncode == 1
    (trained / "killed" / "log").write_text(done.stderr)
    return trained / "killed"


def test_if_a_process_is_killed_the_other_reports_it_and_ends(killed: Path) -> None:
    (message,) = (line for line in (killed / "log").read_text().splitlines() if line.startswith("cvr: "))
    assert re.search(r"process 1 \(pid \d+ on .*\) has died; process 0 of 2 ends too", message)
    assert "Resume with --ckpt_path last" in message
    assert "Traceback" not in (killed / "log").read_text()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_resumes_in_any_number_of_processes(trained: Path, killed: Path, processes: int) -> None:
    run = f"resumed_in_{processes}"
    shutil.copytree(killed, trained / run)
    command = [*training(trained, processes, run), "--ckpt_path=last"]
    if processes == 1:
        main(command)
    else:
        in_two_processes(trained, [command, None])
    undisturbed = scalars(trained / "two", "train/loss")
    for path in (trained / run).glob("events.out.tfevents.*"):
        if path.name not in {old.name for old in killed.glob("events.out.tfevents.*")}:
            resumed = scalars(path, "train/loss")
    assert list(resumed) == list(range(44, STEPS))
    assert resumed == pytest.approx({step: undisturbed[step] for step in resumed}, abs=1e-5)
    states = [
        torch.load(trained / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in (run, "two")
    ]
    for name, weights in states[1].items():
        # One process sums in another order.
        tolerance = 0 if processes == 2 else 1e-6
        torch.testing.assert_close(states[0][name], weights, rtol=0, atol=tolerance, msg=name)
