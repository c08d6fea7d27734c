"""Plots of a data set's clips as the model receives them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from cvr_lightning.clip import collate
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import Draw, clip_generators
from cvr_lightning.files.printable import counted
from cvr_lightning.plots.objects import plot_clip

if TYPE_CHECKING:
    from cvr_lightning.datamodules import CompressedVideoDataModule


def plot_subset(data: CompressedVideoDataModule, subset: str, videos: int) -> Figure:
    """Draw clips of a subset, augmented in training, a row each.

    Args:
        data: The data set.
        subset: ``train``, ``val`` or ``test``.
        videos: Number of videos, spread over the subset.

    Raises:
        ValueError: There is no such subset, or no video in it.
        VideoError: A video cannot be read, and ``on_error`` is ``raise``.
    """
    data.setup()
    count = len(data.videos.get(subset, ()))
    if not count or videos < 1:
        raise ValueError(f"no video to plot: {count} in subset={subset!r}, videos={videos}")
    training = subset == "train"
    sampling = data.test_sampling if subset == "test" else data.sampling
    dataset = data.dataset(subset, sampling, training)
    chosen = np.unique(np.linspace(0, count - 1, videos).astype(int)).tolist()
    samples = [dataset[Draw(0, video, 0)] for video in chosen]
    batch = collate([sample for sample in samples if sample is not None])
    drawn = batch.video.tolist()
    if training:
        batch = data.train_transform(batch, clip_generators(data.seed, 0, drawn))
    else:
        batch = EvalTransform(replace(sampling, crops=1))(batch)
    names = [data.names[subset][video] for video in drawn]
    return plot_clip(
        batch,
        data.class_names,
        names,
        f"{type(data).__name__}, {subset}: {len(names)} of {counted(count, 'video')}",
    )
