"""The file results.json and its table: what a test found and what it cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvr_lightning.energy.table import spikes_text
from cvr_lightning.errors import RunError
from cvr_lightning.evaluation.formats import Table
from cvr_lightning.evaluation.results_schema import check_results
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.bounds import parse_json, read_text

FILE_NAME = "results.json"
ACCURACIES = ("top1", "top5", "top1_all", "top5_all")
"""Shares of the videos: over those that can be read, and over all, the unreadable ones counted as wrong."""


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write the results of a run as JSON, whole or not at all."""
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    with atomic_path(path) as unfinished:
        # What a file's name holds beside UTF-8 becomes an escape, which JSON reads back as it was.
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_results(run: str | Path) -> dict[str, Any]:
    """The results of a run directory.

    Raises:
        RunError: Where it holds no results, or a file that is none.
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
        raise RunError(f"{path}: not a file of results ({error!r}); run cvr test again") from error
    return results


ARTICLE = ("top-1", "top-5", "videos", "parameters", "GMAC/video", "mJ/video theoretical")
"""The columns of a table in an article, which has no room for all."""


def runs_table(names: Sequence[str], runs: Sequence[dict[str, Any]]) -> Table:
    """The results of runs, a column each in a terminal, a row each elsewhere."""
    columns = [results_column(results) for results in runs]
    text = [["", *names], *([label, *(column[label] for column in columns)] for label in columns[0])]
    rows = zip(names, columns, strict=True)
    article = [["", *ARTICLE], *([name, *(column[label] for label in ARTICLE)] for name, column in rows)]
    records = [results_record(name, results) for name, results in zip(names, runs, strict=True)]
    return Table(text, article, records, records)


def results_record(name: str, results: dict[str, Any]) -> dict[str, Any]:
    """The results of a run as one flat record, in the units that its keys name."""
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
    """The results of a run as text, each under its label and with its unit."""
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
        "parameters": f"{results['parameters'] / 1e6:.2f} M",
        "GMAC/video": _number(results["gmac_per_video"], ".3f"),
        "mJ/video theoretical": _number(_milli(energy["theoretical"]), ".2f"),
        "mJ/video measured": _number(_milli(energy["measured"]), ".1f", absent="not measured"),
        "activation sparsity": _percent(results["activation_sparsity"]),
        "spiking layers": _spikes(results),
    }


def _spikes(results: dict[str, Any]) -> str:
    """Of each spiking layer over the P-frames of a segment, beside a ReLU; older files do not say."""
    below, layers = results.get("spikes_pay_below"), results.get("spikes_per_neuron")
    if not layers or below is None:
        return "-"
    return spikes_text(list(layers.values()), below)


def _data(protocol: dict[str, Any]) -> str:
    """The data set and which of its videos were tested."""
    dataset, subset, split = protocol["dataset"], protocol["subset"], protocol.get("split")
    if " " in subset:  # no name of a subset: Folder says what it held out, and its split is the seed
        return f"{dataset}, {subset} {split}"
    return f"{dataset}, {subset} subset" if split is None else f"{dataset} split {split}, {subset} subset"


def _fields(protocol: dict[str, Any]) -> str:
    is_rgb = protocol.get("representation") == "rgb"  # older files do not say
    return "decoded frames" if is_rgb else " + ".join(protocol["modalities"])


def videos_text(results: dict[str, Any]) -> str:
    """How many videos were scored and how many were not."""
    missing = results.get("missing")  # older files do not say
    of_all = f" of {results['subset_videos']}" if is_limited(results) else ""
    return f"{results['videos']}{of_all} scored, {len(results['unreadable'])} unreadable" + (
        f", {missing} missing" if missing else ""
    )


def is_limited(results: dict[str, Any]) -> bool:
    """Whether a test was stopped before the last video, as ``limit_test_batches`` does."""
    total = results.get("subset_videos")  # older files do not say
    return total is not None and results["videos"] + len(results["unreadable"]) < total


def refuse_limited(run: str, results: dict[str, Any]) -> None:
    """Check that a test has met all videos of its subset.

    Raises:
        RunError: It has not; its accuracy is not that of the subset.
    """
    if is_limited(results):
        raise RunError(
            f"{run}: {videos_text(results)}: a limited test; run cvr test again without "
            "--trainer.limit_test_batches"
        )


def accuracy_text(accuracies: dict[str, Any], k: int) -> str:
    """Top-k over the readable videos, and over all where that differs."""
    readable, of_all = accuracies[f"top{k}"], accuracies[f"top{k}_all"]
    return _percent(readable) + (f" ({_percent(of_all)} of all)" if of_all != readable else "")


def _views(protocol: dict[str, Any]) -> str:
    name = f"{protocol['name']}: " if protocol["name"] else ""
    return f"{name}{protocol['views']} x {protocol['crops']} crops, mean of {protocol['averaging']}"


def _milli(value: float | None) -> float | None:
    return None if value is None else 1e3 * value


def _number(value: float | None, digits: str, absent: str = "-") -> str:
    return absent if value is None else format(value, digits)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
