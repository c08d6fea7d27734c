"""The numbers of the spikes, against arithmetic."""

from __future__ import annotations

import pytest
import torch

from cvr_lightning.callbacks import SpikeSparsity
from cvr_lightning.callbacks.sparsity import rate_by_channel, spike_scalars
from cvr_lightning.plots.spikes import distinct_names


def spikes_of(rates: list[float], steps: int = 4) -> torch.Tensor:
    """(T, M=1, C, 1, 10): each channel fires at that fraction of its places, in every step."""
    spikes = torch.zeros(steps, 1, len(rates), 1, 10)
    for channel, rate in enumerate(rates):
        spikes[:, :, channel, :, : round(10 * rate)] = 1
    return spikes


def test_rates_sparsity_dead_and_saturated_by_hand() -> None:
    layers = {"one": spikes_of([0.0, 1.0, 0.5, 0.1]), "two": spikes_of([0.2, 0.2], steps=8)}
    assert rate_by_channel(layers["one"]).tolist() == pytest.approx([0.0, 1.0, 0.5, 0.1])
    scalars = spike_scalars(layers, saturated=0.95, levels={"one": 1, "two": 4})
    # one: 160 outputs, 64 spikes; two: 160 outputs, 32 spikes.
    assert scalars == pytest.approx(
        {
            "activation_sparsity": 1 - 96 / 320,
            "one/rate": 0.4,
            "one/activation_sparsity": 0.6,
            "one/per_neuron": 1.6,
            "one/dead": 0.25,
            "one/saturated": 0.25,
            "two/rate": 0.2,
            "two/activation_sparsity": 0.8,
            "two/per_neuron": 6.4,
            "two/dead": 0.0,
            "two/saturated": 0.0,
        }
    )


def test_half_precision_counts_as_exactly_as_single() -> None:
    spikes = (torch.rand(8, 4, 3, 40, 40, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    assert torch.equal(rate_by_channel(spikes), rate_by_channel(spikes.bfloat16()))


def test_a_model_without_spiking_layers_has_no_scalars() -> None:
    assert spike_scalars({}, saturated=0.95, levels={}) == {}


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["p.modulator1.neurons", "p.modulator2.neurons"], ["modulator1", "modulator2"]),
        (["p.neurons"], ["p.neurons"]),
        (["a", "a.b"], ["a", "a.b"]),
        (["p.low.0.lif", "p.low.1.lif", "p.high.0.lif"], ["low.0", "low.1", "high.0"]),
        ([], []),
    ],
)
def test_layers_are_named_by_their_distinct_parts(names: list[str], short: list[str]) -> None:
    assert distinct_names(names) == short


@pytest.mark.parametrize("options", [{"every_n_steps": 0}, {"clips": -1}, {"saturated": 0.0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        SpikeSparsity(**options)  # type: ignore[arg-type]
