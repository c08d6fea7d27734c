"""Counting operations, spikes and joules.

Theoretical energy is compute only: no memory traffic, no decoding. Names are NeuroBench's (2.3): *Dense* is
every multiply-accumulate of a layer, *Effective_MACs* those with a non-zero real-valued input,
*Effective_ACs* those with a non-zero spike as input, where the multiplication falls away. Attention products
count, which NeuroBench leaves out; normalisation, softmax, activation functions and the pooling of tokens do
not.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cvr_lightning.models.modulator import TemporalReadout
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.models.stem import BlockStem
from cvr_lightning.models.transformer import SelfAttention

CostTableName = Literal["45nm-fp32", "45nm-fp16", "45nm-int8"]


@dataclass(frozen=True)
class CostTable:
    """Energy of one operation in picojoules, and where the figures come from."""

    mac_pj: float
    ac_pj: float
    source: str


def spikes_text(spikes: float, pay_below: float) -> str:
    """Spikes per neuron and window of a layer, and whether accumulating them costs less than multiplying.

    A real-valued layer multiplies once for a window; one fed by spikes accumulates rate times T times.
    """
    return f"{spikes:.2f} {'pays' if spikes < pay_below else f'LOSES: not below {pay_below:.1f}'}"


_HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014, 45 nm"
COST_TABLES: dict[CostTableName, CostTable] = {
    "45nm-fp32": CostTable(mac_pj=4.6, ac_pj=0.9, source=f"{_HOROWITZ}, 32-bit floating point"),
    "45nm-fp16": CostTable(mac_pj=1.5, ac_pj=0.4, source=f"{_HOROWITZ}, 16-bit floating point"),
    "45nm-int8": CostTable(mac_pj=0.23, ac_pj=0.03, source=f"{_HOROWITZ}, 8-bit integers"),
}


@dataclass
class LayerCount:
    """Operations of one layer, summed over all forward passes that were counted."""

    name: str
    dense: int = 0
    effective_macs: float = 0.0
    effective_acs: float = 0.0
    outputs: int = 0
    """Neuron outputs over time; 0 for a layer that does not spike."""
    spikes: float = 0.0
    steps: int = 0
    """Time steps T of a spiking layer."""

    @property
    def rate(self) -> float:
        """Spikes per neuron and step."""
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
        """Zeros over all neuron outputs, over layers, steps and samples; None without spiking layers."""
        outputs = sum(layer.outputs for layer in self.layers)
        return 1 - sum(layer.spikes for layer in self.layers) / outputs if outputs else None

    def spiking_layers(self) -> dict[str, float]:
        """Spikes per neuron and window (rate times T) of each spiking layer, see :func:`spikes_text`."""
        return {layer.name: layer.rate * layer.steps for layer in self.layers if layer.outputs}

    def gmac_by_part(self) -> dict[str, float]:
        """Dense GMAC per video of each direct child of the model."""
        parts: dict[str, float] = {}
        for layer in self.layers:
            part = layer.name.split(".")[0]
            parts[part] = parts.get(part, 0.0) + layer.dense / self.videos / 1e9
        return parts


def cost_results(report: OperationReport, views: float) -> dict[str, Any]:
    """The costs per video as results.json holds them.

    Args:
        report: Operations of one view of a video.
        views: Views of a video.
    """
    return {
        "gmac_per_video": report.gmac * views,
        "effective_gmac_per_video": report.effective_gmac * views,
        "effective_gac_per_video": report.effective_gac * views,
        "energy_j_per_video": {
            "theoretical": report.energy_j * views,
            "measured": None,
            "includes": f"compute of the model; {report.costs.source}",
        },
        "activation_sparsity": report.activation_sparsity,
        "spikes_per_neuron": report.spiking_layers(),
        "spikes_pay_below": report.costs.mac_pj / report.costs.ac_pj,
    }


def _convolution(layer: nn.Conv1d | nn.Conv2d, _: Tensor, output: Tensor) -> int:
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
    return (2 if layer.potential else 1) * current_TMCHW.numel()


FORMULAS: dict[type[nn.Module], Callable[[Any, Tensor, Any], int]] = {
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    SelfAttention: _attention,
    AdaptiveLIF: _neurons,
    TemporalReadout: _readout,
}
FREE: tuple[type[nn.Module], ...] = (nn.LayerNorm, nn.Dropout, nn.Identity, BlockStem)
"""Layers that the convention of the field leaves out."""


def is_spikes(values: Tensor) -> bool:
    """Whether all values are 0 or 1: the input of a layer that accumulates without multiplying."""
    return bool(((values == 0) | (values == 1)).all())


@dataclass
class OperationCounter:
    """Counts the operations of a model's forward passes while it is entered.

    Example:
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
                count.steps = spikes.shape[0]
                count.outputs += spikes.numel()
                count.spikes += float(spikes.sum())
                count.effective_macs += dense
            elif isinstance(layer, SelfAttention):
                count.effective_macs += dense
            else:
                effective = dense * float((inputs[0] != 0).float().mean())
                if is_spikes(inputs[0]):
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
        if isinstance(costs, str):
            if costs not in COST_TABLES:
                raise ValueError(f"unknown cost table {costs!r}; choose one of {get_args(CostTableName)}")
            costs = COST_TABLES[costs]
        if videos < 1:
            raise ValueError("no video was counted")
        return OperationReport(tuple(self._layers.values()), videos, costs)
