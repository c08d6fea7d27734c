"""The complete model: compressed-domain tensors in, class scores out.

    I-frames --> IFrameEncoder ----------------> I-tokens (K frames) --+
                    |       ^                                          +--> UnifiedTransformer
      thresholds    v       | gate and shift                           |      --> MultiModalMixer --> head
    P-frames --> PFrameEncoder (spiking) ------> P-tokens (N segments)-+

Shape suffixes: B clips, K I-frames, N segments, M = B N segments of all clips, T P-frames of a segment,
L places of the token grid, D token channels, H8, W8 blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from cvr_lightning.clip import CompressedClip
from cvr_lightning.models.dual_encoder import Ablation, DualEncoder, Representation
from cvr_lightning.models.iframe_encoder import check_frame_size
from cvr_lightning.models.late_fusion import ClassHead, LateFusion, masked_mean
from cvr_lightning.models.mixer import MultiModalMixer
from cvr_lightning.models.presets import PRESETS, Preset
from cvr_lightning.models.segments import joint_exists, mean_over_segments, modulate, of_segments, uses
from cvr_lightning.models.transformer import UnifiedTransformer, grid_embedding, sinusoidal

HEADS = ("head.", "late_fusion.heads.")
"""Prefixes of the weights that ``reset_classifier`` replaces."""


class Tokens(NamedTuple):
    """I-tokens (B, K, L, D), P-tokens (B, N, L, D), and a mask of used I-frames (B, K)."""

    iframe: Tensor
    pframe: Tensor
    used: Tensor


class CompressedVideoRecognizer(DualEncoder):
    """Recognizes the action of a compressed clip.

    Inputs are fields as the reader delivers them (gray levels, pixels, coefficients). Normalization is part
    of the model, so checkpoints are self-contained.

    Args:
        num_classes: Number of classes.
        preset: Name of the architecture, a key of :data:`PRESETS`.
        residual_channels: Coefficients C of a block.
        dropout: Fraction of the features dropped before the head.
        representation: Representation of P-frames.
        ablate: Components to leave out.
        levels: Most spikes of a neuron per step, 1 to 4; see :mod:`cvr_lightning.models.neurons`.

    Attributes:
        architecture: These options, as plain values: ``CompressedVideoRecognizer(**architecture)``.

    Raises:
        ValueError: A preset, representation or component is unknown, or levels are out of range.
    """

    def __init__(
        self,
        num_classes: int,
        preset: Preset = "tiny",
        residual_channels: int = 24,
        dropout: float = 0.1,
        representation: Representation = "block",
        ablate: Sequence[Ablation] = (),
        levels: int = 4,
    ) -> None:
        _check_choice("preset", preset, get_args(Preset))
        _check_choice("representation", representation, get_args(Representation))
        for part in ablate:
            _check_choice("part", part, get_args(Ablation))
        arch = PRESETS[preset]
        super().__init__(arch, residual_channels, representation, ablate, levels)
        self.architecture: dict[str, Any] = {
            "num_classes": num_classes,
            "preset": preset,
            "residual_channels": residual_channels,
            "dropout": dropout,
            "representation": representation,
            "ablate": sorted(ablate),
            "levels": levels,
        }
        high_channels = arch.iframe_widths[3]
        self.modulation = nn.Linear(self.pframe_encoder.out_channels, 2 * high_channels)
        self.iframe_tokens = nn.Linear(high_channels, arch.width)
        self.pframe_tokens = nn.Linear(self.pframe_encoder.out_channels, arch.width)
        self.modality = nn.Parameter(torch.zeros(2, arch.width))
        self.time = nn.Linear(arch.width, arch.width)
        blocks = (arch.width, arch.depth, arch.heads, arch.mlp_ratio)
        self.late_fusion: LateFusion | None = None
        if "unified" in ablate:
            self.late_fusion = LateFusion(*blocks, num_classes, dropout)
        else:
            self.transformer = UnifiedTransformer(*blocks)
            mixers = 0 if "mixer" in ablate else arch.mixers
            self.mixers = nn.ModuleList(MultiModalMixer(arch.width) for _ in range(mixers))
            self.head: nn.Module = ClassHead(arch.width, num_classes, dropout)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        nn.init.trunc_normal_(self.modality, std=0.02)

    def forward(self, clip: CompressedClip) -> Tensor:
        """Class scores (logits) of a batch.

        Args:
            clip: Batch in the model's representation; H and W multiples of 32.

        Returns:
            (B, num_classes) logits.

        Raises:
            CropError: Frames have an unsupported size.
            ValueError: The batch has another representation.
        """
        check_frame_size(*clip.iframes.shape[-2:])
        return self.decide(*self.encode(clip, self.pframes(clip)))

    def forward_features(self, clip: CompressedClip) -> Tensor:
        """Features (B, num_features) of a batch, which the head turns into logits.

        Raises:
            CropError: Frames have an unsupported size.
            ValueError: The batch has another representation, or the model uses late fusion, where each
                modality has its own features and head.
        """
        if self.late_fusion is not None:
            raise ValueError("a model with late fusion has no common features: use the unified transformer")
        check_frame_size(*clip.iframes.shape[-2:])
        encoded = self.encode(clip, self.pframes(clip))
        return self._pool(self.embed(*encoded), *encoded[2:])

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one, randomly initialized, for other classes.

        Args:
            num_classes: Number of classes; 0 makes :meth:`forward` return the features.

        Raises:
            ValueError: The number is negative, or 0 for a model with late fusion.
        """
        if num_classes < (0 if self.late_fusion is None else 1):
            raise ValueError(f"num_classes={num_classes}: too few for this model")
        self.architecture["num_classes"] = num_classes
        if self.late_fusion is not None:
            self.late_fusion.heads = nn.ModuleList(self._new_head() for _ in range(2))
        else:
            self.head = self._new_head() if num_classes else nn.Identity()

    def _new_head(self) -> ClassHead:
        num_classes, dropout = self.architecture["num_classes"], self.architecture["dropout"]
        return ClassHead(self.modality.shape[1], num_classes, dropout).to(self.modality)

    @property
    def num_features(self) -> int:
        """Number of features: those of the cls token and of the mean token."""
        return 2 * self.modality.shape[1]

    def decide(
        self,
        iframe_BKCHW: Tensor,
        readout_BNCHW: Tensor,
        iframe_index_BN: Tensor,
        exists_BN: Tensor,
    ) -> Tensor:
        """Class scores (B, num_classes) from the dual encoder's outputs.

        Args:
            iframe_BKCHW: Features of the I-frames at stride 32.
            readout_BNCHW: Readouts of the segments' P-frames.
            iframe_index_BN: Index of each segment's I-frame among the K.
            exists_BN: bool, false for segments without P-frames.
        """
        tokens = self.embed(iframe_BKCHW, readout_BNCHW, iframe_index_BN, exists_BN)
        if self.late_fusion is not None:
            places = tokens.pframe.shape[2]
            slots = [mask.repeat_interleave(places, dim=1) for mask in (tokens.used, exists_BN)]
            both = (tokens.iframe.flatten(1, 2), tokens.pframe.flatten(1, 2))
            scores: Tensor = self.late_fusion(both, (slots[0], slots[1]))
            return scores
        logits: Tensor = self.head(self._pool(tokens, iframe_index_BN, exists_BN))
        return logits

    def _pool(self, tokens: Tokens, iframe_index_BN: Tensor, exists_BN: Tensor) -> Tensor:
        """Concatenate the cls token and the mean of the joint tokens."""
        cls_BD, joint_B2NLD = self.attend(tokens, iframe_index_BN, exists_BN)
        exists_B2N = joint_exists(exists_BN)
        pooled_BD = masked_mean(joint_B2NLD.mean(dim=3).flatten(1, 2), exists_B2N.flatten(1))
        return torch.cat([cls_BD, pooled_BD], dim=-1)

    def embed(
        self, iframe_BKCHW: Tensor, readout_BNCHW: Tensor, iframe_index_BN: Tensor, exists_BN: Tensor
    ) -> Tokens:
        """I- and P-tokens from the dual encoder's outputs; see :meth:`decide` for the arguments."""
        batch, segments, _, height, width = readout_BNCHW.shape
        iframes = iframe_BKCHW.shape[1]
        # Readouts modulate the I-frames, then both become tokens on one grid.
        readout_BNLC = readout_BNCHW.flatten(3).transpose(2, 3)
        iframe_BKLC = iframe_BKCHW.flatten(3).transpose(2, 3)
        uses_BKN = uses(iframe_index_BN, iframes)
        in_use_BKN = uses_BKN & exists_BN[:, None]
        iframe_BKLC = modulate(iframe_BKLC, self.modulation(readout_BNLC), in_use_BKN)
        iframe_BKLD = self.iframe_tokens(iframe_BKLC)
        pframe_BNLD = self.pframe_tokens(readout_BNLC)

        # Embeddings of place, time and modality.
        dtype = self.dtype  # of the weights, since embeddings sum in float32 under autocast
        place_LD = grid_embedding(height, width, iframe_BKLD.shape[-1], iframe_BKLD.device).to(dtype)
        time_BND = self._time(batch, segments, iframe_BKLD.device)
        time_BKD = mean_over_segments(time_BND, uses_BKN.to(time_BND.dtype))
        iframe_BKLD = iframe_BKLD + place_LD + time_BKD[:, :, None] + self.modality[0]
        pframe_BNLD = pframe_BNLD + place_LD + time_BND[:, :, None] + self.modality[1]

        return Tokens(iframe_BKLD, pframe_BNLD, uses_BKN.any(dim=2))

    def attend(self, tokens: Tokens, iframe_index_BN: Tensor, exists_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Run transformer and mixers.

        Args:
            tokens: Tokens from :meth:`embed`.
            iframe_index_BN: Index of each segment's I-frame among the K.
            exists_BN: bool, false for segments without P-frames.

        Returns:
            The cls token (B, D), and the I- and P-tokens of every segment (B, 2, N, L, D).
        """
        # One attention over all tokens.
        iframe_BKLD, pframe_BNLD, exists_BK = tokens
        iframes, segments, places = iframe_BKLD.shape[1], *pframe_BNLD.shape[1:3]
        exists_BL = torch.cat([exists_BK, exists_BN], dim=1).repeat_interleave(places, dim=1)
        tokens_BLD = torch.cat([iframe_BKLD, pframe_BNLD], dim=1).flatten(1, 2)
        cls_BD, tokens_BLD = self.transformer(tokens_BLD, exists_BL)

        # Mix over modality and time: I- and P-tokens of each segment side by side.
        tokens_BGLD = tokens_BLD.unflatten(1, (iframes + segments, places))
        iframe_BKLD, pframe_BNLD = tokens_BGLD.split([iframes, segments], dim=1)
        iframe_BNLD = of_segments(iframe_BKLD, iframe_index_BN)
        joint_B2NLD = torch.stack([iframe_BNLD, pframe_BNLD], dim=1)
        exists_B2N = joint_exists(exists_BN)
        for mixer in self.mixers:
            joint_B2NLD = mixer(joint_B2NLD, exists_B2N)
        return cls_BD, joint_B2NLD

    def _time(self, batch: int, segments: int, device: torch.device) -> Tensor:
        """Time embedding (B, N, D) of the segments, on the same scale for any number of them."""
        middle = (torch.arange(segments, device=device) + 0.5) * (100 / segments)
        embedded: Tensor = self.time(sinusoidal(middle, self.time.in_features).to(self.dtype))
        return embedded.expand(batch, -1, -1)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}")
