"""Counting operations, spikes and joules.

Theoretical energy is compute only: no memory traffic, no decoding. Names are NeuroBench's (2.3):
*Effective_MACs* are the operations of a non-zero weight and a non-zero real-valued input, *Effective_ACs*
those of a non-zero weight and a spike, where the multiplication falls away. GMAC counts every operation as
the field does, with the zeros that pad a convolution; NeuroBench's *Dense* leaves those out and stands
beside it. Attention products and the neurons' own updates count, which NeuroBench leaves out: see
:meth:`OperationReport.synaptic_operations`. Normalization, softmax, activation functions and the pooling of
tokens do not count.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cvr_lightning.energy.costs import CostTable, CostTableName, cost_table
from cvr_lightning.energy.synapses import is_spikes, synaptic_operations
from cvr_lightning.models.global_motion import GlobalMotionCurrent
from cvr_lightning.models.modulator import TemporalReadout
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.models.stem import BlockStem
from cvr_lightning.models.transformer import SelfAttention


@dataclass
class LayerCount:
    """Operations of one layer, summed over all forward passes that were counted."""

    name: str
    dense: int = 0
    """Every multiply-accumulate, those with the zeros of a padding included, as the field counts GMAC."""
    synapses: int = 0
    """NeuroBench's Dense: those of weights with inputs alone; 0 for attention and neurons."""
    effective_macs: int = 0
    effective_acs: int = 0
    outputs: int = 0
    """Neuron outputs over all sub-steps; 0 for a layer that does not spike."""
    spikes: float = 0.0
    steps: int = 0
    """Sub-steps of a spiking layer, D in each of T time steps."""

    @property
    def rate(self) -> float:
        """Spikes per neuron and sub-step."""
        return self.spikes / self.outputs if self.outputs else 0.0


@dataclass(frozen=True)
class OperationReport:
    """What a model costs per video.

    Attributes:
        layers: The counts of each layer, over all ``videos``.
        videos: Videos (all their views together) that were counted.
        costs: The cost table that gives the energy.
    """

    layers: tuple[LayerCount, ...]
    videos: int
    costs: CostTable

    def _per_video(self, field_name: str) -> float:
        return float(sum(getattr(layer, field_name) for layer in self.layers) / self.videos)

    @property
    def gmac(self) -> float:
        """Dense multiply-accumulates per video, in 1e9."""
        return self._per_video("dense") / 1e9

    @property
    def effective_gmac(self) -> float:
        """Effective_MACs per video, in 1e9."""
        return self._per_video("effective_macs") / 1e9

    @property
    def effective_gac(self) -> float:
        """Effective_ACs per video, in 1e9."""
        return self._per_video("effective_acs") / 1e9

    @property
    def energy_j(self) -> float:
        """Theoretical energy per video in joules."""
        picojoules_e9 = self.effective_gmac * self.costs.mac_pj + self.effective_gac * self.costs.ac_pj
        return picojoules_e9 * 1e-3

    @property
    def activation_sparsity(self) -> float | None:
        """Zeros over all neuron outputs, over layers, sub-steps, samples; None without spiking layers."""
        outputs = sum(layer.outputs for layer in self.layers)
        return 1 - sum(layer.spikes for layer in self.layers) / outputs if outputs else None

    def spiking_layers(self) -> dict[str, float]:
        """Spikes per neuron and window, rate times sub-steps, of each layer; see :func:`spikes_text`."""
        return {layer.name: layer.rate * layer.steps for layer in self.layers if layer.outputs}

    def synaptic_operations(self) -> dict[str, float]:
        """NeuroBench's counts per video: convolutions and linear layers alone, no padding, no attention."""
        layers = [layer for layer in self.layers if layer.synapses]
        return {
            "Dense": sum(layer.synapses for layer in layers) / self.videos,
            "Effective_MACs": sum(layer.effective_macs for layer in layers) / self.videos,
            "Effective_ACs": sum(layer.effective_acs for layer in layers) / self.videos,
        }

    def gmac_by_part(self) -> dict[str, float]:
        """Dense GMAC per video of each direct child of the model."""
        return self._by_part(lambda layer: layer.dense * 1e-9)

    def energy_by_part(self) -> dict[str, float]:
        """Theoretical energy per video, in joules, of each direct child of the model; it adds up to all."""
        mac, ac = self.costs.mac_pj * 1e-12, self.costs.ac_pj * 1e-12
        return self._by_part(lambda layer: layer.effective_macs * mac + layer.effective_acs * ac)

    def _by_part(self, cost: Callable[[LayerCount], float]) -> dict[str, float]:
        parts: dict[str, float] = {}
        for layer in self.layers:
            part = layer.name.split(".")[0]
            parts[part] = parts.get(part, 0.0) + cost(layer) / self.videos
        return parts


def count_parameters(model: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in model.parameters())


def _convolution(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, _: Tensor, output: Tensor) -> int:
    return output.numel() * (layer.in_channels // layer.groups) * math.prod(layer.kernel_size)


def _linear(layer: nn.Linear, _: Tensor, output: Tensor) -> int:
    return output.numel() * layer.in_features


def _attention(_: Any, tokens_BLD: Tensor, __: Tensor) -> int:
    # Scores and weighted sum: L x L x D each; the projections are counted as linear layers.
    return 2 * tokens_BLD.numel() * tokens_BLD.shape[1]


def _neurons(layer: AdaptiveLIF, current_TMCHW: Tensor, _: Any) -> int:
    # Leak, threshold adaptation and trace: one multiply-accumulate each for a neuron and step.
    return (1 if layer.adaptation is None else 3) * current_TMCHW.numel()


def _readout(layer: TemporalReadout, current_TMCHW: Tensor, _: Any) -> int:
    # The means of the spikes and of the currents.
    return (2 if layer.current_readout else 1) * current_TMCHW.numel()


def _global_motion(layer: GlobalMotionCurrent, _: Tensor, output: Tensor) -> int:
    return 2 * output.numel()


FORMULAS: dict[type[nn.Module], Callable[[Any, Tensor, Any], int]] = {
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.Linear: _linear,
    SelfAttention: _attention,
    GlobalMotionCurrent: _global_motion,
    AdaptiveLIF: _neurons,
    TemporalReadout: _readout,
}
FREE: tuple[type[nn.Module], ...] = (nn.LayerNorm, nn.Dropout, nn.Identity, nn.ModuleList, BlockStem)
"""Layers that the convention of the field leaves out, and lists, which may be empty."""


@dataclass
class OperationCounter:
    """Counts the operations of a model's forward passes while it is entered.

    Examples:
        >>> with OperationCounter(model) as counter:  # doctest: +SKIP
        ...     model(clip)
        >>> counter.report(videos=len(clip)).gmac  # doctest: +SKIP

    Args:
        model: The model to watch.
        strict: Raise on a layer that has no formula; otherwise warn, naming it once.

    Raises:
        TypeError: On entering in strict mode, naming the layers without a formula.
    """

    model: nn.Module
    strict: bool = True
    _layers: dict[str, LayerCount] = field(default_factory=dict)
    _handles: list[RemovableHandle] = field(default_factory=list)

    def __enter__(self) -> OperationCounter:
        unsupported = []
        for name, layer in self.model.named_modules():
            formula = next((FORMULAS[kind] for kind in type(layer).__mro__ if kind in FORMULAS), None)
            if formula is not None:
                self._handles.append(layer.register_forward_hook(self._hook(name, formula)))
            elif next(layer.children(), None) is None and not isinstance(layer, FREE):
                unsupported.append(f"{name} ({type(layer).__name__})")
        if unsupported:
            message = f"no operation count for {', '.join(unsupported)}; add a formula to energy.FORMULAS"
            if self.strict:
                self._remove()
                raise TypeError(message)
            warnings.warn(message, stacklevel=2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _hook(
        self, name: str, formula: Callable[[Any, Tensor, Any], int]
    ) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        count = self._layers.setdefault(name, LayerCount(name))

        def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            dense = formula(layer, inputs[0], output)
            count.dense += dense
            if isinstance(layer, AdaptiveLIF):
                spikes = output[0]
                count.steps = layer.levels * spikes.shape[0]
                count.outputs += layer.levels * spikes.numel()
                count.spikes += float(spikes.sum())
                count.effective_macs += dense
            elif isinstance(layer, SelfAttention | TemporalReadout | GlobalMotionCurrent):
                count.effective_macs += dense
            else:
                levels = getattr(layer, "levels", 1)
                synapses, effective = synaptic_operations(layer, inputs[0], levels)  # type: ignore[arg-type]
                count.synapses += synapses
                if is_spikes(inputs[0], levels):
                    count.effective_acs += effective
                else:
                    count.effective_macs += effective

        return hook

    def report(self, videos: int, costs: CostTableName | CostTable = "45nm-fp32") -> OperationReport:
        """The costs per video of what has been counted.

        Args:
            videos: Number of videos that the counted passes covered, all views of a video together.
            costs: Name of a cost table, or one's own.

        Raises:
            ValueError: For an unknown table, or where no video was counted.
        """
        costs = cost_table(costs)
        if videos < 1:
            raise ValueError("no video was counted")
        return OperationReport(tuple(self._layers.values()), videos, costs)
