"""What each part of the model and each field of the data is worth: accuracy without it, and its cost.

Every row trains the same recipe from scratch for each seed and is tested once, with the last weights. What is
done is kept in a file of one line a run; the same command goes on from there.

    python benchmarks/ablation.py hard --runs runs/ablation.jsonl [--output report.md]
    python benchmarks/ablation.py folder --root VIDEOS --rows whole "I-frames only" --seeds 0 1 2 3 4
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from machine import heading
from tqdm import tqdm

PACKAGES = ("torch", "lightning", "numpy")
SIZES = {"pframes": 6, "height": 160, "width": 216, "crop": 128, "batch_size": 8}
RECIPES: dict[str, dict[str, Any]] = {
    "hard": {
        "epochs": 12,
        "model": {"learning_rate": 3e-3},
        "data": SIZES | {"segments": 3, "scene_seed": 1},
    },
    "folder": {
        "epochs": 30,
        "model": {"learning_rate": 1e-3},
        "data": SIZES
        | {"batch_size": 4, "segments": 4, "views": 4, "crops": 3, "test_crop": 160}
        | {"mixup": 0.3, "colour": 0.4, "scales": (1.0, 1.125, 1.25)},
    },
}
"""How each data set is trained: HardMotionShapes, and a folder of one's own (``--root``).

The scenes of seed 1 were looked at by no one while the model and its recipe were chosen.
"""
ROWS: dict[str, dict[str, Any]] = {
    "whole": {},
    "I-frames only": {"data": {"modalities": ("iframes",)}},
    "vectors only": {"data": {"modalities": ("motion",)}},
    "residuals only": {"data": {"modalities": ("residual",)}},
    "without I-frames": {"data": {"modalities": ("motion", "residual")}},
    "no camera compensation": {"model": {"without": ("compensation",)}},
    "no spikes (ReLU)": {"model": {"without": ("spikes",)}},
    "static threshold": {"model": {"without": ("adaptation", "iframe_term")}},
    "no I-frame term": {"model": {"without": ("iframe_term",)}},
    "no adaptation": {"model": {"without": ("adaptation",)}},
    "no potential": {"model": {"without": ("potential",)}},
    "late fusion": {"model": {"without": ("unified",)}},
    "no mixer": {"model": {"without": ("mixer",)}},
    "pixel representation": {"data": {"representation": "pixel"}},
    "accumulated": {"data": {"accumulate": True}},
    "T = 1": {"data": {"pframes": 1}},
    "T = 3": {"data": {"pframes": 3}},
    "T = 11": {"data": {"pframes": 11}},
}
"""What is changed in each row; ``whole`` has T = 6."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--root", type=Path, default=Path("data/hard_motion_shapes_1"))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, help="of each training (default: the recipe's)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, on one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation.jsonl"), help="what is done so far")
    parser.add_argument("--output", type=Path, help="also write the report to this file")
    options = parser.parse_args()
    options.runs.parent.mkdir(parents=True, exist_ok=True)
    datamodule(options.recipe, options.root, {}).prepare_data()
    epochs = options.epochs or RECIPES[options.recipe]["epochs"]
    done = {key(run) for run in finished(options.runs, options.recipe)}
    jobs = [
        (options.recipe, str(options.root), epochs, row, seed)
        for seed in options.seeds
        for row in options.rows
        if (options.recipe, epochs, row, seed) not in done
    ]
    with options.runs.open("a", encoding="utf-8") as file:
        for run in tqdm(run_all(jobs, options.processes), total=len(jobs), unit="run"):
            file.write(json.dumps(run) + "\n")
            file.flush()
    text = report(options.recipe, epochs, finished(options.runs, options.recipe))
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")


def finished(path: Path, recipe: str) -> Iterator[dict[str, Any]]:
    """The runs of a recipe as it is now; a line that was cut off is no run."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        if line.endswith("}"):
            run = json.loads(line)
            if (run["recipe"], run.get("options")) == (recipe, options_of(recipe)):
                yield run


def options_of(recipe: str) -> Any:
    """What a recipe asks of model and data, as it is kept with each run."""
    return json.loads(json.dumps({part: RECIPES[recipe][part] for part in ("model", "data")}))


def key(run: dict[str, Any]) -> tuple[str, int, str, int]:
    return run["recipe"], run["epochs"], run["row"], run["seed"]


def run_all(jobs: list[tuple[str, str, int, str, int]], processes: int) -> Iterator[dict[str, Any]]:
    """The runs as they finish; one that fails is named and leaves the others alone."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(train, *job): job for job in jobs}
        for future in as_completed(futures):
            if (error := future.exception()) is not None:
                print(f"failed: {futures[future]}: {error}", file=sys.stderr)
            else:
                yield future.result()


def datamodule(recipe: str, root: str | Path, changes: dict[str, Any], seed: int = 0) -> Any:
    from cvr_lightning.datamodules import Folder, HardMotionShapes

    kind = HardMotionShapes if recipe == "hard" else Folder
    return kind(root, num_workers=0, seed=seed, **(RECIPES[recipe]["data"] | changes))


def train(recipe: str, root: str, epochs: int, row: str, seed: int) -> dict[str, Any]:
    """Train and test one row from one seed."""
    import torch
    from lightning import seed_everything

    from cvr_lightning.training.module import RecognitionModule

    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    seed_everything(seed, verbose=False)
    start = time.perf_counter()
    data = datamodule(recipe, root, ROWS[row].get("data", {}), seed)
    module = RecognitionModule(
        data.class_names,
        data.residual_channels,
        data.representation,
        **(RECIPES[recipe]["model"] | ROWS[row].get("model", {})),
    )
    trainer = plain_trainer(epochs, progress=False)
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    assert module.table is not None
    return {
        "recipe": recipe,
        "options": options_of(recipe),
        "epochs": epochs,
        "row": row,
        "seed": seed,
        "top1": module.table.top(1),
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
    """Operations of the trained model per video, one view of the test, spikes as on the validation part."""
    from cvr_lightning.datamodules.pipelines import EvalTransform
    from cvr_lightning.tools.summarize import count_operations

    data.setup("validate")
    one_crop = dataclasses.replace(data.test_sampling, crops=1)
    clip = EvalTransform(one_crop)(next(iter(data.val_dataloader())))
    report = count_operations(module.recognizer, [clip])
    return {
        "gmac": report.gmac,
        "energy_j": report.energy_j,
        "spikes_per_neuron": report.spiking_layers(),
        "parameters": sum(parameter.numel() for parameter in module.recognizer.parameters()),
    }


def report(recipe: str, epochs: int, runs: Iterable[dict[str, Any]]) -> str:
    """A table of means and deviations, beside the whole model."""
    of_row: dict[str, list[dict[str, Any]]] = {row: [] for row in ROWS}
    for run in runs:
        if (run["recipe"], run["epochs"]) == (recipe, epochs):
            of_row[run["row"]].append(run)
    recipe_text = ", ".join(f"{name} {value}" for name, value in RECIPES[recipe]["data"].items())
    protocol = (
        f"Preset tiny from scratch, {epochs} epochs, last weights; {recipe_text}. "
        "Top-1 of the test part: mean and standard deviation over the seeds; difference to the whole model: "
        "mean and its standard error over the seeds that both have."
    )
    lines = [heading(f"Ablation: {recipe}", PACKAGES, protocol), ""]
    lines += ["| row | seeds | top-1 | difference | parameters | GMAC/video | mJ/video | spikes per neuron |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    whole = {run["seed"]: run["top1"] for run in of_row["whole"]}
    return "\n".join([*lines, *(row_text(row, done, whole) for row, done in of_row.items() if done)])


def row_text(row: str, runs: list[dict[str, Any]], whole: dict[int, float]) -> str:
    top1 = [run["top1"] for run in runs]
    spread = f" ± {statistics.stdev(top1):.3f}" if len(top1) > 1 else ""
    paired = [run["top1"] - whole[run["seed"]] for run in runs if run["seed"] in whole]
    difference = f"{statistics.mean(paired):+.3f}" if paired and row != "whole" else ""
    if difference and len(paired) > 1:
        difference += f" ± {statistics.stdev(paired) / math.sqrt(len(paired)):.3f}"
    spikes = ", ".join(
        f"{statistics.mean(run['spikes_per_neuron'][layer] for run in runs):.2f}"
        for layer in runs[0]["spikes_per_neuron"]
    )
    energy = 1e3 * statistics.mean(run["energy_j"] for run in runs)
    return (
        f"| {row} | {len(runs)} | {statistics.mean(top1):.3f}{spread} | {difference} | "
        f"{runs[0]['parameters'] / 1e6:.2f} M | {runs[0]['gmac']:.3f} | {energy:.3f} | {spikes} |"
    )


if __name__ == "__main__":
    main()
