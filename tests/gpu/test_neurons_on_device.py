"""On the device, neurons and the whole model give the results of float64 and of the CPU."""

import pytest
import torch
from helpers.factories import make_clip
from helpers.lif_cases import Case
from helpers.lif_oracle import distances, reference
from torch import Tensor

from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.models.neurons import AdaptiveLIF, equations

pytestmark = pytest.mark.gpu
TOLERANCE = 1e-3
"""Relative tolerance of logits and gradients in float32 between devices, which sum in another order."""


@pytest.mark.parametrize("levels", [1, 4])
def test_neurons_on_the_device_give_results_and_gradients_of_the_equations(device, levels: int) -> None:
    case = Case()
    exact, own = case.double(), case.on(device)
    inputs = (exact.current, case.mask, exact.threshold, exact.constants, exact.start)
    assert distances(*inputs, levels).abs().min() > 1e-6  # rounding decides no spike
    outcome, expected = own.run(equations.integrate, levels=levels), exact.run(reference, levels=levels)
    assert torch.equal(outcome[0].cpu(), expected[0].float())
    for found, wanted in zip(outcome[1:], expected[1:], strict=True):
        torch.testing.assert_close(found.cpu(), wanted.float(), rtol=1e-5, atol=1e-5)
    for found, wanted in zip(own.gradients(outcome), exact.gradients(expected), strict=True):
        tolerance = 1e-5 * float(wanted.abs().max())
        torch.testing.assert_close(found.cpu().double(), wanted, rtol=1e-5, atol=tolerance)


def test_under_bf16_autocast_neurons_spike_as_in_float32(device) -> None:
    """Currents are rounded once, by the convolution before; membranes and thresholds are not."""
    case = Case().on(device)
    neurons = AdaptiveLIF(case.current.shape[2], levels=4).to(device)
    rounded = case.current.detach().bfloat16()
    found = []
    for current in (rounded, rounded.float()):
        with torch.autocast(device.type, torch.bfloat16):
            fired = neurons(current.requires_grad_(), case.mask)
            assert fired.state.membrane.dtype == torch.float32
            assert fired.spikes.dtype == current.dtype
            loss = (fired.spikes.float() * case.weights[0]).sum()
        found.append((fired.spikes.float(), torch.autograd.grad(loss, list(neurons.parameters()))))
    (spikes, gradients), (expected, wanted) = found
    assert torch.equal(spikes, expected)
    for one, other in zip(gradients, wanted, strict=True):
        # The gradient of the spikes arrives in bfloat16, of 8 significant bits.
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02 * float(other.abs().max()))


def test_recomputing_the_steps_gives_the_same_gradients(device) -> None:
    case = Case().on(device)
    kept, recomputed = (
        case.gradients(case.run(equations.integrate, checkpoint_activations=again)) for again in (False, True)
    )
    for one, other in zip(kept, recomputed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.fixture
def full_float32():
    """Convolutions without TF32, whose rounding flips spikes."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("full_float32")
def test_the_model_on_the_device_gives_the_logits_and_gradients_of_the_cpu(device) -> None:
    torch.manual_seed(0)
    model = CompressedVideoRecognizer(5, residual_channels=6, dropout=0.0)
    clip = make_clip(batch=3)

    def run(where: torch.device) -> list[Tensor]:
        moved = model.to(where)
        logits = moved(clip.to(where))
        loss = logits.square().sum()
        gradients = torch.autograd.grad(loss, [*moved.heads.parameters(), moved.modulation.weight])
        return [logits.detach().cpu(), *(gradient.cpu() for gradient in gradients)]

    expected = run(torch.device("cpu"))
    for found, wanted in zip(run(device), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=TOLERANCE, atol=TOLERANCE * float(wanted.abs().max()))


def test_under_bf16_autocast_the_model_gives_about_the_logits_of_float32(device) -> None:
    torch.manual_seed(0)
    model = CompressedVideoRecognizer(5, residual_channels=6).to(device).eval()
    clip = make_clip(batch=8).to(device)
    with torch.inference_mode():
        exact = model(clip)
        with torch.autocast(device.type, torch.bfloat16):
            rounded = model(clip).float()
    assert (rounded - exact).norm() < 0.1 * exact.norm()
