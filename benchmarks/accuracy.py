"""Accuracy and cost: energy and time per video of presets and other models, and accuracy of short trainings.

- Cost: operations by the package's counter at 45 nm (compute only, without decoding), and time of the model
  for one video, in interleaved repetitions. Other models have their published shapes.
- Accuracy: each learner is trained from scratch on MotionShapes for the same epochs, and tested once with its
  last weights. This says nothing about other data. Models that are too slow to train here are not trained.

    python benchmarks/bench.py --sections accuracy CLIP
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ablation import cost, plain_trainer
from data_options import data_options
from inference import PEERS, build, cut, read_all, run_model, run_peer
from lightning import seed_everything
from measured import AS_MADE, AS_TRAINED, JOULES, RUNS, SECONDS, TOP1, Measured
from peers import count_peer
from reading import interleave

from cvr_lightning.clip import CompressedClip
from cvr_lightning.datamodules import MotionShapes
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.energy.counting import OperationReport
from cvr_lightning.energy.per_video import count_clips
from cvr_lightning.evaluation.results import read_results
from cvr_lightning.models import PRESETS, Preset
from cvr_lightning.training.module import RecognitionModule

SCENES = {"train_scenes": 30, "val_scenes": 1, "test_scenes": 10}
DATA: dict[str, Any] = {"size": (160, 216), "crop": 128, "batch_size": 8, "num_workers": 1}
LEARNING_RATE = 3e-3
COST_PROTOCOL = (
    "Joules: operations of the model at 45 nm (Horowitz, ISSCC 2014), without operations on zeros of inputs "
    "and activations for all models, without decoding and memory traffic. Milliseconds: the model only, one "
    "video at a time. Accuracies are those of the short trainings above on generated data, with the cost of "
    "their clips; they compare these learners with each other only. Published accuracies are on other data "
    "and are not shown: for models that were not trained here, the figure shows the cost only."
)
NOT_TRAINED = "cost only: too slow to train within this command; published accuracies are on other data"


@dataclass(frozen=True)
class Learner:
    """A preset to train, and the options for reading its clips."""

    preset: Preset
    data: dict[str, Any] = field(default_factory=dict)


WINDOWS = {"segments": 3, "pframes": 6}
LEARNERS = {
    "tiny, 3 x 6 at 128 px": Learner("tiny", WINDOWS),
    "small, 3 x 6 at 128 px": Learner("small", WINDOWS),
    "tiny on 8 RGB frames, 128 px": Learner("tiny", {"segments": 8, "representation": "rgb"}),
}


def protocol(epochs: int) -> str:
    videos = {subset: 10 * scenes for subset, scenes in SCENES.items()}
    return (
        f"MotionShapes, {videos['train_scenes']} training and {videos['test_scenes']} test videos, chance "
        f"10 %; {epochs} epochs from scratch, seed 0, last weights."
    )


def datamodule(name: str, root: Path, **options: Any) -> MotionShapes:
    return MotionShapes(root, **SCENES, **data_options(DATA | LEARNERS[name].data | options))


def train(name: str, root: Path, epochs: int) -> list[Measured]:
    """Train and test one learner: accuracy, energy with the measured spike rates, and training time."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    seed_everything(0, verbose=False)
    data = datamodule(name, root)
    data.prepare_data()  # generates the videos, outside the timed training
    module = module_of(name, data)
    trainer = plain_trainer(epochs)
    start = time.perf_counter()
    trainer.fit(module, data)
    seconds = time.perf_counter() - start
    trainer.test(module, data, verbose=False)
    assert module.table is not None
    found = {TOP1: 100 * module.table.top(1), "s of training": seconds}
    counted = cost(module, data)
    found |= {JOULES: 1e3 * counted["energy_j"], "GMAC/video": counted["gmac"]}
    return [Measured(name, unit, (value,), AS_TRAINED) for unit, value in found.items()]


def module_of(name: str, data: MotionShapes) -> RecognitionModule:
    return RecognitionModule(
        data.class_names,
        data.residual_channels,
        data.representation,
        preset=LEARNERS[name].preset,
        learning_rate=LEARNING_RATE,
    )


def measure_cost(clip: Path, root: Path, repetitions: int) -> list[Measured]:
    """Operations and energy of presets and other models, and time of these and of the learners."""
    torch.manual_seed(0)
    calls: dict[tuple[str, str], Callable[[], object]] = {}
    rows = []
    for preset in PRESETS:
        classifier = build(preset)
        held = cut(classifier, read_all([clip], classifier.sampling))
        calls[preset, AS_MADE] = partial(run_model, classifier.recognizer, held)
        rows += _operations(preset, count_clips(classifier.recognizer, [held]))
    for name, peer in PEERS.items():
        model = peer().eval()
        inputs = model.inputs()
        calls[name, AS_MADE] = partial(run_peer, model, inputs)
        rows += _operations(name, count_peer(model, inputs))
    for name in LEARNERS:
        data = datamodule(name, root, batch_size=1, num_workers=0)
        data.prepare_data()
        one: CompressedClip = EvalTransform(data.test_sampling)(next(iter(data.test_dataloader())))
        calls[name, AS_TRAINED] = partial(run_model, module_of(name, data).recognizer.eval(), one)
    for (name, group), seconds in interleave(calls, repetitions).items():
        rows.append(Measured(name, SECONDS, tuple(1e3 * s for s in seconds), group))
    return rows


def _operations(name: str, report: OperationReport) -> list[Measured]:
    values = {JOULES: 1e3 * report.energy_j, "GMAC/video": report.gmac}
    return [Measured(name, unit, (value,), AS_MADE) for unit, value in values.items()]


def read_runs(runs: Sequence[Path]) -> list[Measured]:
    """Accuracy, energy and time of the model from the results.json of trained runs."""
    rows = []
    for run in runs:
        results = read_results(run)
        name = f"{run.name} ({results['protocol']['dataset']})"
        values = {
            TOP1: 100 * results["top1"],
            JOULES: 1e3 * results["energy_j_per_video"]["theoretical"],
            SECONDS: 1e3 / results["videos_per_second"]["model_only"],
        }
        rows += [Measured(name, unit, (value,), RUNS) for unit, value in values.items()]
    return rows
