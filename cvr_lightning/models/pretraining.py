"""Masked prediction of P-frame fields: pretraining of the recognizer without labels.

Our own recipe, not from arXiv 2503.13724: SimMIM (Xie et al., CVPR 2022) on the codec's fields. Places of the
token grid are hidden from the P-path, the same in all P-frames of a segment because neighboring P-frames
would reveal them. The model without its head sees the rest, and a small MLP predicts the vectors and
coefficients of the hidden places. Its attention spans both modalities, so that I-frames can contribute.

Shape suffixes: T P-frames, B clips, N segments, M = B N segments of all clips, L places of the token grid, S
hidden places of all segments, D token channels, F = 2 + C fields of a block, P blocks of a place in a row.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.models.presets import Preset
from cvr_lightning.models.recognizer import CompressedVideoRecognizer

PLACE = 4
"""Blocks along a side of a place: the token grid has stride 32, the block grid stride 8."""


class MaskedError(NamedTuple):
    """Mean squared errors over the hidden blocks; ``of_zero`` is the loss of predicting zeros."""

    motion: Tensor
    residual: Tensor
    of_zero: Tensor

    @property
    def loss(self) -> Tensor:
        """Sum of both errors, weighting vectors and coefficients equally."""
        return self.motion + self.residual


class MaskedPretraining(nn.Module):
    """A recognizer without its head, and a decoder that predicts hidden places.

    Targets are the recognizer's normalized inputs (see ``pframes``): linear near zero, logarithmic beyond,
    with vectors relative to the global motion of the whole frame, which the P-path receives. Targets of
    skipped blocks are zero. Intra blocks (no vector, coefficients of an image rather than of a residual) and
    missing P-frames are excluded.

    Args:
        preset: Size of the recognizer.
        residual_channels: Coefficients C of a block.
        pframes: P-frames T of a segment.

    Attributes:
        recognizer: The pretrained model, without a head.
    """

    def __init__(self, preset: Preset = "tiny", residual_channels: int = 24, pframes: int = 3) -> None:
        super().__init__()
        self.pframes = pframes
        self.fields = 2 + residual_channels
        self.recognizer = CompressedVideoRecognizer(1, preset, residual_channels, dropout=0.0, exchange=True)
        width = self.recognizer.iframe_tokens.out_features
        del self.recognizer.heads
        self.hidden_block = nn.Parameter(torch.zeros(self.fields + 1, 1, 1))
        self.decoder = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, pframes * self.fields * PLACE**2),
        )
        nn.init.trunc_normal_(self.hidden_block, std=0.02)

    def forward(self, clip: CompressedClip, hidden_ML: Tensor) -> Tensor:
        """Predict the hidden places from everything else.

        Args:
            clip: Batch in the block representation; H and W multiples of 32.
            hidden_ML: bool, places to hide, from :func:`draw_places`.

        Returns:
            (S, T, F, P, P) float32.

        Raises:
            ValueError: The batch has another number of P-frames, or is in the pixel representation.
        """
        self._check(clip)
        pframes = self.recognizer.pframes(clip)
        hidden_MHW = _on_blocks(hidden_ML, pframes.blocks.shape[-2:])
        blocks_TMCHW = torch.where(hidden_MHW[:, None], self.hidden_block, pframes.blocks)
        encoded = self.recognizer.encode(clip, pframes._replace(blocks=blocks_TMCHW))
        _, joint_B2NLD = self.recognizer.attend(self.recognizer.embed(*encoded), *encoded[2:])
        tokens_SD = joint_B2NLD[:, 1].flatten(0, 1)[hidden_ML]
        predicted: Tensor = self.decoder(tokens_SD)
        return predicted.float().view(-1, self.pframes, self.fields, PLACE, PLACE)

    def error(self, predicted_STFPP: Tensor, clip: CompressedClip, hidden_ML: Tensor) -> MaskedError:
        """Error of the prediction of the hidden places, in float32."""
        pframes = self.recognizer.pframes(clip)
        target = _of_places(pframes.blocks[:, :, : self.fields], hidden_ML).float()
        target[:, :, :2] /= self.recognizer.stem.motion_gain  # weigh vectors and coefficients equally
        modes_TMHW = clip.modes.flatten(0, 1).transpose(0, 1)
        counts = (modes_TMHW < BlockMode.INTRA) & pframes.mask[:, :, None, None]
        weight = _of_places(counts[:, :, None], hidden_ML).float()
        total = weight.sum().clamp(min=1)
        motion, residual = _mean_square((predicted_STFPP - target) * weight, total)
        motion_of_zero, residual_of_zero = _mean_square(target * weight, total)
        return MaskedError(motion, residual, motion_of_zero + residual_of_zero)

    def _check(self, clip: CompressedClip) -> None:
        if clip.motion.shape[-2:] != clip.modes.shape[-2:]:
            raise ValueError(
                "pretraining takes the block representation: set --data.sampling.representation=block"
            )
        if clip.mask.shape[2] != self.pframes:
            raise ValueError(
                f"the batch has {clip.mask.shape[2]} P-frames a segment and the decoder predicts "
                f"{self.pframes}: give both the same number"
            )


def draw_places(clip: CompressedClip, ratio: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw the places to hide, the same number in every segment: at least one, never all.

    Args:
        clip: The batch.
        ratio: Fraction of the places.
        generator: Random number generator; torch's global one if None.

    Returns:
        (M, L) bool on the clip's device. Drawn on the CPU, so the same for every device.
    """
    segments = clip.mask.shape[0] * clip.mask.shape[1]
    places = (clip.modes.shape[-2] // PLACE) * (clip.modes.shape[-1] // PLACE)
    count = min(max(1, round(ratio * places)), places - 1)
    chosen = torch.rand(segments, places, generator=generator).argsort(dim=1)[:, :count]
    return torch.zeros(segments, places, dtype=torch.bool).scatter_(1, chosen, True).to(clip.modes.device)


def _on_blocks(hidden_ML: Tensor, grid: torch.Size) -> Tensor:
    """(M, H8, W8) bool mask of the hidden places' blocks."""
    hidden = hidden_ML.view(-1, grid[0] // PLACE, grid[1] // PLACE)
    return hidden.repeat_interleave(PLACE, dim=1).repeat_interleave(PLACE, dim=2)


def _of_places(blocks_TMFHW: Tensor, hidden_ML: Tensor) -> Tensor:
    """(S, T, F, P, P) blocks of the hidden places."""
    places = blocks_TMFHW.unfold(3, PLACE, PLACE).unfold(4, PLACE, PLACE)  # (T, M, F, h, w, P, P)
    return places.permute(1, 3, 4, 0, 2, 5, 6).flatten(1, 2)[hidden_ML]


def _mean_square(error_STFPP: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error per vector component and per coefficient, over a number of blocks."""
    squared_F = error_STFPP.square().sum(dim=(0, 1, 3, 4)) / blocks
    return squared_F[:2].mean(), squared_F[2:].mean()
