"""Converts parsed P-frames to the requested fields: accumulation, rotation, resizing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.arrays import BLOCK, MODALITIES, BlockMode, Representation, blocks
from cvr_lightning.codec.fields import geometry
from cvr_lightning.codec.fields.accumulation import trace
from cvr_lightning.codec.fields.dct import COEFFICIENTS
from cvr_lightning.codec.fields.geometry import Floats
from cvr_lightning.codec.parser import BlockGrid, PFrame

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FieldMaker:
    """Output format of the fields of a video.

    Attributes:
        native: (H, W) of the coded frame, before rotation.
        turns: Quarter turns counterclockwise for display.
        size: (H, W) of the output.
        representation: ``"block"`` for the block grid, ``"pixel"`` for one value per pixel.
        coefficients: Coefficients kept per luma block and per chroma block; None without the residual.
        accumulate: Trace motion and residual back to the I-frame.
    """

    native: tuple[int, int]
    turns: int
    size: tuple[int, int]
    representation: Representation
    coefficients: tuple[int, int] | None
    accumulate: bool

    @property
    def needed(self) -> tuple[int, int] | None:
        """Coefficients that the parser must provide; rotation and the pixel representation need all."""
        if self.coefficients is None or (self.representation == "block" and not self.turns):
            return self.coefficients
        return COEFFICIENTS, COEFFICIENTS

    @property
    def block_grid(self) -> BlockGrid | None:
        """The blocks to deliver if the fields are only resized; None otherwise."""
        if self.representation != "block" or self.accumulate or self.turns:
            return None
        return BlockGrid(*self._blocks_taken, np.float32(0.25) * self._scale)

    def make(
        self, pframes: Iterable[tuple[int, PFrame]], references: dict[int, int]
    ) -> Iterator[tuple[int, Floats, Floats | None, npt.NDArray[np.uint8]]]:
        """Convert parsed P-frames to fields.

        Args:
            pframes: P-frames with their numbers in ascending order; to accumulate, all of a GOP up to the
                last requested one.
            references: The I-frame of each P-frame's GOP.

        Yields:
            Frame number, motion, residual (None if not requested), modes.
        """
        past: tuple[Floats, Floats] | None = None
        iframe = -1
        for frame, parsed in pframes:
            motion, residual, intra = self._cells(parsed)
            if self.accumulate:
                if references[frame] != iframe:
                    iframe, past = references[frame], None
                cell = 1 if self.representation == "pixel" else BLOCK
                past = motion, residual = trace(motion, residual, intra, cell, past)
            modes = self._resize_modes(geometry.turn(parsed.modes, self.turns))
            kept = None if self.coefficients is None else self._residual(residual)
            yield frame, self._motion(motion), kept, modes

    def _cells(self, parsed: PFrame) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Motion, residual and intra map on the grid of the representation."""
        motion, residual, intra = parsed.motion, parsed.residual, parsed.modes == BlockMode.INTRA
        if residual is None:
            residual = np.zeros((0, *intra.shape), np.float32)
        if self.representation == "block":
            return motion, residual, intra
        height, width = self.native
        if len(residual):
            residual = geometry.to_rgb(residual, self.native)
        else:
            residual = np.zeros((0, height, width), np.float32)
        return geometry.to_pixels(motion, self.native), residual, geometry.to_pixels(intra, self.native)

    def _motion(self, motion: Floats) -> Floats:
        return self._resize(geometry.turn_motion(motion, self.turns), self._scale)

    @property
    def _scale(self) -> Floats:
        """Output pixels per pixel of the rotated frame, along x and y."""
        height, width = self._turned()
        return np.array([self.size[1] / width, self.size[0] / height], np.float32)

    def _residual(self, residual: Floats) -> Floats:
        if self.representation == "pixel":
            return self._resize(geometry.turn(residual, self.turns))
        if self.turns and self.coefficients is not None:
            turned = geometry.turn_coefficients(residual, self.turns)
            residual = geometry.keep_coefficients(turned, self.coefficients)
        return self._resize(residual)

    def _turned(self) -> tuple[int, int]:
        height, width = self.native
        return (width, height) if self.turns % 2 else (height, width)

    def _resize(self, field: Floats, scale: Floats | None = None) -> Floats:
        """Resample with nearest neighbor, and multiply each plane by its scale."""
        rows, columns = self._cells_taken
        if scale is None:
            scale = np.ones(len(field), np.float32)
        out = np.empty((len(field), len(rows), len(columns)), np.float32)
        geometry.gather(field, rows, columns, scale, out)
        return out

    def _resize_modes(self, modes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        rows, columns = self._blocks_taken
        return modes[rows[:, None], columns]

    @cached_property
    def _blocks_taken(self) -> tuple[Indices, Indices]:
        """Source rows and columns of the delivered blocks."""
        pairs = zip(self.size, self._turned(), strict=True)
        rows, columns = (
            geometry.nearest_blocks(blocks(size), size, blocks(source), source) for size, source in pairs
        )
        return rows, columns

    @cached_property
    def _cells_taken(self) -> tuple[Indices, Indices]:
        """Source rows and columns of the delivered cells (blocks or pixels)."""
        if self.representation == "block":
            return self._blocks_taken
        height, width = self._turned()
        return geometry.nearest_pixels(self.size[0], height), geometry.nearest_pixels(self.size[1], width)


def check_delivery(
    size: tuple[int, int], representation: str, modalities: Sequence[str], coefficients: tuple[int, int]
) -> None:
    """Check the arguments of :meth:`CompressedVideoReader.read`.

    Raises:
        ValueError: An argument is out of range.
    """
    if min(size) < 1:
        raise ValueError(f"size must be (H, W) with positive sides, got {size}")
    if representation not in get_args(Representation):
        raise ValueError(f"representation must be one of {get_args(Representation)}, got {representation!r}")
    if not modalities or set(modalities) - set(MODALITIES):
        raise ValueError(f"modalities must be some of {MODALITIES}, got {tuple(modalities)}")
    if not all(1 <= count <= COEFFICIENTS for count in coefficients) or len(coefficients) != 2:
        raise ValueError(f"coefficients must be two numbers in 1..{COEFFICIENTS}, got {coefficients}")
