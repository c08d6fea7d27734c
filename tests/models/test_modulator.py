"""Parts of the modulator: an ablated one leaves no parameters behind."""

import pytest
import torch

from cvr_lightning.energy.counting import OperationCounter
from cvr_lightning.models.iframe_encoder import IFrameFeatures
from cvr_lightning.models.modulator import ModulatorOptions, ReLUModulator, SpikingTemporalModulator
from cvr_lightning.models.pframe_encoder import PFrameEncoder, PFrames, StreamConv2d

STEPS, SEGMENTS, CHANNELS, SIDE = 4, 2, 3, 6
VARIANTS = [
    ModulatorOptions(),
    ModulatorOptions(levels=4),
    ModulatorOptions(adaptation=False),
    ModulatorOptions(iframe_term=False),
    ModulatorOptions(adaptation=False, iframe_term=False, checkpoint_activations=True),
    ModulatorOptions(spiking=False),
]


def encoder(options: ModulatorOptions | None = None) -> PFrameEncoder:
    torch.manual_seed(0)
    return PFrameEncoder(7, 2, (8, 12), (5, 6), modulator=options)


def inputs() -> tuple[PFrames, IFrameFeatures]:
    torch.manual_seed(1)
    iframe = IFrameFeatures(torch.randn(SEGMENTS, 5, 4, 4), torch.randn(SEGMENTS, 6, 2, 2))
    mask = torch.ones(STEPS, SEGMENTS, dtype=torch.bool)
    mask[2, 1] = False
    camera = torch.randn(STEPS, SEGMENTS, 2) * mask[..., None]
    return PFrames(torch.randn(STEPS, SEGMENTS, 7, 8, 8), mask, camera), iframe


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_every_parameter_that_is_left_gets_a_gradient(options: ModulatorOptions) -> None:
    model = encoder(options)
    model(*inputs()).readout.sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_two_windows_with_the_state_carried_over_equal_one(options: ModulatorOptions) -> None:
    pframes, iframe = inputs()
    model = encoder(options).eval()
    torch.nn.init.normal_(model.global_motion_current.weight)
    with torch.no_grad():
        whole = model(pframes, iframe)
        first = model(PFrames(*(field[:3] for field in pframes)), iframe)
        second = model(PFrames(*(field[3:] for field in pframes)), iframe, first.state)
    assert torch.equal(second.readout, whole.readout)


def names(options: ModulatorOptions) -> set[str]:
    return {name for name, _ in SpikingTemporalModulator(CHANNELS, 5, options).named_parameters()}


def test_an_ablated_component_has_no_parameters() -> None:
    whole = names(ModulatorOptions())
    assert whole - names(ModulatorOptions(adaptation=False)) == {"neurons.adaptation", "neurons.trace_decay"}
    assert whole - names(ModulatorOptions(iframe_term=False)) == {"iframe_term.weight", "iframe_term.bias"}
    assert {name for name, _ in ReLUModulator(CHANNELS).named_parameters()} == {"readout.decay"}


def test_without_adaptation_the_threshold_is_constant() -> None:
    """A current just above the threshold and no memory of the membrane: a spike at every step."""
    modulator = SpikingTemporalModulator(1, 1, ModulatorOptions(adaptation=False))
    modulator.neurons.leak.data.fill_(-100)
    current = torch.full((50, 1, 1, 1, 1), 1.001)
    mask = torch.ones(50, 1, dtype=torch.bool)
    spikes, _, state = modulator(current, torch.zeros(1, 1, 1, 1), mask)
    assert spikes.sum() == 50
    assert state.neurons.trace.count_nonzero() == 0
    adapting = SpikingTemporalModulator(1, 1)
    adapting.neurons.leak.data.fill_(-100)
    assert adapting(current, torch.zeros(1, 1, 1, 1), mask).spikes.sum() < 50


def test_without_its_term_the_iframe_has_no_effect() -> None:
    torch.manual_seed(0)
    modulator = SpikingTemporalModulator(CHANNELS, 5, ModulatorOptions(iframe_term=False))
    current = torch.randn(STEPS, SEGMENTS, CHANNELS, SIDE, SIDE)
    mask = torch.ones(STEPS, SEGMENTS, dtype=torch.bool)
    one, other = (modulator(current, torch.randn(SEGMENTS, 5, SIDE, SIDE), mask) for _ in range(2))
    assert torch.equal(one.readout, other.readout)


def test_values_and_currents_are_read_out_as_leaky_means() -> None:
    """By arithmetic; a P-frame that does not exist changes nothing."""
    modulator = ReLUModulator(1)
    modulator.readout.decay.data.fill_(1.0986123)  # its sigmoid is 3/4
    current = torch.tensor([4.0, -2.0, 100.0, 8.0]).view(4, 1, 1, 1, 1)
    mask = torch.tensor([True, True, False, True]).view(4, 1)
    values, readout, state = modulator(current, torch.zeros(1, 1, 1, 1), mask)
    assert values.flatten().tolist() == [4, 0, 0, 8]
    rectified = ((4 / 4) * 0.75) * 0.75 + 8 / 4
    as_they_are = ((4 / 4) * 0.75 - 2 / 4) * 0.75 + 8 / 4
    assert readout.flatten().tolist() == pytest.approx([rectified, as_they_are], abs=1e-5)
    assert (state.readout.item(), state.current_readout.item()) == pytest.approx(
        (rectified, as_they_are), abs=1e-5
    )


def test_the_current_readout_is_that_of_neurons_that_never_fire() -> None:
    torch.manual_seed(0)
    modulator = SpikingTemporalModulator(CHANNELS, 5)
    current = torch.randn(STEPS, SEGMENTS, CHANNELS, SIDE, SIDE)
    mask = torch.ones(STEPS, SEGMENTS, dtype=torch.bool)
    modulator.neurons.threshold.data.fill_(1e3)
    decay = torch.sigmoid(modulator.readout.decay)
    modulator.neurons.leak.data.copy_(modulator.readout.decay)
    spikes, readout, state = modulator(current, torch.zeros(SEGMENTS, 5, SIDE, SIDE), mask)
    assert spikes.count_nonzero() == 0
    torch.testing.assert_close(readout[:, CHANNELS:], (1 - decay) * state.neurons.membrane)


def test_without_current_readout_only_spikes_are_read_out() -> None:
    modulator = SpikingTemporalModulator(CHANNELS, 5, ModulatorOptions(current_readout=False))
    current = torch.randn(STEPS, SEGMENTS, CHANNELS, SIDE, SIDE)
    mask = torch.ones(STEPS, SEGMENTS, dtype=torch.bool)
    _, readout, state = modulator(current, torch.zeros(SEGMENTS, 5, SIDE, SIDE), mask)
    assert torch.equal(readout, state.readout)
    assert state.current_readout is None


def test_motion_and_residual_drive_neurons_of_their_own() -> None:
    layer = StreamConv2d(2, 7, 8, stride=2, gain=1.0)
    features = torch.randn(3, 7, 8, 8)
    expected = layer(features)
    both, motion, residual = slice(0, 0), slice(0, 4), slice(4, 8)
    for changed, kept in ((slice(0, 2), residual), (slice(2, 6), motion), (slice(6, 7), both)):
        other = features.clone()
        other[:, changed] += 1
        same = (layer(other) == expected).all(dim=(0, 2, 3))
        assert same[kept].all()
        assert same.sum() == len(same[kept])


def test_a_neuron_fires_as_often_as_its_membrane_holds_the_threshold() -> None:
    modulator = SpikingTemporalModulator(1, 1, ModulatorOptions(adaptation=False, levels=4))
    modulator.neurons.leak.data.fill_(-100)  # no memory of the membrane
    current = torch.tensor([-1.0, 0.3, 0.6, 1.2, 1.7, 9.0]).view(6, 1, 1, 1, 1)
    spikes = modulator(current, torch.zeros(1, 1, 1, 1), torch.ones(6, 1, dtype=torch.bool)).spikes
    assert spikes.flatten().tolist() == [0, 0, 1, 2, 3, 4]  # of thresholds of 1/2


def test_each_spike_of_a_count_is_an_accumulation() -> None:
    pframes, iframe = inputs()
    acs, spikes = [], []
    for levels in (1, 4):
        model = encoder(ModulatorOptions(levels=levels))
        seen = []
        model.layers["layer1"].modulator.neurons.register_forward_hook(
            lambda _, __, fired, seen=seen: seen.append(fired.spikes)
        )
        with torch.no_grad(), OperationCounter(model) as counter:
            model(pframes, iframe)
        report = counter.report(1)
        layers = {layer.name: layer for layer in report.layers}
        # Each spike of the first layer meets at most 3 x 3 taps of 8 channels.
        assert 0 < layers["layers.layer2.conv"].effective_acs <= 8 * 9 * float(seen[0].sum())
        assert report.spiking_layers()["layers.layer1.modulator.neurons"] == pytest.approx(
            float(seen[0].sum()) / seen[0][0].numel()
        )
        assert 0 <= report.activation_sparsity <= 1
        acs.append(report.effective_gac)
        spikes.append(float(seen[0].sum()))
    assert spikes[1] > spikes[0]
    assert acs[1] > acs[0]


def test_a_layer_fed_by_a_relu_multiplies() -> None:
    pframes, iframe = inputs()
    reports = []
    for options in (ModulatorOptions(), ModulatorOptions(spiking=False)):
        model = encoder(options)
        with torch.no_grad(), OperationCounter(model) as counter:
            model(pframes, iframe)
        reports.append(counter.report(1))
    assert reports[0].effective_gac > 0
    assert reports[1].effective_gac == 0
    assert reports[1].activation_sparsity is None
    assert reports[1].spiking_layers() == {}


def test_neurons_without_adaptation_cost_a_third() -> None:
    pframes, iframe = inputs()
    dense = {}
    for adaptation in (True, False):
        model = encoder(ModulatorOptions(adaptation=adaptation))
        with torch.no_grad(), OperationCounter(model) as counter:
            model(pframes, iframe)
        layers = {layer.name: layer.dense for layer in counter.report(1).layers}
        dense[adaptation] = layers["layers.layer1.modulator.neurons"]
    assert dense[True] == 3 * dense[False] > 0
