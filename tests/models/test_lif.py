"""Each way to run the neurons gives the results and the gradients of the equations."""

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from helpers.lif_cases import CHANNELS, SEQUENCES, SIDE, STEPS, SURROGATES, Case
from helpers.lif_oracle import SMOOTH, distances, reference
from torch import Tensor

from cvr_lightning.models import lif_cpu, lif_plain
from cvr_lightning.models.lif_plain import Outcome, Start
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.models.surrogates import Surrogate, SurrogateSpike

WAYS = {"plain": lif_plain.integrate, "fused on the CPU": lif_cpu.integrate}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize(("static", "rest"), [(False, False), (True, False), (False, True)])
def test_results_and_gradients_are_those_of_the_equations(
    way: str, surrogate: Surrogate, static: bool, rest: bool
) -> None:
    case = Case(static, rest)
    exact = case.double()
    margin = distances(exact.current, case.mask, exact.offset, exact.constants, exact.start).abs().min()
    assert margin > 1e-6  # no neuron stands so near its threshold that rounding decides
    outcome, expected = case.run(WAYS[way], surrogate), exact.run(reference, surrogate)
    assert torch.equal(outcome.spikes, expected[0].float())
    assert 0.1 < outcome.spikes.mean() < 0.9
    for state, wanted in zip(outcome[1:], expected[1:], strict=True):
        torch.testing.assert_close(state, wanted.float(), rtol=1e-5, atol=1e-5)
    pairs = zip(case.gradients(outcome), exact.gradients(expected), strict=False)  # none for a state at rest
    for gradient, wanted in pairs:
        torch.testing.assert_close(
            gradient.double(), wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max())
        )


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_surrogate_is_the_derivative_of_a_step_smoothed_from_0_to_1(surrogate: Surrogate) -> None:
    distance = torch.linspace(-3, 3, 31, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(SurrogateSpike.apply(distance, surrogate).sum(), distance)
    (expected,) = torch.autograd.grad(SMOOTH[surrogate](distance).sum(), distance)
    torch.testing.assert_close(gradient, expected)
    assert gradient.max() == pytest.approx(1)
    far = torch.tensor([-1e4, 1e4], dtype=torch.float64)
    assert float(SMOOTH[surrogate](far).diff()) == pytest.approx(1, abs=1e-3)


def test_an_unknown_surrogate_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown surrogate 'tent'; choose one of arctangent, sigmoid"):
        AdaptiveLIF(1, surrogate="tent")  # type: ignore[arg-type]


def test_forward_the_fused_pass_differs_from_the_plain_one_by_the_rounding_of_a_threshold() -> None:
    fused, plain = (Case().run(way) for way in WAYS.values())
    assert torch.equal(fused.spikes, plain.spikes)
    assert torch.equal(fused.trace, plain.trace)
    assert torch.equal(fused.readout, plain.readout)
    torch.testing.assert_close(fused.membrane, plain.membrane, rtol=0, atol=1e-6)


def test_a_window_cut_into_single_steps_gives_the_same_bits_and_gradients() -> None:
    case = Case()
    whole = case.run(lif_cpu.integrate)
    state, spikes = case.start, []
    for step in range(STEPS):
        one = slice(step, step + 1)
        end = lif_cpu.integrate(
            case.current[one], case.mask[one], case.offset, case.constants, state, "arctangent"
        )
        spikes.append(end.spikes)
        state = Start(*end[1:])
    cut = (torch.cat(spikes), *state)
    for left, right in zip(cut, whole, strict=True):
        assert torch.equal(left, right)
    for left, right in zip(case.gradients(cut), case.gradients(whole), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_threads_change_no_bit(threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lif_cpu, "GRAIN", 100)
    case = Case()
    found = []
    for number in (1, 3, 3):
        threads(number)
        outcome = case.run(lif_cpu.integrate)
        found.append([*outcome, *case.gradients(outcome)])
    for first, second, third in zip(*found, strict=True):
        assert torch.equal(first, second)
        assert torch.equal(second, third)


def _child(connection: Any) -> None:
    connection.send(int(Case().run(lif_cpu.integrate).spikes.count_nonzero()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
def test_a_forked_process_has_threads_of_its_own(
    threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lif_cpu, "GRAIN", 100)
    threads(2)
    expected = int(Case().run(lif_cpu.integrate).spikes.count_nonzero())
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe()
    child = fork.Process(target=_child, args=(sender,))
    child.start()
    assert receiver.poll(60)
    assert receiver.recv() == expected
    child.join()


def test_the_inputs_are_left_as_they_were() -> None:
    case = Case()
    before = [tensor.clone() for tensor in case.inputs]
    case.gradients(case.run(lif_cpu.integrate))
    for tensor, copy in zip(case.inputs, before, strict=True):
        assert torch.equal(tensor, copy)


def test_a_gradient_of_one_output_alone_is_enough() -> None:
    case = Case(rest=True)
    for place, name in enumerate(Outcome._fields):
        fused, plain = (
            torch.autograd.grad(case.run(way)[place].square().sum(), case.inputs) for way in WAYS.values()
        )
        for left, right in zip(fused, plain, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("way", WAYS)
def test_a_state_that_is_not_kept_changes_nothing_else(way: str) -> None:
    case, other = Case(), Case()
    kept, dropped = case.run(WAYS[way]), other.run(WAYS[way], keep_state=False)
    assert dropped.membrane is dropped.trace is None
    assert torch.equal(dropped.spikes, kept.spikes)
    assert torch.equal(dropped.readout, kept.readout)
    gradients = (
        torch.autograd.grad([outcome.spikes.sum(), outcome.readout.square().sum()], inputs)
        for outcome, inputs in ((kept, case.inputs), (dropped, other.inputs))
    )
    for left, right in zip(*gradients, strict=True):
        assert torch.equal(left, right)


def saved_bytes(run: Callable[[], object]) -> int:
    """Bytes of the storages that autograd keeps for the backward pass, each counted once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        held.append(storage)
        return tensor

    held: list[object] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(kept.values())


@pytest.mark.parametrize("rest", [True, False])
def test_for_the_backward_pass_the_inputs_alone_are_kept(rest: bool) -> None:
    """4 bytes for each neuron and step, 4 for each neuron, and 12 more where a state was passed in.

    The plain equations keep six numbers for each neuron and step.
    """
    neurons = SEQUENCES * CHANNELS * SIDE * SIDE
    for steps in (2, 7, 16):
        case = Case(rest=rest, steps=steps)
        expected = 4 * neurons * (steps + (1 if rest else 4)) + case.mask.numel() + 5 * 4 * CHANNELS
        assert saved_bytes(lambda case=case: case.run(lif_cpu.integrate)) == expected
        assert saved_bytes(lambda case=case: case.run(lif_plain.integrate, recompute=True)) == expected
        assert saved_bytes(lambda case=case: case.run(lif_plain.integrate)) > 6 * 4 * neurons * steps


def test_computing_the_steps_again_changes_no_bit_of_the_gradients() -> None:
    case = Case()
    kept = case.gradients(case.run(lif_plain.integrate))
    again = case.gradients(case.run(lif_plain.integrate, recompute=True))
    for left, right in zip(kept, again, strict=True):
        assert torch.equal(left, right)


def test_a_compiler_gets_one_graph_with_the_same_results() -> None:
    neurons = AdaptiveLIF(CHANNELS)
    case = Case()
    compiled = torch.compile(neurons, backend="aot_eager", fullgraph=True)
    expected, _, state = neurons(case.current, case.mask)
    spikes, _, end = compiled(case.current, case.mask)
    assert torch.equal(spikes, expected)
    assert torch.equal(end.membrane, state.membrane)
    (left,), (right,) = (torch.autograd.grad(out.sum(), case.current) for out in (spikes, expected))
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
