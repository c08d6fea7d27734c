"""Versions and machine, stored with results for reproducibility."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import torch

import cvr_lightning


def versions() -> dict[str, str]:
    """Versions of this package and of relevant dependencies, and the machine."""
    packages = ("torch", "lightning", "torchmetrics", "av", "numpy", "numba")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "cvr_lightning": cvr_lightning.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "cpu_threads": str(os.cpu_count()),
        "gpu": device,
    }
