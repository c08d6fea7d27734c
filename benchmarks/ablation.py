"""Ablations: accuracy and cost without each component of the model and each field of the data.

Every row trains the same recipe for each split and seed and is tested once, with the last weights. Finished
runs are stored in a file, one per line; the same command continues from there.

    python benchmarks/ablation.py hard --runs runs/ablation.jsonl [--output report.md]
    python benchmarks/ablation.py folder --root VIDEOS --rows whole "I-frames only" --seeds 0 1 2 3 4
    python benchmarks/ablation.py folds --root VIDEOS --seeds 0    # five folds of the training subset
    python benchmarks/ablation.py ucf101 --root UCF101 --subset val --splits 1 --seeds 0 1 2    # to choose by
    python benchmarks/ablation.py ucf101 --root UCF101 --seeds 0 1                            # three splits
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ablation_figure import figure
from ablation_report import Run, report
from ablation_rows import RECIPES, ROWS, Job
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--root", type=Path, default=Path("data/hard_motion_shapes_1"))
    parser.add_argument(
        "--subset", choices=("val", "test"), default="test", help="val: of UCF-101, to choose by"
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--splits", nargs="+", type=int, help="of the data set (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, help="of each training (default: the recipe's)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, on one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation.jsonl"), help="finished runs")
    parser.add_argument("--output", type=Path, help="also write the report to this file")
    parser.add_argument("--figure", type=Path, help="draw accuracy against cost to this file")
    options = parser.parse_args()
    if options.subset == "val" and not options.recipe.startswith("ucf101"):
        parser.error("--subset val is for the recipes of UCF-101")
    options.runs.parent.mkdir(parents=True, exist_ok=True)
    jobs = list(all_jobs(options))
    jobs[0].datamodule().prepare_data()
    done = {key(run) for run in finished(options.runs, jobs)}
    todo = [job for job in jobs if key(dataclasses.asdict(job)) not in done]
    with options.runs.open("a", encoding="utf-8") as file:
        for run in tqdm(run_all(todo, options.processes), total=len(todo), unit="run"):
            file.write(json.dumps(run) + "\n")
            file.flush()
    runs = list(finished(options.runs, jobs))
    text = report(options.recipe, jobs[0].epochs, options.subset, runs)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    if options.figure:
        figure(runs).savefig(options.figure)


def all_jobs(options: argparse.Namespace) -> Iterator[Job]:
    """The requested runs, all rows of a split and seed before the next."""
    recipe = RECIPES[options.recipe]
    epochs = options.epochs or recipe.epochs
    for seed in options.seeds:
        for split in options.splits or recipe.splits:
            for row in options.rows:
                yield Job(options.recipe, str(options.root), epochs, options.subset, row, split, seed)


def finished(path: Path, jobs: Sequence[Job]) -> Iterator[Run]:
    """The finished runs of these jobs with the current options; incomplete lines are ignored."""
    wanted = {key(dataclasses.asdict(job)): options_of(job) for job in jobs}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        if line.endswith("}"):
            run = json.loads(line)
            if wanted.get(key(run)) == run.get("options"):
                yield run


def options_of(job: Job) -> Any:
    """Options of model and data, as stored with a run."""
    return json.loads(json.dumps({"model": job.model, "data": job.data}))


def key(run: Run) -> tuple[Any, ...]:
    return tuple(run.get(field.name) for field in dataclasses.fields(Job) if field.name != "root")


def run_all(jobs: Sequence[Job], processes: int) -> Iterator[Run]:
    """Yield runs as they finish; one that fails is reported, and the others continue."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=end_with_parent) as pool:
        futures = {pool.submit(train, job): job for job in jobs}
        for future in as_completed(futures):
            if (error := future.exception()) is not None:
                print(f"failed: {futures[future]}: {error}", file=sys.stderr)
            else:
                yield future.result()


def end_with_parent() -> None:
    """End this worker when its parent was killed, which would leave the training running."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train(job: Job) -> Run:
    """Train and test one row of one split from one seed."""
    import torch
    from lightning import seed_everything

    from cvr_lightning.training.module import RecognitionModule

    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    seed_everything(job.seed, verbose=False)
    start = time.perf_counter()
    data = job.datamodule()
    module = RecognitionModule(data.class_names, data.residual_channels, data.representation, **job.model)
    trainer = plain_trainer(job.epochs, progress=False)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    assert module.table is not None
    return {
        **dataclasses.asdict(job),
        "options": options_of(job),
        "top1": module.table.top(1),
        "loss": module.table.loss(),
        "videos": len(module.table),
        "seconds": time.perf_counter() - start,
        **cost(module, data),
    }


def plain_trainer(epochs: int, progress: bool = True) -> Any:
    """A trainer that keeps nothing: the last weights are tested, no epoch is chosen."""
    from lightning import Trainer

    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        limit_val_batches=0,
    )


def cost(module: Any, data: Any) -> dict[str, Any]:
    """Operations of the trained model per video, one view of the test, spikes as on the validation subset."""
    from cvr_lightning.datamodules.pipelines import EvalTransform
    from cvr_lightning.energy.counting import count_parameters
    from cvr_lightning.energy.per_video import count_clips

    data.setup("validate")
    one_crop = dataclasses.replace(data.test_sampling, crops=1)
    clip = EvalTransform(one_crop)(next(iter(data.val_dataloader())))
    report = count_clips(module.recognizer.eval(), [clip])
    return {
        "gmac": report.gmac,
        "energy_j": report.energy_j,
        "spikes_per_neuron": report.spiking_layers(),
        "parameters": count_parameters(module.recognizer),
    }


if __name__ == "__main__":
    main()
