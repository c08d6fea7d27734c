"""Operation counts against the field's own counters, where they are installed.

Neither is a dependency, for both draw in far more than the tests need; an environment of their own does:

    pip install --no-deps neurobench==2.3.0 spikingjelly==2.0.0
    pip install loguru SciencePlots scipy h5py requests
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cvr_lightning.energy.counting import OperationCounter, OperationReport
from cvr_lightning.energy.synapses import is_spikes, synaptic_operations


def spikes(*shape: int, rate: float = 0.3) -> Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < rate).float()


LAYERS = {
    "linear": (nn.Linear(10, 3), (4, 10)),
    "convolution": (nn.Conv2d(2, 4, 3, bias=False), (2, 2, 6, 7)),
    "padded": (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 7, 6)),
    "dilated": (nn.Conv2d(2, 2, (3, 1), padding=(2, 0), dilation=(2, 1)), (1, 2, 5, 5)),
    "in time": (nn.Conv1d(4, 4, 3, padding=1, groups=4), (2, 4, 9)),
}


def pruned(layer: nn.Module) -> nn.Module:
    """The layer with every third weight zero."""
    weight = layer.weight.detach().flatten()
    weight[::3] = 0
    return layer


def report(layer: nn.Module, inputs: Tensor) -> OperationReport:
    with torch.no_grad(), OperationCounter(layer) as counter:
        layer(inputs)
    return counter.report(videos=1)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kind", ["spikes", "signed", "real"])
def test_synaptic_operations_are_those_of_neurobench(name: str, kind: str) -> None:
    macs = pytest.importorskip("neurobench.metrics.utils.layers.macs", reason="neurobench is not installed")
    layer, shape = LAYERS[name]
    layer, inputs = pruned(layer), spikes(*shape)
    if kind != "spikes":
        inputs = inputs * (-1 if kind == "signed" else torch.rand(*shape))
    dense, effective = synaptic_operations(layer, inputs)
    assert (effective, is_spikes(inputs)) == macs.single_layer_MACs(inputs, layer)
    assert (dense, True) == macs.single_layer_MACs(torch.ones(shape), layer, total=True)


@pytest.mark.parametrize("name", LAYERS)
def test_compute_energy_of_spikes_is_that_of_spikingjelly(name: str) -> None:
    """By its synaptic operations: in its ACs of a convolution it counts a sum of its own, too."""
    peer = pytest.importorskip(
        "spikingjelly.activation_based.op_counter", reason="spikingjelly is not installed"
    )
    layer, shape = LAYERS[name]
    nn.init.normal_(layer.weight)  # no zeros: it does not leave out pruned weights
    inputs = spikes(*shape)
    theirs = peer.estimate_simple_energy(layer, inputs)
    assert report(layer, inputs).energy_j * 1e12 == pytest.approx(0.9 * theirs.counts["synop"])
    assert report(layer, inputs).memory_j * 1e12 == pytest.approx(theirs.energy_memory_pj)


@pytest.mark.parametrize("name", LAYERS)
def test_compute_energy_of_real_values_is_that_of_spikingjelly(name: str) -> None:
    """It skips no zero, nor those that pad: its MACs are our dense ones."""
    peer = pytest.importorskip(
        "spikingjelly.activation_based.op_counter", reason="spikingjelly is not installed"
    )
    layer, shape = LAYERS[name]
    inputs = torch.rand(*shape) + 0.1
    theirs = peer.estimate_simple_energy(layer, inputs)
    assert report(layer, inputs).gmac * 1e9 * 4.6 == pytest.approx(theirs.energy_mac_pj)
    assert report(layer, inputs).memory_j * 1e12 == pytest.approx(theirs.energy_memory_pj)
