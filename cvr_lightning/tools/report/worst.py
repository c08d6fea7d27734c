"""The videos of the highest loss, each with the sheet of what its file holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvr_lightning.codec.errors import VideoError
from cvr_lightning.evaluation.video_table import losses
from cvr_lightning.tools.inspect.sheet import draw_sheet, sheet_png
from cvr_lightning.tools.inspect.survey import survey
from cvr_lightning.tools.report.run import Run


@dataclass(frozen=True)
class WorstVideo:
    """A video that was scored badly.

    Attributes:
        name: Relative to the data set's root.
        label: Its class.
        predicted: The class that it was given.
        probability: Share of that class.
        loss: Cross entropy in nats.
        sheet: Its sheet as a PNG, None where there is none.
        missing: Why there is none.
    """

    name: str
    label: str
    predicted: str
    probability: float
    loss: float
    sheet: bytes | None
    missing: str = ""


def worst_videos(run: Run, count: int) -> list[WorstVideo]:
    """The labelled videos of a run with the highest loss, the worst first.

    Args:
        run: A run with scores.
        count: How many at most.
    """
    scores = run.scores
    assert scores is not None
    loss = losses(scores.logits, scores.label)
    order = np.argsort(-loss, kind="stable")
    shares = run.table.scores
    worst = []
    for row in [int(row) for row in order if not np.isnan(loss[row])][:count]:
        best = int(shares[row].argmax())
        name = str(scores.video[row])
        worst.append(
            WorstVideo(
                name,
                str(scores.class_names[scores.label[row]]),
                str(scores.class_names[best]),
                float(shares[row, best]),
                float(loss[row]),
                *_sheet(run, name),
            )
        )
    return worst


def _sheet(run: Run, name: str) -> tuple[bytes | None, str]:
    """The sheet of a video as a PNG, or why there is none."""
    if run.data_root is None:
        return None, "no sheet: the run's configuration names no data.root"
    path = run.data_root / name
    if not path.is_file():
        hint = (
            "" if path.is_absolute() else "; data.root is relative: run cvr report where the run was started"
        )
        return None, f"no sheet: {path} is not there{hint}"
    try:
        return sheet_png(draw_sheet(survey(path))), ""
    except VideoError as error:
        return None, f"no sheet: {error}"
