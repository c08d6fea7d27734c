"""Records the dtypes in which modules compute."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cvr_lightning.models.neurons import AdaptiveLIF, Firing


class DtypeRecorder:
    """Records the output dtypes of each kind of module, between :meth:`attach` and :meth:`detach`."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[str]] = defaultdict(set)
        self._membranes: set[str] = set()
        self._handles: list[RemovableHandle] = []

    def attach(self, module: nn.Module) -> None:
        """Hook the modules that own weights."""
        self._handles = [
            layer.register_forward_hook(self._note)
            for layer in module.modules()
            if not any(True for _ in layer.children()) and any(True for _ in layer.parameters())
        ]

    def detach(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _note(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(layer, AdaptiveLIF):
            assert isinstance(output, Firing)
            held = (output.readout, *(output.state or ()))
            self._membranes |= {_name(tensor.dtype) for tensor in held if tensor is not None}
            output = output.spikes
        if isinstance(output, Tensor):
            self._kinds[_name(output.dtype)].add(type(layer).__name__)

    def lines(self, precision: str, module: nn.Module, loss: Tensor) -> list[str]:
        """Report the dtypes of weights and computations, and what stays in float32 and why."""
        weights = {_name(parameter.dtype) for parameter in module.parameters()}
        given = [f"{name} from {', '.join(sorted(kinds))}" for name, kinds in sorted(self._kinds.items())]
        lines = [f"Precision {precision}: weights {_join(weights)}; {'; '.join(given)}"]
        if self._membranes:
            lines.append(
                f"  membranes, traces and thresholds {_join(self._membranes)}: rounding would change spikes"
            )
        if "float64" not in weights:
            lines.append("  softmax of the attention float32, inside its kernel, as it sums over all tokens")
        return [*lines, f"  loss {_name(loss.dtype)}: it is the logarithm of a probability"]


def _join(names: set[str]) -> str:
    return " and ".join(sorted(names))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
