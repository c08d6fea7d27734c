"""Options of a datamodule from a flat list, in which a row of an ablation changes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cvr_lightning.datamodules.pipelines import Augmentation
from cvr_lightning.datamodules.sampling import ClipSampling


def data_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, those of sampling and augmentation put where they belong."""
    flat = dict(options)
    for section, kind in (("sampling", ClipSampling), ("augmentation", Augmentation)):
        own = {item.name: flat.pop(item.name) for item in fields(kind) if item.name in flat}
        if own:
            flat[section] = kind(**own)
    return flat
