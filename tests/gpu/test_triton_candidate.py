"""The Triton kernels of the benchmark give the results of the equations: on a GPU, or interpreted."""

import os
from pathlib import Path

import pytest
import torch
from helpers.lif_cases import Case

from cvr_lightning.models.neurons import equations

pytestmark = pytest.mark.gpu


@pytest.fixture
def candidate(device, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("triton", reason="triton is not installed; it comes with PyTorch's CUDA builds")
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton needs a GPU; TRITON_INTERPRET=1 interprets its kernels on the CPU")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import gpu_triton

    return gpu_triton


@pytest.mark.parametrize("levels", [1, 4])
def test_the_candidate_gives_results_and_gradients_of_the_equations(candidate, device, levels: int) -> None:
    case = Case(rest=True).on(device)

    def integrate(*inputs, levels):
        return (*candidate.integrate(*inputs[:4], levels), torch.zeros_like(case.weights[2]))

    found = case.run(integrate, levels=levels)
    expected = case.run(equations.integrate, levels=levels)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-5)
    wanted = case.gradients((*expected[:2], torch.zeros_like(case.weights[2])))
    for one, other in zip(case.gradients(found), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))
