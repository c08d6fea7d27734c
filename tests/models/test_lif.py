"""Each way to run the neurons gives the results and the gradients of the equations."""

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from helpers.lif_cases import CHANNELS, SEQUENCES, SIDE, STEPS, Case
from helpers.lif_oracle import distances, reference
from torch import Tensor

from cvr_lightning.models.neurons import AdaptiveLIF, cpu, equations

WAYS = {"plain": equations.integrate, "compiled for the CPU": cpu.integrate}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("levels", [1, 2, 4])
@pytest.mark.parametrize("rest", [False, True])
def test_results_and_gradients_are_those_of_the_equations(way: str, rest: bool, levels: int) -> None:
    case = Case(rest)
    exact = case.double()
    inputs = (exact.current, case.mask, exact.threshold, exact.constants, exact.start)
    margin = distances(*inputs, levels).abs().min()
    assert margin > 1e-6  # no neuron stands so near its threshold that rounding decides
    outcome, expected = case.run(WAYS[way], levels=levels), exact.run(reference, levels=levels)
    assert torch.equal(outcome[0], expected[0].float())
    assert 0.1 < outcome[0].mean() < 0.9
    assert outcome[0].unique().tolist() == list(range(levels + 1))
    for state, wanted in zip(outcome[1:], expected[1:], strict=True):
        torch.testing.assert_close(state, wanted.float(), rtol=1e-5, atol=1e-5)
    pairs = zip(case.gradients(outcome), exact.gradients(expected), strict=False)  # none for a state at rest
    for gradient, wanted in pairs:
        torch.testing.assert_close(
            gradient.double(), wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max())
        )


def test_thresholds_of_any_size_are_softened_as_the_equations_do() -> None:
    """Currents of zero and no adaptation: what the membrane lacks to a spike is the threshold."""
    raw = torch.linspace(-100, 100, 4001).view(1, 4001, 1, 1).requires_grad_()
    current = torch.full((1, 1, 4001, 1, 1), 1e3)
    alive, constants = torch.ones(1, 1, dtype=torch.bool), torch.zeros(4, 4001)
    _, _, state = cpu.integrate(current, alive, raw, constants, None)
    exact = torch.nn.functional.softplus(raw.double(), threshold=1e9)
    torch.testing.assert_close(1e3 - state[0].double(), exact, rtol=1e-6, atol=1e-4)
    (slope,) = torch.autograd.grad(-state[0].sum(), raw)
    torch.testing.assert_close(slope.double(), torch.sigmoid(raw.double()), rtol=1e-3, atol=1e-3)


def test_forward_the_compiled_pass_differs_from_the_plain_one_by_the_rounding_of_a_threshold() -> None:
    compiled, plain = (Case().run(way) for way in WAYS.values())
    assert torch.equal(compiled[0], plain[0])
    assert torch.equal(compiled[1], plain[1])
    assert torch.equal(compiled[2][1], plain[2][1])  # the trace; then the membrane
    torch.testing.assert_close(compiled[2][0], plain[2][0], rtol=0, atol=1e-6)


def test_a_window_cut_into_single_steps_gives_the_same_bits_and_gradients() -> None:
    case = Case()
    whole = case.run(cpu.integrate)
    state, spikes = case.start, []
    for step in range(STEPS):
        one = slice(step, step + 1)
        fired, readout, end = cpu.integrate(
            case.current[one], case.mask[one], case.threshold, case.constants, state
        )
        spikes.append(fired)
        state = torch.cat([end, readout[None]])
    cut = (torch.cat(spikes), state[2], state[:2])
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
    monkeypatch.setattr(cpu, "GRAIN", 100)
    case = Case()
    found = []
    for number in (1, 3, 3):
        threads(number)
        outcome = case.run(cpu.integrate)
        found.append([*outcome, *case.gradients(outcome)])
    for first, second, third in zip(*found, strict=True):
        assert torch.equal(first, second)
        assert torch.equal(second, third)


def _child(connection: Any) -> None:
    connection.send(int(Case().run(cpu.integrate)[0].count_nonzero()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
def test_a_forked_process_has_threads_of_its_own(
    threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "GRAIN", 100)
    threads(2)
    expected = int(Case().run(cpu.integrate)[0].count_nonzero())
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
    case.gradients(case.run(cpu.integrate))
    for tensor, copy in zip(case.inputs, before, strict=True):
        assert torch.equal(tensor, copy)


def test_a_gradient_of_one_output_alone_is_enough() -> None:
    case = Case(rest=True)
    for place in range(3):
        compiled, plain = (
            torch.autograd.grad(case.run(way)[place].square().sum(), case.inputs) for way in WAYS.values()
        )
        for left, right in zip(compiled, plain, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_a_state_that_is_not_kept_changes_nothing_else(way: str) -> None:
    case, other = Case(), Case()
    kept, dropped = case.run(WAYS[way]), other.run(WAYS[way], keep_state=False)
    assert dropped[2] is None
    assert torch.equal(dropped[0], kept[0])
    assert torch.equal(dropped[1], kept[1])
    gradients = (
        torch.autograd.grad([outcome[0].sum(), outcome[1].square().sum()], inputs)
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

    The plain equations keep more than five numbers for each neuron and step.
    """
    neurons = SEQUENCES * CHANNELS * SIDE * SIDE
    for steps in (2, 7, 16):
        case = Case(rest=rest, steps=steps)
        expected = 4 * neurons * (steps + (1 if rest else 4)) + case.mask.numel() + 4 * 4 * CHANNELS
        assert saved_bytes(lambda case=case: case.run(cpu.integrate)) == expected
        assert (
            saved_bytes(lambda case=case: case.run(equations.integrate, checkpoint_activations=True))
            == expected
        )
        assert saved_bytes(lambda case=case: case.run(equations.integrate)) > 5 * 4 * neurons * steps


def test_computing_the_steps_again_changes_no_bit_of_the_gradients() -> None:
    case = Case()
    kept = case.gradients(case.run(equations.integrate))
    again = case.gradients(case.run(equations.integrate, checkpoint_activations=True))
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
