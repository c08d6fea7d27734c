"""The contract between data and model: a typed batch of compressed clips.

A clip holds N **segments** spread over a video. A segment consists of an I-frame and the T P-frames of a
window in the GOP of that I-frame. Segments with the same I-frame refer to one copy of it.

Shape suffixes used throughout the project:

    B      clips in the batch (one view of one video each)
    K      distinct I-frames of a clip (padded to the largest of the batch)
    N      segments of a clip
    T      P-frames of a segment
    C      residual coefficients of a block: luma in zigzag order, then Cb, then Cr
    H, W   pixels of the frame; H8 = ceil(H / 8), W8 = ceil(W / 8) blocks
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import default_collate

from cvr_lightning.codec.arrays import BlockMode, ClipArrays, blocks
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.files.printable import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BlockMode", "CompressedClip", "Sample", "collate"]


@dataclass(frozen=True)
class Sample:
    """One view of one video, before batching."""

    video: int
    """Index of the video in its dataset."""
    view: int
    """Index of the temporal view of the video."""
    label: int
    """Class index, or -1 if the video has no label."""
    name: str
    """Name of the video, for messages and results."""
    arrays: ClipArrays | VideoError
    """Fields of the clip, or the error that prevented reading it."""

    def __repr__(self) -> str:
        return f"Sample({self.name!r}, label {self.label}, view {self.view}, {self.arrays!r})"

    def plot(self, class_names: Sequence[str] = ()) -> Figure:
        """Draw a P-frame of the clip: I-frame, vectors, residual energy, macroblock modes.

        Raises:
            VideoError: The video could not be read.
        """
        from cvr_lightning import plot_arrays

        if isinstance(self.arrays, VideoError):
            raise self.arrays
        label = f"{class_names[self.label]}" if class_names and self.label >= 0 else f"label {self.label}"
        return plot_arrays(self.arrays, f"{self.name}: {label}")


@dataclass
class CompressedClip:
    """A batch of clips; every tensor carries the batch dimension first.

    Attributes:
        iframes: (B, K, 3, H, W) uint8 RGB as read; float after normalization on the device.
        iframe_index: (B, N) int64, index of each segment's I-frame among the K.
        motion: (B, N, T, 2, H8, W8) float, displacement (dx, dy) of each 8x8 luma block in pixels of the
            delivered frame, x to the right, y down, from the current block to its reference, divided by their
            distance in frames in display order; 0 for intra and skipped blocks.
        residual: (B, N, T, C, H8, W8) float, DCT residual of each block in gray levels (orthonormal
            transform: DC is 8 times the block's mean); 0 for skipped blocks.
        modes: (B, N, T, H8, W8) uint8, the :class:`BlockMode` of each block.
        mask: (B, N, T) bool, true if the P-frame exists.
        age: (B, N, T) int64, frames from the segment's I-frame to the P-frame in display order; 0 where there
            is no P-frame. An H.264 video may have one I-frame in ten seconds.
        label: (B,) int64, class index, -1 if unknown.
        video: (B,) int64, index of the video.
        view: (B,) int64, index of the view of that video. As read, the temporal view; after spatial cropping
            on the device, ``temporal * spatial_views + spatial``.
        target: (B, classes) float, class fractions if clips are mixed in training; ``label`` is then the
            class with the largest fraction. None if clips are not mixed.
        unreadable: Index and error of each video of this batch that cannot be read.
        prepared: A video of this batch was prepared in memory.

    In the pixel representation, ``motion`` and ``residual`` have the grid H x W, and C = 3 (RGB differences);
    ``modes`` remains on the block grid.
    """

    iframes: Tensor
    iframe_index: Tensor
    motion: Tensor
    residual: Tensor
    modes: Tensor
    mask: Tensor
    age: Tensor
    label: Tensor
    video: Tensor
    view: Tensor
    target: Tensor | None = None
    unreadable: dict[int, VideoError] = field(default_factory=dict)
    prepared: bool = False

    def __len__(self) -> int:
        """Number of clips B."""
        return self.label.shape[0]

    def __repr__(self) -> str:
        shapes = (f"{name} {tuple(getattr(self, name).shape)}" for name in ("iframes", "motion", "residual"))
        unreadable = f", {len(self.unreadable)} unreadable" if self.unreadable else ""
        clips = counted(len(self), "clip")
        return f"CompressedClip({clips} on {self.mask.device}: {', '.join(shapes)}{unreadable})"

    def plot(self, class_names: Sequence[str] = ()) -> Figure:
        """Draw a P-frame of each of the first clips; save it with ``.savefig("clip.png")``.

        Args:
            class_names: Name of each class; indices are shown without them.

        Raises:
            ValueError: The batch is empty.
        """
        from cvr_lightning import plot_clip

        return plot_clip(self, class_names)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the (name, tensor) pairs of the batch."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                yield item.name, value

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CompressedClip:
        """Move the batch to another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> CompressedClip:
        """Copy the batch to page-locked memory (called by the DataLoader)."""
        return self.map(Tensor.pin_memory)

    def map(self, function: Callable[[Tensor], Tensor]) -> CompressedClip:
        """Apply ``function`` to each tensor of the batch."""
        return self.with_tensors(**{name: function(tensor) for name, tensor in self.tensors()})

    def with_tensors(self, **tensors: Tensor) -> CompressedClip:
        """Return the batch with some of its tensors replaced."""
        return replace(self, **tensors)  # type: ignore[arg-type]

    def take(self, rows: Tensor) -> CompressedClip:
        """Select clips by row."""
        return self.map(lambda tensor: tensor[rows.to(tensor.device)])

    def validate(self) -> CompressedClip:
        """Check shapes and dtypes against the contract.

        Returns:
            The batch itself.

        Raises:
            ValueError: A field breaks the contract; the message gives its actual and expected shape or dtype.
        """
        batch, segments, frames = self._expect("mask", self.mask, 3, torch.bool)
        _, distinct, _, height, width = self._expect("iframes", self.iframes, 5)
        grid = (blocks(height), blocks(width))
        pixel_representation = self.motion.shape[-2:] == (height, width)
        planes = (height, width) if pixel_representation else grid
        expected = {
            "iframes": (batch, distinct, 3, height, width),
            "iframe_index": (batch, segments),
            "motion": (batch, segments, frames, 2, *planes),
            "residual": (batch, segments, frames, self.residual.shape[3], *planes),
            "modes": (batch, segments, frames, *grid),
            "age": (batch, segments, frames),
            "label": (batch,),
            "video": (batch,),
            "view": (batch,),
        }
        for name, shape in expected.items():
            actual = tuple(getattr(self, name).shape)
            if actual != shape:
                raise ValueError(f"CompressedClip.{name} has shape {actual}, expected {shape}")
        if self.target is not None and (self.target.dim() != 2 or len(self.target) != batch):
            actual = tuple(self.target.shape)
            raise ValueError(f"CompressedClip.target has shape {actual}, expected ({batch}, classes)")
        if batch and not bool(((self.iframe_index >= 0) & (self.iframe_index < distinct)).all()):
            raise ValueError(f"CompressedClip.iframe_index points outside the {distinct} I-frames")
        return self

    @staticmethod
    def _expect(name: str, tensor: Tensor, dims: int, dtype: torch.dtype | None = None) -> torch.Size:
        if tensor.dim() != dims or (dtype is not None and tensor.dtype != dtype):
            raise ValueError(
                f"CompressedClip.{name} is {tensor.dtype} of {tensor.dim()} dimensions, "
                f"expected {dtype or 'a tensor'} of {dims}"
            )
        return tensor.shape


def _stack(arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
    """Stack equal arrays; in a worker, directly into shared memory, which avoids a second copy."""
    stacked: Tensor = default_collate(list(arrays))
    return stacked


def _stack_iframes(samples: Sequence[ClipArrays]) -> Tensor:
    """Stack the I-frames, padded with black to the largest K; no segment points to the padding."""
    distinct = max(len(arrays.iframes) for arrays in samples)
    return _stack([_padded(arrays.iframes, distinct) for arrays in samples])


def _padded(iframes: npt.NDArray[np.uint8], distinct: int) -> npt.NDArray[np.uint8]:
    missing = distinct - len(iframes)
    return np.pad(iframes, [(0, missing), (0, 0), (0, 0), (0, 0)]) if missing else iframes


def _empty(unreadable: dict[int, VideoError]) -> CompressedClip:
    none = torch.zeros(0, dtype=torch.int64)
    return CompressedClip(
        iframes=torch.zeros((0, 1, 3, 8, 8), dtype=torch.uint8),
        iframe_index=torch.zeros((0, 1), dtype=torch.int64),
        motion=torch.zeros((0, 1, 1, 2, 1, 1)),
        residual=torch.zeros((0, 1, 1, 1, 1, 1)),
        modes=torch.zeros((0, 1, 1, 1, 1), dtype=torch.uint8),
        mask=torch.zeros((0, 1, 1), dtype=torch.bool),
        age=torch.zeros((0, 1, 1), dtype=torch.int64),
        label=none,
        video=none,
        view=none,
        unreadable=unreadable,
    )


def collate(samples: Sequence[Sample]) -> CompressedClip:
    """Batch the readable samples and record the unreadable ones.

    If no sample can be read, the batch has B = 0 and lists the errors.

    Raises:
        ValueError: The samples differ in size.
    """
    good = [(sample, sample.arrays) for sample in samples if isinstance(sample.arrays, ClipArrays)]
    unreadable = {sample.video: sample.arrays for sample in samples if isinstance(sample.arrays, VideoError)}
    if not good:
        return _empty(unreadable)
    arrays = [item for _, item in good]

    def column(name: str) -> Tensor:
        return torch.tensor([getattr(sample, name) for sample, _ in good], dtype=torch.int64)

    return CompressedClip(
        iframes=_stack_iframes(arrays),
        **{
            name: _stack([getattr(item, name) for item in arrays])
            for name in ("iframe_index", "motion", "residual", "modes", "mask", "age")
        },
        **{name: column(name) for name in ("label", "video", "view")},
        unreadable=unreadable,
        prepared=any(item.prepared for item in arrays),
    ).validate()
