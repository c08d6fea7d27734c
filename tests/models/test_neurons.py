"""The neurons against a plain loop over scalars that follows the equations of the module's docstring."""

import math

import pytest
import torch

from cvr_lightning.models.neurons import AdaptiveLIF, SurrogateSpike


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def reference(
    neurons: AdaptiveLIF, currents: list[float], offset: float = 0.0, alive: list[bool] | None = None
) -> tuple[list[float], float, float]:
    """One neuron of channel 0: its spikes, final membrane and final trace."""
    leak, decay = sigmoid(neurons.leak[0].item()), sigmoid(neurons.trace_decay[0].item())
    baseline = softplus(neurons.threshold[0].item() + offset)
    strength = softplus(neurons.adaptation[0].item())
    membrane = trace = 0.0
    spikes = []
    for current, exists in zip(currents, alive or [True] * len(currents), strict=True):
        if not exists:
            spikes.append(0.0)
            continue
        u = leak * membrane + current
        theta = baseline + strength * trace
        spike = 1.0 if u >= theta else 0.0
        membrane = u - spike * theta
        trace = decay * trace + (1 - decay) * spike
        spikes.append(spike)
    return spikes, membrane, trace


def run(neurons: AdaptiveLIF, currents: list[float], **options: torch.Tensor) -> tuple[list[float], float]:
    current = torch.tensor(currents).view(-1, 1, 1, 1, 1)
    mask = options.pop("mask", torch.ones(len(currents), 1, dtype=torch.bool))
    spikes, _, state = neurons(current, mask, **options)
    return spikes.flatten().tolist(), state.membrane.item()


@pytest.mark.parametrize("offset", [0.0, 0.8, -0.8])
def test_spikes_and_membrane_follow_the_equations(offset: float) -> None:
    neurons = AdaptiveLIF(1)
    currents = torch.randn(200, generator=torch.Generator().manual_seed(1)).mul(1.5).tolist()
    spikes, membrane = run(neurons, currents, offset_MCHW=torch.full((1, 1, 1, 1), offset))
    expected, expected_membrane, _ = reference(neurons, currents, offset)
    assert spikes == expected
    assert 0 < sum(spikes) < 200
    assert membrane == pytest.approx(expected_membrane, abs=1e-4)


def test_a_missing_frame_neither_spikes_nor_changes_the_state() -> None:
    neurons = AdaptiveLIF(1)
    currents, alive = [0.7, 5.0, 0.6, 5.0, 0.9], [True, False, True, False, True]
    spikes, membrane = run(neurons, currents, mask=torch.tensor(alive).view(-1, 1))
    expected, expected_membrane, _ = reference(neurons, currents, alive=alive)
    assert spikes == expected
    assert spikes[1] == spikes[3] == 0
    assert membrane == pytest.approx(expected_membrane, abs=1e-6)


def test_two_windows_with_the_state_carried_over_equal_one() -> None:
    neurons = AdaptiveLIF(3)
    current = torch.randn(10, 2, 3, 4, 4)
    mask = torch.ones(10, 2, dtype=torch.bool)
    whole, _, end = neurons(current, mask)
    first, _, state = neurons(current[:4], mask[:4])
    second, _, carried = neurons(current[4:], mask[4:], state=state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(carried.membrane, end.membrane)
    assert torch.equal(carried.trace, end.trace)


def test_recent_spikes_raise_the_threshold() -> None:
    adapting, fixed = AdaptiveLIF(1, adaptation=2.0), AdaptiveLIF(1, adaptation=1e-6)
    steady = [1.2] * 60
    assert sum(run(adapting, steady)[0]) < sum(run(fixed, steady)[0])


def test_membranes_stay_float32_under_bfloat16() -> None:
    current = torch.randn(4, 1, 2, 3, 3, dtype=torch.bfloat16)
    spikes, _, state = AdaptiveLIF(2)(current, torch.ones(4, 1, dtype=torch.bool))
    assert spikes.dtype == torch.bfloat16
    assert state.membrane.dtype == state.trace.dtype == torch.float32


def test_the_surrogate_gradient_is_a_triangle_of_unit_area() -> None:
    distance = torch.linspace(-3, 3, 601, dtype=torch.float64, requires_grad=True)
    threshold = torch.full_like(distance, 0.5)
    SurrogateSpike.apply(distance, threshold).sum().backward()
    assert distance.grad[[0, 250, 275, 300, 325, 350, 600]].tolist() == pytest.approx([0, 0, 1, 2, 1, 0, 0])
    assert torch.trapezoid(distance.grad, distance.detach()).item() == pytest.approx(1)


def test_the_gradient_of_a_count_is_that_of_a_clipped_line() -> None:
    membrane = torch.linspace(0, 5, 51, dtype=torch.float64, requires_grad=True)
    threshold = torch.ones_like(membrane)
    sum(
        SurrogateSpike.apply(membrane - level * threshold, threshold).sum() for level in (1, 2, 3, 4)
    ).backward()
    assert membrane.grad[[0, 5, 10, 25, 40, 45, 50]].tolist() == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])


def test_every_constant_of_the_neuron_learns() -> None:
    neurons = AdaptiveLIF(2)
    spikes, _, state = neurons(torch.randn(8, 1, 2, 5, 5) * 2, torch.ones(8, 1, dtype=torch.bool))
    (spikes.sum() + state.membrane.sum()).backward()
    for name, parameter in neurons.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_no_sequences_give_no_spikes_and_no_gradient() -> None:
    neurons = AdaptiveLIF(2)
    spikes, _, state = neurons(torch.zeros(4, 0, 2, 3, 3), torch.ones(4, 0, dtype=torch.bool))
    assert spikes.shape == (4, 0, 2, 3, 3)
    assert state.membrane.shape == (0, 2, 3, 3)
    spikes.sum().backward()
    assert neurons.leak.grad.count_nonzero() == 0
