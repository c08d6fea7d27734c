"""The complete model: compressed-domain tensors in, class scores out.

    I-frames --> IFrameEncoder ----------------> I-tokens (K frames) --+
                            ^                                          +--> UnifiedTransformer
                            | gate and shift                           |      --> mixers, if any
    P-frames --> PFrameEncoder (spiking) ------> P-tokens (N segments)-+      --> a head per modality --> mean

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
from cvr_lightning.models.heads import ClassHead, PerModality, masked_mean
from cvr_lightning.models.iframe_encoder import check_frame_size
from cvr_lightning.models.mixer import MultiModalMixer
from cvr_lightning.models.presets import PRESETS, Preset
from cvr_lightning.models.segments import joint_exists, mean_over_segments, modulate, of_segments, uses
from cvr_lightning.models.transformer import UnifiedTransformer, grid_embedding, sinusoidal

MAX_MIXERS = 8
"""Bound on a number that may come from a file."""
HEADS = "heads."
"""Prefix of the weights that ``reset_classifier`` replaces."""
EXCHANGE_BIAS = ".attention.exchange"
"""Suffix of the weights that only a model with ``exchange`` has."""


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
        dropout: Fraction of the features dropped before the heads.
        representation: Representation of P-frames.
        ablate: Components to leave out.
        levels: Most spikes of a neuron per step, 1 to 4; see :mod:`cvr_lightning.models.neurons`.
        adaptive: Whether recent spikes and I-frame features change the thresholds of neurons.
        exchange: Whether the transformer's attention spans both modalities.
        mixers: Number of multi-modal mixers after the transformer, 0 to 8.

    Attributes:
        architecture: These options, as plain values: ``CompressedVideoRecognizer(**architecture)``.

    Raises:
        ValueError: A preset, representation or component is unknown, or a number is out of range.
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
        adaptive: bool = False,
        exchange: bool = False,
        mixers: int = 0,
    ) -> None:
        _check_choice("preset", preset, get_args(Preset))
        _check_choice("representation", representation, get_args(Representation))
        for component in ablate:
            _check_choice("ablate", component, get_args(Ablation))
        if not 0 <= mixers <= MAX_MIXERS:
            raise ValueError(f"mixers={mixers} must be between 0 and {MAX_MIXERS}")
        arch = PRESETS[preset]
        super().__init__(arch, residual_channels, representation, ablate, levels, adaptive)
        self.architecture: dict[str, Any] = {
            "num_classes": num_classes,
            "preset": preset,
            "residual_channels": residual_channels,
            "dropout": dropout,
            "representation": representation,
            "ablate": sorted(ablate),
            "levels": levels,
            "adaptive": adaptive,
            "exchange": exchange,
            "mixers": mixers,
        }
        high_channels = arch.iframe_widths[3]
        self.modulation = None
        if "modulation" not in ablate:
            self.modulation = nn.Linear(self.pframe_encoder.out_channels, 2 * high_channels)
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)
        self.iframe_tokens = nn.Linear(high_channels, arch.width)
        self.pframe_tokens = nn.Linear(self.pframe_encoder.out_channels, arch.width)
        self.modality = nn.Parameter(torch.zeros(2, arch.width))
        self.time = nn.Linear(arch.width, arch.width)
        blocks = (arch.width, arch.depth, arch.heads, arch.mlp_ratio)
        self.transformer = UnifiedTransformer(*blocks, exchange)
        self.mixers = nn.ModuleList(MultiModalMixer(arch.width) for _ in range(mixers))
        self.heads = self._new_heads()
        nn.init.trunc_normal_(self.modality, std=0.02)

    def forward(self, clip: CompressedClip) -> Tensor:
        """Class scores (logits) of a batch.

        Args:
            clip: Batch in the model's representation; H and W multiples of 32.

        Returns:
            (B, num_classes) logits; the features if ``num_classes`` is 0.

        Raises:
            CropError: Frames have an unsupported size.
            ValueError: The batch has another representation.
        """
        return self.modality_logits(clip).mean() if self.heads else self.forward_features(clip)

    def modality_logits(self, clip: CompressedClip) -> PerModality:
        """Logits of each modality's head; arguments and errors as for :meth:`forward`."""
        return self.classify(self.modality_features(clip))

    def forward_features(self, clip: CompressedClip) -> Tensor:
        """Features (B, num_features): those of the I-frames, then those of the P-frames.

        Raises:
            CropError: Frames have an unsupported size.
            ValueError: The batch has another representation.
        """
        return self.modality_features(clip).values.flatten(1)

    def modality_features(self, clip: CompressedClip) -> PerModality:
        """Features of each modality's head; arguments and errors as for :meth:`forward`."""
        check_frame_size(*clip.iframes.shape[-2:])
        return self.fuse(*self.encode(clip, self.pframes(clip)))

    def classify(self, features: PerModality) -> PerModality:
        """Logits of each modality from its features."""
        logits = [head(own) for head, own in zip(self.heads, features.values.unbind(1), strict=True)]
        return PerModality(torch.stack(logits, dim=1), features.exists)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the forward pass, also the one of training; see :meth:`torch.nn.Module.compile`."""
        self.modality_logits = torch.compile(  # type: ignore[method-assign]
            self.modality_logits, *args, **options
        )

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the heads by new ones, randomly initialized, for other classes.

        Args:
            num_classes: Number of classes; 0 makes :meth:`forward` return the features.

        Raises:
            ValueError: The number is negative.
        """
        if num_classes < 0:
            raise ValueError(f"num_classes={num_classes} must not be negative")
        self.architecture["num_classes"] = num_classes
        self.heads = self._new_heads()

    def _new_heads(self) -> nn.ModuleList:
        classes, dropout = self.architecture["num_classes"], self.architecture["dropout"]
        width = self.modality.shape[1]
        return nn.ModuleList(
            ClassHead(width, classes, dropout).to(self.modality) for _ in range(2 if classes else 0)
        ).train(self.training)

    @property
    def num_features(self) -> int:
        """Number of features: those of the cls token and of the mean token of both modalities."""
        return 4 * self.modality.shape[1]

    def fuse(
        self,
        iframe_BKCHW: Tensor,
        readout_BNCHW: Tensor,
        iframe_index_BN: Tensor,
        exists_BN: Tensor,
    ) -> PerModality:
        """Features of each modality from the dual encoder's outputs.

        Args:
            iframe_BKCHW: Features of the I-frames at stride 32.
            readout_BNCHW: Readouts of the segments' P-frames.
            iframe_index_BN: Index of each segment's I-frame among the K.
            exists_BN: bool, false for segments without P-frames.

        Returns:
            The cls token and the mean of the joint tokens, side by side in 2 D channels.
        """
        tokens = self.embed(iframe_BKCHW, readout_BNCHW, iframe_index_BN, exists_BN)
        cls_B2D, joint_B2NLD = self.attend(tokens, iframe_index_BN, exists_BN)
        exists_B2N = joint_exists(exists_BN)
        pooled = masked_mean(joint_B2NLD.mean(dim=3).flatten(0, 1), exists_B2N.flatten(0, 1))
        features_B2C = torch.cat([cls_B2D, pooled.view_as(cls_B2D)], dim=-1)
        return PerModality(features_B2C, exists_B2N.any(dim=2))

    def embed(
        self, iframe_BKCHW: Tensor, readout_BNCHW: Tensor, iframe_index_BN: Tensor, exists_BN: Tensor
    ) -> Tokens:
        """I- and P-tokens from the dual encoder's outputs; see :meth:`fuse` for the arguments."""
        batch, segments, _, height, width = readout_BNCHW.shape
        iframes = iframe_BKCHW.shape[1]
        # Readouts modulate the I-frames, then both become tokens on one grid.
        readout_BNLC = readout_BNCHW.flatten(3).transpose(2, 3)
        iframe_BKLC = iframe_BKCHW.flatten(3).transpose(2, 3)
        uses_BKN = uses(iframe_index_BN, iframes)
        if self.modulation is not None:
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
            The cls tokens (B, 2, D), and the I- and P-tokens of every segment (B, 2, N, L, D).
        """
        # Attend to tokens of all segments and places.
        places = tokens.pframe.shape[2]
        used_BL, exists_BL = (mask.repeat_interleave(places, dim=1) for mask in (tokens.used, exists_BN))
        both = tokens.iframe.flatten(1, 2), tokens.pframe.flatten(1, 2)
        cls_B2D, (iframe_BLD, pframe_BLD) = self.transformer(both, (used_BL, exists_BL))

        # Mix over time and modality: I- and P-tokens of each segment side by side.
        pframe_BNLD = pframe_BLD.unflatten(1, (-1, places))
        iframe_BNLD = of_segments(iframe_BLD.unflatten(1, (-1, places)), iframe_index_BN)
        joint_B2NLD = torch.stack([iframe_BNLD, pframe_BNLD], dim=1)
        exists_B2N = joint_exists(exists_BN)
        for mixer in self.mixers:
            joint_B2NLD = mixer(joint_B2NLD, exists_B2N)
        return cls_B2D, joint_B2NLD

    def _time(self, batch: int, segments: int, device: torch.device) -> Tensor:
        """Time embedding (B, N, D) of the segments, on the same scale for any number of them."""
        middle = (torch.arange(segments, device=device) + 0.5) * (100 / segments)
        embedded: Tensor = self.time(sinusoidal(middle, self.time.in_features).to(self.dtype))
        return embedded.expand(batch, -1, -1)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}")
