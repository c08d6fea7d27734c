"""The dual encoder of a clip: features of its I-frames, and readouts of its segments' P-frames.

Shape suffixes: B clips, K I-frames, N segments, M = B N segments of all clips, T P-frames of a segment,
C channels, H, W positions.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor, nn

from cvr_lightning.clip import CompressedClip
from cvr_lightning.models.efficientnet import EfficientNetLite0
from cvr_lightning.models.iframe_encoder import IFrameEncoder, IFrameFeatures
from cvr_lightning.models.modulator import ModulatorOptions
from cvr_lightning.models.pframe_encoder import PFrameEncoder, PFrames
from cvr_lightning.models.presets import Architecture
from cvr_lightning.models.segments import of_segments
from cvr_lightning.models.stem import MOTION_CHANNELS, BlockStem, PixelStem

Ablation = Literal["global_motion", "spikes", "current_readout", "modulation"]
"""Components that can be ablated: global motion compensation, spiking neurons (replaced by a ReLU), the
current readout, the modulation of I-frames by the readouts."""
Representation = Literal["block", "pixel", "rgb"]
"""Representation of P-frames; ``rgb`` has decoded frames in place of I-frames, and no P-frames."""


class DualEncoder(nn.Module):
    """Encodes the I-frames of a clip and the P-frames of its segments.

    Args:
        arch: Widths and depths.
        residual_channels: Coefficients C of a block.
        representation: Representation of P-frames.
        ablate: Components to leave out.
        levels: Most spikes of a neuron per step.
        adaptive: Whether recent spikes and I-frame features change the thresholds.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self,
        arch: Architecture,
        residual_channels: int,
        representation: Representation,
        ablate: Collection[Ablation],
        levels: int,
        adaptive: bool,
    ) -> None:
        super().__init__()
        self.iframe_encoder: IFrameEncoder | EfficientNetLite0 = (
            EfficientNetLite0()
            if arch.iframe_depths is None
            else IFrameEncoder(arch.iframe_widths, arch.iframe_depths)
        )
        for name in ("image_mean", "image_std"):
            values = torch.tensor(getattr(self.iframe_encoder, name)).view(3, 1, 1) * 255
            self.register_buffer(name, values)
        global_motion = "global_motion" not in ablate
        self.stem: BlockStem | PixelStem = BlockStem(residual_channels, global_motion)
        if representation == "pixel":
            self.stem = PixelStem(arch.pframe_widths[0], global_motion)
        modulator = ModulatorOptions(
            spiking="spikes" not in ablate,
            levels=levels,
            adaptation=adaptive,
            iframe_term=adaptive,
            current_readout="current_readout" not in ablate,
        )
        self.pframe_encoder = PFrameEncoder(
            self.stem.out_channels,
            None if representation == "pixel" else MOTION_CHANNELS,
            arch.pframe_widths,
            arch.iframe_widths[2:],
            global_motion,
            modulator,
        )

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""
        return next(self.iframe_encoder.parameters()).dtype

    def encode(self, clip: CompressedClip, pframes: PFrames) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run both paths; the results are the arguments of ``fuse``.

        Args:
            clip: Batch with the I-frames. Each distinct one is encoded once; segments point to it.
            pframes: Input of the P-path from :meth:`pframes`.
        """
        features = self.encode_iframes(clip.iframes)
        in_force = IFrameFeatures(*(of_segments(f, clip.iframe_index).flatten(0, 1) for f in features))
        readout_MCHW = self.pframe_encoder(pframes, in_force, keep_state=False).readout
        readout_BNCHW = readout_MCHW.unflatten(0, clip.iframe_index.shape)
        return features.stride32, readout_BNCHW, clip.iframe_index, clip.mask.any(dim=2)

    def encode_iframes(self, iframes: Tensor) -> IFrameFeatures:
        """Features (B, K, C, H, W) of I-frames (B, K, 3, H, W) in gray levels."""
        at_least_float32 = torch.promote_types(self.image_mean.dtype, torch.float32)
        # In place on one copy: allocating memory for a batch of images takes longer than the computation.
        images = iframes.to(at_least_float32, copy=True).sub_(self.image_mean).div_(self.image_std)
        images = images.to(self.dtype)
        features = self.iframe_encoder(images.flatten(0, 1))
        return IFrameFeatures(*(feature.unflatten(0, iframes.shape[:2]) for feature in features))

    def pframes(self, clip: CompressedClip) -> PFrames:
        """Input of the P-path; zero for skipped blocks unless global motion is subtracted."""
        fields = self.stem(clip)
        dtype = self.dtype
        global_motion = (
            None if fields.global_motion is None else fields.global_motion.to(dtype).transpose(0, 1)
        )
        mask = clip.mask.flatten(0, 1).transpose(0, 1)
        return PFrames(fields.blocks.to(dtype).transpose(0, 1), mask, global_motion)
