"""The table of ``ablation.py``: means, deviations, and paired differences to the whole model."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from ablation_rows import RECIPES, ROWS, RecipeName
from machine import heading

PACKAGES = ("torch", "lightning", "numpy")
Run = dict[str, Any]


def report(recipe: RecipeName, epochs: int, subset: str, runs: Sequence[Run]) -> str:
    """A table of means and deviations, beside the whole model.

    Args:
        recipe: Name of the recipe.
        epochs: Of each training.
        subset: The subset that was scored.
        runs: The runs of these three.
    """
    options = RECIPES[recipe].model | RECIPES[recipe].data
    protocol = (
        f"{epochs} epochs, last weights; "
        f"{', '.join(f'{name} {value}' for name, value in options.items())}. "
        f"Top-1 of the {subset} subset: mean and standard deviation over splits and seeds. Difference to "
        "the whole model of the same split and seed: mean and its standard error. Trained and scored "
        f"{len(runs)} times."
    )
    lines = [heading(f"Ablation: {recipe}", PACKAGES, protocol), ""]
    lines += [
        "| row | runs | top-1 | difference | loss | parameters | GMAC/view | mJ/view | spikes per neuron |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    whole = {pair(run): run["top1"] for run in runs if run["row"] == "whole"}
    for row in ROWS:
        done = [run for run in runs if run["row"] == row]
        lines += [_row(row, done, whole)] if done else []
    return "\n".join(lines)


def pair(run: Run) -> tuple[int, int]:
    """What a run shares with the one that it is compared with."""
    return run["split"], run["seed"]


def paired_difference(runs: Sequence[Run], whole: dict[tuple[int, int], float]) -> str:
    """Mean difference to the whole model and its standard error; empty where no pair is complete."""
    differences = [run["top1"] - whole[pair(run)] for run in runs if pair(run) in whole]
    if not differences:
        return ""
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else None
    return f"{statistics.mean(differences):+.3f}" + ("" if error is None else f" ± {error:.3f}")


def _row(row: str, runs: Sequence[Run], whole: dict[tuple[int, int], float]) -> str:
    top1 = [run["top1"] for run in runs]
    spread = f" ± {statistics.stdev(top1):.3f}" if len(top1) > 1 else ""
    difference = "" if row == "whole" else paired_difference(runs, whole)
    spikes = ", ".join(
        f"{statistics.mean(run['spikes_per_neuron'][layer] for run in runs):.2f}"
        for layer in runs[0]["spikes_per_neuron"]
    )
    loss = statistics.mean(run["loss"] for run in runs)
    energy = 1e3 * statistics.mean(run["energy_j"] for run in runs)
    return (
        f"| {row} | {len(runs)} | {statistics.mean(top1):.3f}{spread} | {difference} | {loss:.3f} | "
        f"{runs[0]['parameters'] / 1e6:.2f} M | {runs[0]['gmac']:.3f} | {energy:.3f} | {spikes} |"
    )
