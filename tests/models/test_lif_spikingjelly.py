"""Where the equations coincide (soft reset, constant threshold) the neurons are spikingjelly's LIF."""

import pytest
import torch

from cvr_lightning.models.neurons import AdaptiveLIF

neuron = pytest.importorskip(
    "spikingjelly.activation_based.neuron", reason="spikingjelly is not installed: a reference of its own"
)
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")


def test_spikes_membrane_and_gradient_are_those_of_spikingjelly() -> None:
    peer = neuron.LIFNode(
        tau=2.0,
        decay_input=False,
        v_threshold=1.0,
        v_reset=None,
        surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0),
        step_mode="m",
    )
    ours = AdaptiveLIF(3, leak=0.5, threshold=1.0, adaptation=None)
    torch.manual_seed(0)
    current, weight = torch.randn(20, 2, 3, 8, 8), torch.randn(20, 2, 3, 8, 8)
    results = []
    for run in (peer, lambda x: ours(x, torch.ones(20, 2, dtype=torch.bool))[0]):
        x = current.clone().requires_grad_()
        spikes = run(x)
        results.append((spikes, *torch.autograd.grad((spikes * weight).sum(), x)))
    assert 0 < results[0][0].mean() < 1
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-5, atol=1e-5)
    _, _, end = ours(current, torch.ones(20, 2, dtype=torch.bool))
    peer.reset()
    peer(current)
    torch.testing.assert_close(peer.v, end.membrane, rtol=1e-5, atol=1e-6)
