"""The forms of a data set's videos: codec, GOPs, B-frames."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from lightning_utilities.core.rank_zero import rank_zero_only

from cvr_lightning.codec import CompressedVideoReader, StreamInfo
from cvr_lightning.codec.container.info import describe
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.codec.prepared.recipe import RECIPE, Recipe

if TYPE_CHECKING:
    from cvr_lightning.datamodules.dataset import VideoDataset
    from cvr_lightning.datamodules.sampling import ClipSampling

log = logging.getLogger(__name__)

_MOST = 256
"""Videos to look at, spread over the data set."""
_MOST_UNINDEXED = 16
"""The same where each must be indexed first."""


def as_seen(videos: VideoDataset, sampling: ClipSampling) -> ClipSampling:
    """The sampling with the form of the training videos; a warning where they differ in form."""
    found = look(videos)
    recipe = common_recipe(found)
    if recipe is not None:
        return replace(sampling, form="prepared", recipe=recipe)
    warn_of_mixture(found)
    return sampling


def look(videos: VideoDataset) -> list[StreamInfo]:
    """Summaries of some videos of a data set; unreadable ones are left out."""
    found: list[StreamInfo] = []
    unindexed = 0
    for video in np.linspace(0, len(videos) - 1, min(_MOST, len(videos))).astype(int).tolist():
        try:
            path, index = videos.find(video)
            if index is None and unindexed < _MOST_UNINDEXED:
                unindexed += 1
                with CompressedVideoReader(path) as reader:
                    index = reader.index
        except VideoError:
            continue  # reading it reports the error
        if index is not None:
            found.append(describe(index))
    return found


def common_recipe(videos: Sequence[StreamInfo]) -> Recipe | None:
    """The recipe of ``cvr prepare`` that all videos could be made with, None if there is none.

    That is MPEG-4 Part 2 with I- and P-frames, of one size or one shorter side, with an I-frame at least
    every 12 frames or at equal distances.
    """
    if not videos or not all(_is_plain(video) for video in videos):
        return None
    gop = max(max(video.gop_lengths) for video in videos)
    long = [video for video in videos if video.num_frames > gop]
    if gop > RECIPE.gop and not (long and all(set(video.gop_lengths[:-1]) == {gop} for video in long)):
        return None
    sizes = {(video.width, video.height) for video in videos}
    shorter = {min(size) for size in sizes}
    try:
        if len(sizes) == 1:
            return Recipe(sizes.pop(), gop=max(gop, RECIPE.gop))
        return Recipe(None, shorter.pop(), max(gop, RECIPE.gop)) if len(shorter) == 1 else None
    except ValueError:  # sides that preparation cannot give
        return None


def _is_plain(video: StreamInfo) -> bool:
    types = video.frame_types
    return video.codec == "mpeg4" and not types.strip("IP") and types.startswith("I") and not video.rotation


@rank_zero_only
def warn_of_mixture(videos: Sequence[StreamInfo]) -> None:
    """Log a line if training videos differ in form, with counts."""
    kinds = Counter(_kind(video) for video in videos)
    if len(kinds) > 1:
        log.warning(
            "the training videos differ in form (of %d: %s): a model may learn the form instead of the "
            "action; bring them to one with cvr prepare SRC DST, or with --data.sampling.form prepared",
            len(videos),
            "; ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
        )


def _kind(video: StreamInfo) -> str:
    longest = max(video.gop_lengths, default=0)
    gops = next((f"GOPs of up to {bound} frames" for bound in (12, 60) if longest <= bound), "longer GOPs")
    return f"{video.codec} with {gops}{' and B-frames' * video.has_b_frames}"
