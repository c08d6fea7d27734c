"""Schema of results.json: names and types of its values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_NUMBER = (int, float)
_NONE = type(None)
_ACCURACIES = ("top1", "top5", "top1_all", "top5_all")
RESULTS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_ACCURACIES, (*_NUMBER, _NONE)),
    "videos": (int,),
    "unreadable": (list,),
    "protocol": (dict,),
    "videos_per_second": (dict,),
    "energy_j_per_video": (dict,),
    "parameters": (int,),
    "gmac_per_video": (*_NUMBER, _NONE),
    "activation_sparsity": (*_NUMBER, _NONE),
}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "missing": (int, _NONE),
    "spikes_per_neuron": (dict, _NONE),
    "break_even_spikes": (*_NUMBER, _NONE),
    "config": (dict, _NONE),
    "versions": (dict, _NONE),
}
"""Older files lack them."""
PROTOCOL: dict[str, tuple[type, ...]] = {
    "name": (str, _NONE),
    "dataset": (str,),
    "subset": (str,),
    "modalities": (list,),
    "averaging": (str,),
    **dict.fromkeys(("segments", "pframes", "crop", "views", "crops"), (int,)),
}


def check_results(results: Any) -> None:
    """Refuse values that a test does not write.

    Raises:
        ValueError: A value is missing, has another type, or is not in [0, 1]; the message names it.
    """
    _check("results", results, RESULTS)
    _check("results", results, OPTIONAL, required=False)
    _check("protocol", results["protocol"], PROTOCOL)
    _check("protocol", results["protocol"], {"split": (int, str, _NONE)}, required=False)
    _check(
        "videos_per_second",
        results["videos_per_second"],
        dict.fromkeys(("with_reading", "model_only"), _NUMBER),
    )
    energy = results["energy_j_per_video"]
    _check("energy_j_per_video", energy, dict.fromkeys(("theoretical", "measured"), (*_NUMBER, _NONE)))
    _check("energy_j_per_video", energy, {"by_part": (dict,)}, required=False)
    for name, numbers in (("by_part", energy), ("spikes_per_neuron", results)):
        values = numbers.get(name) or {}
        _check(name, values, dict.fromkeys(values, _NUMBER))
    for name in ("unreadable", "modalities"):
        values = (results if name in results else results["protocol"])[name]
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"{name} contains a value that is not a name")
    for name in _ACCURACIES:
        if results[name] is not None and not 0 <= results[name] <= 1:
            raise ValueError(f"{name} is {results[name]!r:.50}, expected a number from 0 to 1")


def _check(section: str, values: Any, kinds: Mapping[str, tuple[type, ...]], required: bool = True) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{section} is not an object")
    for name, kind in kinds.items():
        if name not in values:
            if required:
                raise ValueError(f"{section} has no {name}")
            continue
        value = values[name]
        if type(value) not in kind or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{section}.{name} is {value!r:.50}")
