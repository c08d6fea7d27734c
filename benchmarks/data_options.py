"""Nested options of a datamodule from a flat mapping, as used by rows of an ablation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cvr_lightning.datamodules.pipelines import Augmentation
from cvr_lightning.datamodules.sampling import ClipSampling


def data_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Move the options of sampling and augmentation into their sections."""
    flat = dict(options)
    for section, kind in (("sampling", ClipSampling), ("augmentation", Augmentation)):
        own = {item.name: flat.pop(item.name) for item in fields(kind) if item.name in flat}
        if own:
            flat[section] = kind(**own)
    return flat
