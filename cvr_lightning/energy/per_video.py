"""Cost of a model per video: one definition for ``cvr summarize``, results.json and the energy callback.

A video costs its protocol's clips (temporal views x crops), each with all its P-frames and one I-frame per
segment. GMAC thus depends on model and protocol only; energy also depends on the spike rates of the measured
clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cvr_lightning.clip import CompressedClip
from cvr_lightning.energy.costs import CostTable, CostTableName
from cvr_lightning.energy.counting import OperationCounter, OperationReport

CLIPS = 8
"""Clips counted per batch, one by one, since work shared in a batch counts for each clip."""

NOT_COUNTED: dict[str, Any] = {
    "gmac_per_video": None,
    "energy_j_per_video": {"theoretical": None, "measured": None},
    "activation_sparsity": None,
}
"""Values of results.json if nothing was counted."""


@torch.no_grad()
def count_clips(
    recognizer: nn.Module,
    batches: Sequence[CompressedClip],
    costs: CostTableName | CostTable = "45nm-fp32",
    strict: bool = True,
) -> OperationReport:
    """Count operations per clip with one I-frame per segment, at the spike rates of these clips.

    Args:
        recognizer: The model, in evaluation mode.
        batches: Clips in the model's representation; the first ``CLIPS`` of each batch are counted.
        costs: Cost table for the energy.
        strict: See :class:`OperationCounter`.
    """
    rows = [(batch, row) for batch in batches for row in range(min(CLIPS, len(batch)))]
    with OperationCounter(recognizer, strict) as counter:
        for batch, row in rows:
            clip = _with_own_iframes(batch.take(torch.tensor([row])))
            recognizer.forward(clip)  # not the compiled one, which may skip hooks
    return counter.report(len(rows), costs)


def _with_own_iframes(clips: CompressedClip) -> CompressedClip:
    """The same clips with a copy of its I-frame for each segment."""
    batch, segments = clips.iframe_index.shape
    rows = torch.arange(batch, device=clips.iframes.device)[:, None]
    index = torch.arange(segments, device=clips.iframe_index.device).repeat(batch, 1)
    return clips.with_tensors(iframes=clips.iframes[rows, clips.iframe_index], iframe_index=index)


def cost_results(
    report: OperationReport,
    clips: int,
    measured: float | None = None,
    measured_includes: str | None = None,
) -> dict[str, Any]:
    """Costs per video, as stored in results.json.

    Args:
        report: Operations of one clip, from :func:`count_clips`.
        clips: Clips per video in the protocol: temporal views x crops.
        measured: Joules per video from a counter; None without one.
        measured_includes: What the counter includes, or why nothing was measured.
    """
    return {
        "gmac_per_video": report.gmac * clips,
        "effective_gmac_per_video": report.effective_gmac * clips,
        "effective_gac_per_video": report.effective_gac * clips,
        "energy_j_per_video": {
            "theoretical": report.energy_j * clips,
            "theoretical_per_view": report.energy_j,
            "by_part": {part: joules * clips for part, joules in report.energy_by_part().items()},
            "memory_access": report.memory_j * clips,
            "memory_by_part": {part: joules * clips for part, joules in report.memory_by_part().items()},
            "memory_includes": (
                f"weights and neuron states at {report.costs.memory_pj_per_byte:g} pJ per byte, counted as "
                "by spikingjelly 2.0; not in theoretical"
            ),
            "measured": measured,
            "includes": f"compute of the model; {report.costs.source}",
            "measured_includes": measured_includes,
        },
        "synaptic_operations_per_video": {
            name: operations * clips for name, operations in report.synaptic_operations().items()
        },
        "activation_sparsity": report.activation_sparsity,
        "spikes_per_neuron": report.spiking_layers(),
        "break_even_spikes": report.costs.mac_pj / report.costs.ac_pj,
    }
