"""The file results.json and tables of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.formats import Table
from cvr_lightning.evaluation.results_schema import check_results
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.bounds import parse_json, read_text
from cvr_lightning.files.printable import count_text

FILE_NAME = "results.json"
ACCURACIES = ("top1", "top5", "top1_all", "top5_all")
"""Accuracy over readable videos, and over all with unreadable ones counted as wrong."""


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write the results of a run as JSON, atomically."""
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    with atomic_path(path) as unfinished:
        # JSON escapes preserve file names that are not UTF-8.
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_results(run: str | Path) -> dict[str, Any]:
    """Read the results of a run directory.

    Raises:
        RunError: The file is missing or invalid.
    """
    path = Path(run) / FILE_NAME
    try:
        results: dict[str, Any] = parse_json(read_text(path))
        check_results(results)
        results_column(results)
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file; cvr test writes it") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path}: not a valid results file ({error!r}); run cvr test again") from error
    return results


ARTICLE = ("top-1", "top-5", "videos", "parameters", "GMAC/video", "mJ/video theoretical")
"""Columns of a table for an article."""


def runs_table(names: Sequence[str], runs: Sequence[dict[str, Any]]) -> Table:
    """Results of runs: one column per run in a terminal, one row per run otherwise."""
    columns = [results_column(results) for results in runs]
    text = [["", *names], *([label, *(column[label] for column in columns)] for label in columns[0])]
    rows = zip(names, columns, strict=True)
    article = [["", *ARTICLE], *([name, *(column[label] for label in ARTICLE)] for name, column in rows)]
    records = [results_record(name, results) for name, results in zip(names, runs, strict=True)]
    return Table(text, article, records, records)


def results_record(name: str, results: dict[str, Any]) -> dict[str, Any]:
    """Results of a run as one flat record, with units in the keys."""
    speed, energy, protocol = (
        results[key] for key in ("videos_per_second", "energy_j_per_video", "protocol")
    )
    settings = ("segments", "pframes", "crop", "views", "crops", "averaging")
    return {
        "run": name,
        **{key: protocol.get(key) for key in ("dataset", "subset", "split")},
        "fields": _fields(protocol),
        "protocol": protocol["name"],
        **{key: protocol[key] for key in settings},
        **{key: results[key] for key in ACCURACIES},
        **{key: results.get(key) for key in ("videos", "subset_videos", "missing")},
        "unreadable": len(results["unreadable"]),
        **{key: results[key] for key in ("parameters", "gmac_per_video")},
        "theoretical_mj_per_video": _milli(energy["theoretical"]),
        "measured_mj_per_video": _milli(energy["measured"]),
        "activation_sparsity": results["activation_sparsity"],
        **{f"videos_per_second_{key}": speed[key] for key in ("with_reading", "model_only")},
    }


def results_column(results: dict[str, Any]) -> dict[str, str]:
    """Results of a run as text by label, with units."""
    speed, energy, protocol = (
        results[key] for key in ("videos_per_second", "energy_j_per_video", "protocol")
    )
    return {
        "top-1": accuracy_text(results, 1),
        "top-5": accuracy_text(results, 5),
        "videos": videos_text(results),
        "data": _data(protocol),
        "fields": _fields(protocol),
        "clip": f"{protocol['segments']} segments x {protocol['pframes']} P-frames, {protocol['crop']} px",
        "views": _views(protocol),
        "videos/s with reading": f"{speed['with_reading']:.1f}",
        "videos/s model only": f"{speed['model_only']:.1f}",
        "parameters": count_text(results["parameters"]),
        "GMAC/video": _number(results["gmac_per_video"], ".3f"),
        "mJ/video theoretical": _number(_milli(energy["theoretical"]), ".2f"),
        "mJ/video measured": _number(_milli(energy["measured"]), ".1f", absent="not measured"),
        "activation sparsity": _percent(results["activation_sparsity"]),
        "spikes/neuron": _spikes(results),
    }


def _spikes(results: dict[str, Any]) -> str:
    """Spikes per neuron and window of each spiking layer, and the number that costs as much as a ReLU."""
    break_even, layers = results.get("break_even_spikes"), results.get("spikes_per_neuron")
    if not layers or break_even is None:  # without spikes, or an older file
        return "-"
    return f"{', '.join(f'{spikes:.2f}' for spikes in layers.values())} (break-even {break_even:.1f})"


def _data(protocol: dict[str, Any]) -> str:
    """The data set and which of its videos were tested."""
    dataset, subset, split = protocol["dataset"], protocol["subset"], protocol.get("split")
    if " " in subset:  # Folder's description of held-out videos; split is the seed
        return f"{dataset}, {subset.partition(' ')[0]} held out, seed {split}"
    return f"{dataset}, {subset} subset" if split is None else f"{dataset} split {split}, {subset} subset"


def _fields(protocol: dict[str, Any]) -> str:
    is_rgb = protocol.get("representation") == "rgb"  # older files lack it
    return "decoded frames" if is_rgb else " + ".join(protocol["modalities"])


def videos_text(results: dict[str, Any]) -> str:
    """Number of scored and of other videos."""
    missing = results.get("missing")  # older files lack it
    of_all = f" of {results['subset_videos']}" if is_limited(results) else ""
    return f"{results['videos']}{of_all} scored, {len(results['unreadable'])} unreadable" + (
        f", {missing} missing" if missing else ""
    )


def is_limited(results: dict[str, Any]) -> bool:
    """Whether a test was stopped early, as by ``limit_test_batches``."""
    total = results.get("subset_videos")  # older files lack it
    return total is not None and results["videos"] + len(results["unreadable"]) < total


def refuse_limited(run: str, results: dict[str, Any]) -> None:
    """Check that a test covered all videos of its subset.

    Raises:
        RunError: It did not, so its accuracy is not that of the subset.
    """
    if is_limited(results):
        raise RunError(
            f"{run}: {videos_text(results)}: a limited test; run cvr test again without "
            "--trainer.limit_test_batches"
        )


def accuracy_text(accuracies: dict[str, Any], k: int) -> str:
    """Top-k over readable videos, and over all videos if different."""
    readable, of_all = accuracies[f"top{k}"], accuracies[f"top{k}_all"]
    return _percent(readable) + (f" ({_percent(of_all)} of all)" if of_all != readable else "")


def _views(protocol: dict[str, Any]) -> str:
    name = f"{protocol['name']}: " if protocol["name"] else ""
    return f"{name}{protocol['views']} x {protocol['crops']} crops, mean of {protocol['averaging']}"


def _milli(value: float | None) -> float | None:
    return None if value is None else 1e3 * value


def _number(value: float | None, digits: str, absent: str = "-") -> str:
    return absent if value is None else format(value, digits)


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * ratio:.2f} %"
