"""Plots of the package's objects, called by their ``plot`` methods.

The objects are in folders that may not import this one. Their methods import these functions as lazy names of
the package itself (``from cvr_lightning import ...``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from cvr_lightning.codec.arrays import MODALITIES, ClipArrays, Modality
from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.files.printable import counted
from cvr_lightning.plots.clips import ClipPicture, Floats, draw_clips

if TYPE_CHECKING:
    from cvr_lightning.clip import CompressedClip
    from cvr_lightning.codec import CompressedVideoReader

_SHOWN = 40
"""Characters of a file name in a title."""
ROWS = 4
"""Largest number of clips, or segments of a video, to draw."""


def plot_arrays(
    arrays: ClipArrays,
    title: str = "",
    label: int = -1,
    class_names: Sequence[str] = (),
    probabilities: Floats | None = None,
) -> Figure:
    """The last P-frame of the middle segment of a clip, with a model's prediction."""
    picture = _picture(arrays, title, label, probabilities)
    return draw_clips([picture], _names(class_names, [label]), title)


def plot_clip(
    clip: CompressedClip, class_names: Sequence[str] = (), names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Draw the first clips of a batch, a row each.

    Args:
        clip: The batch, as read or augmented.
        class_names: Name of each class; indices are shown without them.
        names: Name of each clip of the batch; the index of its video is shown without them.
        title: Of the figure.

    Raises:
        ValueError: The batch is empty.
    """
    if not len(clip):
        raise ValueError("the batch is empty: there is no clip to plot")
    labels = clip.label.tolist()[:ROWS]
    known = _names(class_names, labels)
    pictures = []
    for row, label in enumerate(labels):
        name = names[row] if names else f"video {int(clip.video[row])}"
        heading = f"{name}: {known[label]}" if label >= 0 else name
        pictures.append(_picture(_arrays(clip, row), heading, label))
    return draw_clips(pictures, known, title or f"{len(pictures)} of {counted(len(clip), 'clip')}")


def plot_reader(reader: CompressedVideoReader) -> Figure:
    """Draw segments spread over a video, with the fields that its stream provides, a row each."""
    given = [modality for modality in MODALITIES if _gives(reader, modality)]
    pframes = 1 if set(given) - {"iframes"} else 0
    windows = list(dict.fromkeys(reader.segments(ROWS, pframes)))
    arrays = reader.read(windows, pframes=1, modalities=given)
    pictures = []
    for segment, window in enumerate(windows):
        frames = f"frame {window.iframe}" + (f", P-frame {window.pframes[0]}" if window.pframes else "")
        pictures.append(_picture_of(arrays, segment, 0, frames, "", -1, None))
    info = reader.info
    about = f"{info.codec}, {info.width}x{info.height}, {counted(info.num_frames, 'frame')}"
    return draw_clips(pictures, (), f"{os.path.basename(reader.path)[-_SHOWN:]}: {about}")


def _gives(reader: CompressedVideoReader, modality: Modality) -> bool:
    try:
        reader.require([modality])
    except UnsupportedStreamError:
        return False
    return True


def _picture(arrays: ClipArrays, title: str, label: int, probabilities: Floats | None = None) -> ClipPicture:
    segment = len(arrays.mask) // 2
    frame = max(int(arrays.mask[segment].sum()) - 1, 0)
    where = f"segment {segment}, P-frame {frame}"
    return _picture_of(arrays, segment, frame, title, where, label, probabilities)


def _picture_of(
    arrays: ClipArrays,
    segment: int,
    frame: int,
    title: str,
    subtitle: str,
    label: int,
    probabilities: Floats | None,
) -> ClipPicture:
    return ClipPicture(
        title=title,
        subtitle=subtitle,
        iframe=arrays.iframes[arrays.iframe_index[segment]],
        motion=arrays.motion[segment, frame],
        residual=arrays.residual[segment, frame],
        modes=arrays.modes[segment, frame],
        probabilities=probabilities,
        label=label,
    )


def _arrays(clip: CompressedClip, row: int) -> ClipArrays:
    """One clip of a batch; I-frames are rounded, since augmented ones are float."""
    fields = {name: tensor[row].detach().cpu() for name, tensor in clip.tensors()}
    return ClipArrays(
        iframes=fields["iframes"].clamp(0, 255).byte().numpy(),
        iframe_index=fields["iframe_index"].numpy(),
        motion=fields["motion"].float().numpy(),
        residual=fields["residual"].float().numpy(),
        modes=fields["modes"].numpy(),
        mask=fields["mask"].numpy(),
        age=fields["age"].numpy(),
    )


def _names(class_names: Sequence[str], labels: Sequence[int]) -> Sequence[str]:
    """The names, or the indices if there are none."""
    return class_names or [f"class {index}" for index in range(int(np.max(labels, initial=-1)) + 1)]
