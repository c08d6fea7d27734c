"""Images of clips: the model's input and its prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer

from cvr_lightning.callbacks.loggers import PictureCallback, array, fixed_rows, log_figure
from cvr_lightning.clip import CompressedClip, collate
from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import Draw
from cvr_lightning.evaluation.video_table import VideoTable, losses
from cvr_lightning.plots.clips import ClipPicture, draw_clips
from cvr_lightning.training.module import RecognitionModule


class ClipPanels(PictureCallback):
    """Draws validation clips: I-frame, vectors, residual energy, macroblock modes and the prediction.

    Logs after the 1st, 2nd, 4th, 8th ... validation and the last:

    - ``val/clips/fixed``: the same clips every time, spread over the validation subset.
    - ``val/clips/worst`` and ``val/clips/best``: the labeled clips of the highest and of the lowest loss.

    Vectors are in pixels, from a block to its reference; residual energy is the root mean square in gray
    levels; bars are probabilities in per cent; losses are in nats. Each row shows the last P-frame of the
    clip's middle segment. Needs a logger with ``add_figure``. Decoded frames (``representation=rgb``) have
    no fields to draw: nothing is logged.

    Args:
        clips: Number of fixed clips; 0 for none.
        extremes: Number of worst and of best clips, which are read again from the data set; 0 for none.

    Raises:
        ValueError: A number is negative.
    """

    def __init__(self, clips: int = 2, extremes: int = 2) -> None:
        super().__init__()
        if min(clips, extremes) < 0:
            raise ValueError(f"clips={clips} and extremes={extremes} must not be negative")
        self.clips = clips
        self.extremes = extremes
        self._fixed: dict[int, CompressedClip] = {}

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: CompressedClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the fixed clips when they first appear."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        for number, row in fixed_rows(trainer, batch, batch_idx, self.clips):
            if number not in self._fixed:
                self._fixed[number] = batch.take(torch.tensor([row])).to("cpu")

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the images."""
        assert isinstance(pl_module, RecognitionModule)
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CompressedVideoDataModule)
        table = pl_module.table
        if table is None or data.sampling.representation == "rgb":
            return
        worst, best = extremes(table, self.extremes)
        step = f"validation {self.validations}, step {trainer.global_step}"
        groups = {
            "fixed": ("the same clips every time", [clip for _, clip in sorted(self._fixed.items())]),
            "worst": ("highest loss first", _read(data, worst)),
            "best": ("lowest loss first", _read(data, best)),
        }
        for name, (about, clips) in groups.items():
            if clips:
                pictures = [_picture(clip, data, table) for clip in clips]
                title = f"{name} clips, {about} ({step})"
                log_figure(trainer, f"val/clips/{name}", draw_clips(pictures, data.class_names, title))


def extremes(table: VideoTable, count: int) -> tuple[list[int], list[int]]:
    """The labeled videos of the highest and of the lowest loss, at most ``count`` each, without overlap."""
    loss = losses(table.logits, table.label)
    order = np.argsort(-loss, kind="stable")
    videos = table.video[order[~np.isnan(loss[order])]].tolist()
    worst = videos[:count]
    return worst, [video for video in videos[::-1][:count] if video not in worst]


def _read(data: CompressedVideoDataModule, videos: list[int]) -> list[CompressedClip]:
    """The middle view of validation videos, read as in validation."""
    dataset, crop = data.dataset("val", data.sampling, training=False), EvalTransform(data.sampling)
    samples = [dataset[Draw(0, video, 0)] for video in videos]
    clips = [crop(collate([sample])) for sample in samples if sample is not None]
    return [clip for clip in clips if len(clip)]


def _picture(clip: CompressedClip, data: CompressedVideoDataModule, table: VideoTable) -> ClipPicture:
    """The last P-frame of the middle segment of a batch with one clip."""
    video = int(clip.video[0])
    segment = clip.mask.shape[1] // 2
    frame = max(int(clip.mask[0, segment].sum()) - 1, 0)

    def field(name: str) -> Any:
        return array(getattr(clip, name)[0, segment, frame])

    row = np.flatnonzero(table.video == video)
    loss = losses(table.logits[row], table.label[row])
    return ClipPicture(
        title=data.names["val"][video],
        subtitle=f"segment {segment}, P-frame {frame}",
        iframe=array(clip.iframes[0, int(clip.iframe_index[0, segment])].clamp(0, 255).byte()),
        motion=field("motion"),
        residual=field("residual"),
        modes=field("modes"),
        probabilities=table.scores[row[0]] if len(row) else None,
        label=int(clip.label[0]),
        loss=float(loss[0]) if len(loss) and not np.isnan(loss[0]) else None,
    )
