"""Counting operations, spikes and joules.

Theoretical energy is that of the computation, without decoding; ``memory.py`` has that of memory accesses,
a separate number. Terms follow NeuroBench (2.3): *Effective_MACs* are operations of a non-zero weight and a
non-zero real-valued input, *Effective_ACs* those of a non-zero weight and a spike, which need no
multiplication. GMAC includes padding zeros, as usual in the literature; NeuroBench's *Dense* excludes them
and is reported separately. Unlike NeuroBench, attention products and neuron updates are counted;
:meth:`OperationReport.synaptic_operations` excludes them. Normalization, softmax, activation functions and
pooling are not counted.
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
from cvr_lightning.energy.memory import parameter_bytes, state_bytes
from cvr_lightning.energy.synapses import is_spikes, synaptic_operations
from cvr_lightning.models.global_motion import GlobalMotionCurrent
from cvr_lightning.models.modulator import TemporalReadout
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.models.stem import BlockStem
from cvr_lightning.models.transformer import SelfAttention


@dataclass
class LayerCount:
    """Operations of one layer, summed over the counted forward passes."""

    name: str
    dense: int = 0
    """Multiply-accumulates including those of padding zeros, as in GMAC."""
    synapses: int = 0
    """NeuroBench's Dense: multiply-accumulates of weights and inputs; 0 for attention and neurons."""
    effective_macs: int = 0
    effective_acs: int = 0
    memory_bytes: int = 0
    """Bytes of weights read, and of neuron states read and written."""
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
    """Cost of a model per video.

    Attributes:
        layers: Counts of each layer, over all ``videos``.
        videos: Number of counted videos, each with all its views.
        costs: Cost table for the energy.
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
    def memory_j(self) -> float:
        """Energy of accesses to weights and neuron states per video, in joules; not in :attr:`energy_j`."""
        return self._per_video("memory_bytes") * self.costs.memory_pj_per_byte * 1e-12

    @property
    def activation_sparsity(self) -> float | None:
        """Fraction of zeros in all neuron outputs; None without spiking layers."""
        outputs = sum(layer.outputs for layer in self.layers)
        return 1 - sum(layer.spikes for layer in self.layers) / outputs if outputs else None

    def spiking_layers(self) -> dict[str, float]:
        """Spikes per neuron and window of each layer: rate times sub-steps."""
        return {layer.name: layer.rate * layer.steps for layer in self.layers if layer.outputs}

    def synaptic_operations(self) -> dict[str, float]:
        """NeuroBench's counts per video: convolutions and linear layers only, without padding."""
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
        """Theoretical energy per video, in joules, of each direct child of the model; sums to the total."""
        mac, ac = self.costs.mac_pj * 1e-12, self.costs.ac_pj * 1e-12
        return self._by_part(lambda layer: layer.effective_macs * mac + layer.effective_acs * ac)

    def memory_by_part(self) -> dict[str, float]:
        """Energy of memory accesses per video, in joules, of each direct child; sums to :attr:`memory_j`."""
        return self._by_part(lambda layer: layer.memory_bytes * self.costs.memory_pj_per_byte * 1e-12)

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
"""Layers that are not counted by convention, and lists, which may be empty."""


@dataclass
class OperationCounter:
    """Context manager that counts the operations of a model's forward passes.

    Examples:
        >>> with OperationCounter(model) as counter:  # doctest: +SKIP
        ...     model(clip)
        >>> counter.report(videos=len(clip)).gmac  # doctest: +SKIP

    Args:
        model: The model.
        strict: Raise an error for layers without a formula; otherwise warn.

    Raises:
        TypeError: In strict mode, a layer has no formula; the message names it.
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
            message = (
                f"no operation count for {', '.join(unsupported)}; add a formula to "
                "cvr_lightning.energy.counting.FORMULAS"
            )
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
                count.memory_bytes += state_bytes(spikes, 1 if layer.adaptation is None else 2)
            elif isinstance(layer, SelfAttention | TemporalReadout | GlobalMotionCurrent):
                count.effective_macs += dense
                if isinstance(layer, TemporalReadout):
                    count.memory_bytes += state_bytes(inputs[0], 2 if layer.current_readout else 1)
            else:
                levels = getattr(layer, "levels", 1)
                synapses, effective = synaptic_operations(layer, inputs[0], levels)  # type: ignore[arg-type]
                count.synapses += synapses
                spiking = is_spikes(inputs[0], levels)
                if spiking:
                    count.effective_acs += effective
                else:
                    count.effective_macs += effective
                count.memory_bytes += parameter_bytes(layer, output, effective if spiking else dense)

        return hook

    def report(self, videos: int, costs: CostTableName | CostTable = "45nm-fp32") -> OperationReport:
        """Cost per video of the counted passes.

        Args:
            videos: Number of videos in the counted passes, each with all its views.
            costs: Name of a cost table, or a custom one.

        Raises:
            ValueError: The table is unknown, or no video was counted.
        """
        costs = cost_table(costs)
        if videos < 1:
            raise ValueError("no video was counted")
        return OperationReport(tuple(self._layers.values()), videos, costs)
