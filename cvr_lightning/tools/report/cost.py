"""Cost per video: operations, energy, speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_ROWS = (
    ("multiply-accumulates, all (GMAC/video)", ("gmac_per_video",), ".4f"),
    ("multiply-accumulates, effective (GMAC/video)", ("effective_gmac_per_video",), ".4f"),
    ("accumulates of spikes (GAC/video)", ("effective_gac_per_video",), ".6f"),
    ("energy, theoretical (J/video)", ("energy_j_per_video", "theoretical"), ".6f"),
    ("energy, measured (J/video)", ("energy_j_per_video", "measured"), ".4f"),
    ("energy of training, measured (J)", ("training_energy", "measured_j"), ".1f"),
    ("speed with reading (videos/s)", ("videos_per_second", "with_reading"), ".1f"),
    ("speed of the model alone (videos/s)", ("videos_per_second", "model_only"), ".1f"),
)
"""Each row: its label, the keys in results.json, the format."""


def costs(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows of the cost tables, a column for each run.

    Args:
        names: Of the runs.
        results: Their results.json.
    """
    energies = [result["energy_j_per_video"] for result in results]
    parts = dict.fromkeys(part for energy in energies for part in energy.get("by_part", {}))
    return {
        "rows": [[label, *(_text(result, keys, form) for result in results)] for label, keys, form in _ROWS],
        "by_part_head": ["part of the model", *(f"{name}: µJ/video (% of all)" for name in names)],
        "by_part": [[part, *(_part_text(energy, part) for energy in energies)] for part in parts],
        "includes": _all(energies, "includes"),
        "measured_includes": _all(energies, "measured_includes"),
    }


def cost_points(
    runs: Sequence[tuple[str, str, Mapping[str, Any]]],
) -> list[tuple[str, str, float, float]]:
    """Name, color, theoretical mJ per video and top-1 in % of the runs that have both.

    Args:
        runs: Name, color and results.json of each.
    """
    return [
        (name, color, 1e3 * results["energy_j_per_video"]["theoretical"], 100 * results["top1"])
        for name, color, results in runs
        if results["top1"] is not None and results["energy_j_per_video"]["theoretical"] > 0
    ]


def _all(energies: Sequence[Mapping[str, Any]], key: str) -> str:
    return "; ".join(dict.fromkeys(str(energy.get(key, "not stated")) for energy in energies))


def _text(results: Mapping[str, Any], keys: Sequence[str], form: str) -> str:
    value: Any = results
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return "not in the results"
        value = value[key]
    return "not measured" if value is None else f"{value:{form}}"


def _part_text(energy: Mapping[str, Any], part: str) -> str:
    joules = energy.get("by_part", {}).get(part)
    if joules is None:
        return "no such part"
    total = sum(energy["by_part"].values())
    return f"{1e6 * joules:.3f} ({100 * joules / total:.1f} %)" if total else f"{1e6 * joules:.3f}"
