import pytest
import torch
from helpers.factories import make_clip
from torch import nn

from cvr_lightning.energy.costs import CostTable, co2_grams
from cvr_lightning.energy.counting import OperationCounter
from cvr_lightning.energy.per_video import cost_results, count_clips
from cvr_lightning.energy.table import spikes_text
from cvr_lightning.models import PRESETS, CompressedVideoRecognizer, Preset
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.models.pframe_encoder import StandardizedConv2d
from cvr_lightning.models.transformer import SelfAttention


def count(model: nn.Module, *inputs: torch.Tensor, videos: int = 1):
    with torch.no_grad(), OperationCounter(model) as counter:
        model(*inputs)
    return counter.report(videos)


def test_layers_cost_what_their_formulas_give() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(6, 4)
    )
    report = count(net, torch.rand(2, 3, 8, 8) + 0.1, videos=2)
    dense = [layer.dense for layer in report.layers]
    assert dense == [2 * 8 * 64 * 27, 2 * 8 * 36 * 9, 2 * 8 * 6 * 4 * 6]
    assert report.gmac == pytest.approx(sum(dense) / 2 / 1e9)


def test_a_convolution_in_space_alone_counts_as_on_each_frame() -> None:
    frames = torch.relu(torch.randn(2, 4, 5, 9, 8))  # (B, C, T, H, W), half of it zero
    volume = count(nn.Conv3d(4, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1), groups=2, bias=False), frames)
    plane = nn.Conv2d(4, 6, 3, 2, 1, groups=2, bias=False)
    by_frame = count(plane, frames.transpose(1, 2).flatten(0, 1))
    assert (volume.gmac, volume.energy_j) == (by_frame.gmac, by_frame.energy_j)
    assert volume.synaptic_operations() == by_frame.synaptic_operations()


def test_a_small_network_by_neurobench_definitions() -> None:
    """Counts by hand: Dense without padding, effective ones of non-zero weights and inputs alone."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    nn.init.ones_(net[0].weight)
    nn.init.ones_(net[3].weight)
    net[0].weight.data[1, 0, 0, 0] = 0  # the tap up and left of the second channel
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 0, 0] = 1  # a spike in the corner
    with (
        torch.no_grad(),
        pytest.warns(UserWarning, match="ReLU"),
        OperationCounter(net, strict=False) as counter,
    ):
        net(image)
    conv, linear = counter.report(videos=1).layers
    # A corner is within the kernel of 4 places, an edge of 6, the middle of 9; the field counts 9 everywhere.
    assert (conv.synapses, conv.dense) == (2 * (4 * 4 + 4 * 6 + 9), 2 * 9 * 9)
    # Four places of either channel meet the corner; in the second the middle one does so by the missing tap.
    assert (conv.effective_macs, conv.effective_acs) == (0, 4 + 3)
    # These 7 places are 1: spikes again. The other 11 inputs of the linear layer are zero.
    assert (linear.synapses, linear.effective_macs, linear.effective_acs) == (36, 0, 2 * 7)
    assert counter.report(videos=1).synaptic_operations() == {
        "Dense": 98 + 36,
        "Effective_MACs": 0,
        "Effective_ACs": 7 + 14,
    }
    with (
        torch.no_grad(),
        pytest.warns(UserWarning, match="ReLU"),
        OperationCounter(net, strict=False) as counter,
    ):
        net(image / 2)  # the same places, no longer spikes
    assert counter.report(videos=1).synaptic_operations()["Effective_MACs"] == 21


def test_kernels_computed_from_weights_count_whole() -> None:
    """A zero in a weight that is standardized is no zero in the kernel."""
    layer = StandardizedConv2d(1, 1, stride=1, gain=1.0)
    layer.weight.data[0, 0, 0, 0] = 0
    assert count(layer, torch.full((1, 1, 5, 5), 2.0)).effective_gmac == pytest.approx(
        169e-9
    )  # (5 * 3 - 2) ** 2


def test_attention_products_are_counted() -> None:
    attention = SelfAttention(width=8, heads=2, exchange=True)
    exists, modality = torch.ones(1, 5, dtype=torch.bool), torch.tensor([0, 0, 1, 1, 1])
    report = count(attention, torch.rand(1, 5, 8), exists, modality)
    assert sum(layer.dense for layer in report.layers) == 5 * 8 * 24 + 5 * 8 * 8 + 2 * 5 * 5 * 8


def test_a_layer_fed_by_spikes_accumulates() -> None:
    layer = nn.Linear(10, 3, bias=False)
    spikes = torch.zeros(4, 10)
    spikes[:, :3] = 1
    report = count(layer, spikes)
    assert report.effective_gmac == 0
    assert report.effective_gac == pytest.approx(0.3 * 4 * 10 * 3 / 1e9)
    assert report.energy_j == pytest.approx(0.3 * 120 * 0.9e-12)


def test_zero_spikes_cost_nothing_and_leave_dense_unchanged() -> None:
    report = count(nn.Linear(10, 3), torch.zeros(4, 10))
    assert (report.effective_gac, report.effective_gmac, report.energy_j) == (0, 0, 0)
    assert report.gmac == pytest.approx(120e-9)


def test_a_sparser_input_never_costs_more() -> None:
    layer, dense = nn.Linear(100, 50), torch.rand(8, 100) + 0.5
    energies = [count(layer, dense * (torch.rand(8, 100) < ratio)).energy_j for ratio in (1.0, 0.6, 0.3, 0.0)]
    assert energies == sorted(energies, reverse=True)


def test_rates_are_those_of_the_neurons() -> None:
    neurons = AdaptiveLIF(2)
    current = torch.zeros(5, 1, 2, 2, 2)
    current[:, :, 0] = 100.0  # channel 0 fires in each of the 5 steps, channel 1 never
    report = count(neurons, current, torch.ones(5, 1, dtype=torch.bool))
    assert report.activation_sparsity == 0.5
    assert report.spiking_layers() == {"": 2.5}


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (5, "5.00 spikes/neuron (< 5.1: cheaper than a ReLU)"),
        (6, "6.00 spikes/neuron (>= 5.1: more costly than a ReLU)"),
    ],
)
def test_a_layer_that_spikes_too_often_is_reported_as_more_costly(steps: int, says: str) -> None:
    report = count(AdaptiveLIF(1), torch.full((steps, 1, 1, 1, 1), 100.0), torch.ones(steps, 1).bool())
    results = cost_results(report, clips=1)
    assert spikes_text(results["spikes_per_neuron"][""], results["break_even_spikes"]) == says


def test_the_parts_of_the_model_add_up() -> None:
    model = CompressedVideoRecognizer(5, residual_channels=6).eval()
    report = count(model, make_clip(), videos=2)
    assert sum(report.gmac_by_part().values()) == pytest.approx(report.gmac)
    assert sum(report.energy_by_part().values()) == pytest.approx(report.energy_j)
    assert report.synaptic_operations()["Dense"] < 1e9 * report.gmac  # no padding, attention or neurons
    assert report.effective_gmac + report.effective_gac <= report.gmac
    own = CostTable(mac_pj=2.0, ac_pj=1.0, source="test")
    with OperationCounter(model) as counter, torch.no_grad():
        model(make_clip())
    energy = counter.report(2, own).energy_j
    assert energy == pytest.approx((2 * report.effective_gmac + report.effective_gac) * 1e-3)


@pytest.mark.parametrize(("preset", "gmac"), [("tiny", 0.5), ("lite", 3.0), ("small", 3.0), ("base", 25.0)])
def test_presets_keep_their_budgets(preset: Preset, gmac: float) -> None:
    model = CompressedVideoRecognizer(101, preset=preset).eval()
    clip = make_clip(batch=1, iframes=8, segments=8, pframes=3, side=PRESETS[preset].crop, channels=24)
    report = count(model, clip)
    assert 0.4 * gmac < report.gmac <= gmac
    if preset in ("lite", "small"):
        assert report.energy_j <= 0.02


def test_an_unsupported_layer_is_an_error_or_named_once() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Bilinear(2, 2, 2))
    with pytest.raises(TypeError, match=r"1 \(Bilinear\)"), OperationCounter(net):
        pass
    with pytest.warns(UserWarning, match=r"1 \(Bilinear\)"), OperationCounter(net, strict=False):
        pass


def test_an_unknown_cost_table_is_refused_with_a_list() -> None:
    with pytest.raises(ValueError, match="45nm-fp32"):
        OperationCounter(nn.Linear(1, 1)).report(1, "7nm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="energies must not be negative"):
        OperationCounter(nn.Linear(1, 1)).report(1, CostTable(mac_pj=-1, ac_pj=1, source="test"))


def test_operations_of_a_clip_are_the_same_whatever_its_iframes_and_its_batch() -> None:
    model = CompressedVideoRecognizer(5, residual_channels=6).eval()
    shared, distinct = make_clip(batch=3, iframes=1), make_clip(batch=1, iframes=3)
    one, other = count_clips(model, [shared]), count_clips(model, [distinct])
    assert one.gmac == other.gmac
    assert one.synaptic_operations()["Dense"] == other.synaptic_operations()["Dense"]
    assert len(shared.iframes[0]) == 1  # the batch itself is left as it was
    assert cost_results(one, clips=10)["gmac_per_video"] == pytest.approx(10 * other.gmac)


def test_memory_accesses_by_hand() -> None:
    """Four bytes per use of a weight, bias and state: 24.96 pJ each byte."""
    layer, spikes = nn.Linear(10, 3), torch.zeros(4, 10)
    spikes[:, :2] = 1
    of_bias = 4 * 3
    assert count(layer, spikes).memory_j == pytest.approx((4 * 2 * 3 + of_bias) * 4 * 24.96e-12)
    real = torch.rand(4, 10) + 0.1
    assert count(layer, real).memory_j == pytest.approx((4 * 10 * 3 + of_bias) * 4 * 24.96e-12)
    current, alive = torch.zeros(5, 1, 2, 3, 3), torch.ones(5, 1, dtype=torch.bool)
    for adaptation, states in ((0.2, 2), (None, 1)):
        neurons = AdaptiveLIF(2, adaptation=adaptation)
        accesses = 2 * states * current.numel()  # a read and a write in each step
        assert count(neurons, current, alive).memory_j == pytest.approx(accesses * 4 * 24.96e-12)


def test_memory_accesses_are_a_number_of_their_own() -> None:
    model = CompressedVideoRecognizer(5, residual_channels=6).eval()
    report = count_clips(model, [make_clip(batch=1)])
    assert sum(report.memory_by_part().values()) == pytest.approx(report.memory_j)
    costs = cost_results(report, clips=3)["energy_j_per_video"]
    assert costs["memory_access"] == pytest.approx(3 * report.memory_j)
    assert costs["theoretical"] == pytest.approx(sum(costs["by_part"].values()))  # without memory


def test_joules_become_co2_by_the_given_factor_alone() -> None:
    assert co2_grams(7.2e6, grams_per_kwh=400.0) == 800.0
