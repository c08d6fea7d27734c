"""The Triton kernels give the results of the plain pass: on a GPU, or interpreted on the CPU."""

import os

import pytest
import torch
from helpers.lif_cases import SURROGATES, Case

from cvr_lightning.models import lif_plain

pytest.importorskip("triton", reason="triton is not installed; it comes with torch's CUDA builds")


if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU; set TRITON_INTERPRET=1 to interpret the kernels", allow_module_level=True)

from cvr_lightning.models import lif_cuda

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize(("static", "rest"), [(False, False), (True, False), (False, True)])
def test_results_and_gradients_are_those_of_the_plain_pass(surrogate: str, static: bool, rest: bool) -> None:
    case = Case(static, rest, device=DEVICE)
    fused, plain = case.run(lif_cuda.integrate, surrogate), case.run(lif_plain.integrate, surrogate)
    assert torch.equal(fused.spikes, plain.spikes)
    for left, right in zip(fused, plain, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    for left, right in zip(case.gradients(fused), case.gradients(plain), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5 * float(right.abs().max()))


def test_a_gradient_of_one_output_alone_is_enough() -> None:
    case = Case(rest=True, device=DEVICE)
    for place in range(4):
        fused, plain = (
            torch.autograd.grad(case.run(way)[place].square().sum(), case.inputs)
            for way in (lif_cuda.integrate, lif_plain.integrate)
        )
        for left, right in zip(fused, plain, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5 * float(right.abs().max()))


def test_a_state_that_is_not_kept_changes_nothing_else() -> None:
    case = Case(device=DEVICE)
    kept, dropped = (case.run(lif_cuda.integrate, keep_state=keep) for keep in (True, False))
    assert dropped.membrane is dropped.trace is None
    assert torch.equal(dropped.spikes, kept.spikes)
    assert torch.equal(dropped.readout, kept.readout)
