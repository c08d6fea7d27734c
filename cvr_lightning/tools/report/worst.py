"""The videos with the highest loss, each with its contact sheet."""

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
    """A video with a high loss.

    Attributes:
        name: Relative to the data set's root.
        label: Its class.
        predicted: The predicted class.
        probability: Probability of that class.
        loss: Cross entropy in nats.
        sheet: Its sheet as a PNG, None if it cannot be drawn.
        missing: Why there is no sheet.
    """

    name: str
    label: str
    predicted: str
    probability: float
    loss: float
    sheet: bytes | None
    missing: str = ""


def worst_videos(run: Run, count: int) -> list[WorstVideo]:
    """The labeled videos of a run with the highest loss, highest first.

    Args:
        run: A run with scores.
        count: Maximum number.
    """
    scores = run.scores
    assert scores is not None
    loss = losses(scores.logits, scores.label)
    order = np.argsort(-loss, kind="stable")
    fractions = run.table.scores
    worst = []
    for row in [int(row) for row in order if not np.isnan(loss[row])][:count]:
        best = int(fractions[row].argmax())
        name = str(scores.video[row])
        worst.append(
            WorstVideo(
                name,
                str(scores.class_names[scores.label[row]]),
                str(scores.class_names[best]),
                float(fractions[row, best]),
                float(loss[row]),
                *_sheet(run, name),
            )
        )
    return worst


def _sheet(run: Run, name: str) -> tuple[bytes | None, str]:
    """The sheet of a video as a PNG, or the reason why there is none."""
    if run.data_root is None:
        return None, "no sheet: the run's configuration names no data.root"
    path = run.data_root / name
    if not path.is_file():
        hint = (
            "" if path.is_absolute() else "; data.root is relative: run cvr report where the run was started"
        )
        return None, f"no sheet: {path} does not exist{hint}"
    try:
        return sheet_png(draw_sheet(survey(path))), ""
    except VideoError as error:
        return None, f"no sheet: {error}"
