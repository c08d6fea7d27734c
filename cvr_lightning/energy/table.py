"""The energy table of a run: theoretical energy by component, measured energy, and what each includes."""

from __future__ import annotations

from typing import Any

from cvr_lightning.files.printable import align, counted

NOT_MEASURED = "not measured"


def energy_table(costs: dict[str, Any], training: dict[str, Any]) -> str:
    """Format energies as aligned text.

    Args:
        costs: Costs from :func:`cvr_lightning.energy.per_video.cost_results`.
        training: ``training_energy`` of results.json.
    """
    energy = costs["energy_j_per_video"]
    total, memory = energy["theoretical"], energy["memory_by_part"]
    rows = [["energy per video, theoretical", "mJ", "fraction", "memory access, mJ"]]
    rows += [
        [
            f"  {part}",
            f"{1e3 * joules:.4f}",
            f"{100 * joules / total:.1f} %" if total else "-",
            f"{1e3 * memory[part]:.4f}",
        ]
        for part, joules in energy["by_part"].items()
    ]
    operations = costs["synaptic_operations_per_video"]
    rows += [
        ["  all", f"{1e3 * total:.4f}", "", f"{1e3 * energy['memory_access']:.4f}"],
        ["  one view", f"{1e3 * energy['theoretical_per_view']:.4f}", ""],
        ["synaptic operations per video", "1e6", ""],
        *([f"  {name}", f"{1e-6 * count:.2f}", ""] for name, count in operations.items()),
        ["energy, measured", "J", ""],
        ["  per video, test", _joules(energy["measured"]), ""],
        ["  per video, training", _joules(training["measured_j_per_video"]), ""],
        [
            f"  training, {counted(training['epochs'], 'epoch')}",
            _joules(training["measured_j"]),
            "",
        ],
    ]
    if "co2_g" in training:
        factor = f"at {training['co2_g_per_kwh']:g} g/kWh"
        rows.append(["  training, CO2", f"{training['co2_g']:.3f} g", factor])
    notes = [
        f"  theoretical: {energy['includes']}",
        f"  memory access: {energy['memory_includes']}",
        f"  measured: {energy['measured_includes']}",
    ]
    return "\n".join([align([row + [""] * (4 - len(row)) for row in rows]), *notes])


def _joules(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.3f}"


def spikes_text(spikes: float, break_even: float) -> str:
    """Spikes per neuron and window of a layer, and whether they cost less than multiplications.

    A real-valued layer multiplies once per window; one with spikes as input accumulates rate times T times.
    """
    is_cheap = spikes < break_even
    verdict = f"< {break_even:.1f}: cheaper" if is_cheap else f">= {break_even:.1f}: more costly"
    return f"{spikes:.2f} spikes/neuron ({verdict} than a ReLU)"
