import json
from pathlib import Path

import pytest
from helpers.encoders import encode

from cvr_lightning.cli.main import main


def test_the_preset_small_costs_what_its_budget_says(capsys: pytest.CaptureFixture[str]) -> None:
    main(["summarize", "--preset", "small", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["gmac_per_video"] <= 3
    assert result["energy_j_per_video"]["theoretical"] <= 0.02
    assert sum(result["gmac_by_part"].values()) == pytest.approx(result["gmac_per_video"])
    assert result["effective_gac_per_video"] > 0
    assert set(result["spikes_per_neuron"]) == {
        f"pframe_encoder.layers.layer{number}.modulator.neurons" for number in (1, 2, 3, 4)
    }
    assert result["break_even_spikes"] == pytest.approx(4.6 / 0.9)
    assert all(spikes < result["break_even_spikes"] for spikes in result["spikes_per_neuron"].values())


def test_spikes_are_counted_on_the_given_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = str(encode(tmp_path / "clip.mp4", (340, 256), frames=26))
    main(["summarize", "--preset", "tiny", "--json", video])
    moving = json.loads(capsys.readouterr().out)
    main(["summarize", "--preset", "tiny", video])
    text = capsys.readouterr().out
    assert "1 x 1 crops of 8 segments x 3 P-frames, 160 px; spikes counted on 1 given video\n" in text
    assert "spikes of a neuron in 3 steps" in text
    verdict = "spikes/neuron (< 5.1: cheaper than a ReLU)"
    assert all(f"{spikes:.2f} {verdict}" in text for spikes in moving["spikes_per_neuron"].values())
    assert f"{1e3 * moving['energy_j_per_video']['theoretical']:.2f}" in text
    assert 0 < moving["activation_sparsity"] < 1


def test_a_model_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["summarize"])
    assert "--preset --checkpoint" in capsys.readouterr().err
