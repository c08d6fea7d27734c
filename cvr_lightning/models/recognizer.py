"""The whole model: compressed-domain tensors in, class scores out.

    I-frames --> IFrameEncoder ----------------> I-tokens (K frames) --+
                    |       ^                                          +--> UnifiedTransformer
      thresholds    v       | gate and shift                           |      --> MultiModalMixer --> head
    P-frames --> PFrameEncoder (spiking) ------> P-tokens (N segments)-+

Shape suffixes: B clips, K I-frames, N segments, M = B N segments of all clips, T P-frames of a segment,
L places of the token grid, D token channels, H8, W8 blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.models.dropout import ClipDropout
from cvr_lightning.models.encoders import IFrameEncoder, IFrameFeatures, PFrameEncoder
from cvr_lightning.models.mixer import MultiModalMixer
from cvr_lightning.models.transformer import UnifiedTransformer, grid_embedding, sinusoidal

Preset = Literal["tiny", "small", "base"]

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
MOTION_SCALE = 2.0
"""Pixels of displacement at which the input's compression turns from linear to logarithmic."""
RESIDUAL_SCALE = 16.0
"""The same for a DCT coefficient, in grey levels of the orthonormal transform."""


@dataclass(frozen=True)
class Architecture:
    """Widths and depths of a preset.

    Attributes:
        crop: Side of the frames, in pixels, that the preset is made for; it takes any multiple of 32.
        iframe_widths: Channels of the I-path at strides 4, 8, 16 and 32.
        iframe_depths: Blocks of the I-path at each of them.
        pframe_widths: Channels of the two spiking stages.
        width: Channels of a token.
        depth: Blocks of the transformer.
        heads: Attention heads of a block.
        mlp_ratio: Width of a block's MLP over ``width``.
        mixers: Number of multi-modal mixers.
    """

    crop: int
    iframe_widths: tuple[int, int, int, int]
    iframe_depths: tuple[int, int, int, int]
    pframe_widths: tuple[int, int]
    width: int
    depth: int
    heads: int
    mlp_ratio: int
    mixers: int


PRESETS: dict[Preset, Architecture] = {
    "tiny": Architecture(
        crop=224,
        iframe_widths=(16, 24, 48, 64),
        iframe_depths=(1, 1, 1, 1),
        pframe_widths=(32, 64),
        width=64,
        depth=2,
        heads=4,
        mlp_ratio=2,
        mixers=1,
    ),
    "small": Architecture(
        crop=160,
        iframe_widths=(40, 80, 160, 320),
        iframe_depths=(2, 2, 6, 2),
        pframe_widths=(64, 128),
        width=160,
        depth=3,
        heads=5,
        mlp_ratio=2,
        mixers=2,
    ),
    "base": Architecture(
        crop=224,
        iframe_widths=(64, 128, 256, 512),
        iframe_depths=(2, 2, 6, 2),
        pframe_widths=(128, 256),
        width=384,
        depth=6,
        heads=6,
        mlp_ratio=4,
        mixers=2,
    ),
}
"""The I-paths of small and base are ConvNeXt-Atto and -Pico, for which ImageNet weights are published."""


class CompressedVideoRecognizer(nn.Module):
    """Recognises the action of a compressed clip.

    Takes fields as the reader delivers them (grey levels, pixels, coefficients) and normalises them itself,
    so that a checkpoint needs nothing else.

    Args:
        num_classes: Number of classes.
        preset: Name of the architecture, a key of :data:`PRESETS`.
        residual_channels: Coefficients C of a block.
        dropout: Share of the features dropped before the head.

    Raises:
        ValueError: For an unknown preset; the message lists those there are.
    """

    image_mean: Tensor
    image_std: Tensor

    def __init__(
        self, num_classes: int, preset: Preset = "tiny", residual_channels: int = 24, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"unknown preset {preset!r}; choose one of {', '.join(get_args(Preset))}")
        arch = PRESETS[preset]
        self.register_buffer("image_mean", torch.tensor(IMAGE_MEAN).view(3, 1, 1) * 255)
        self.register_buffer("image_std", torch.tensor(IMAGE_STD).view(3, 1, 1) * 255)

        in_channels = 2 + residual_channels + 1  # vectors, coefficients, "is intra"
        high_channels = arch.iframe_widths[3]
        self.iframe_encoder = IFrameEncoder(arch.iframe_widths, arch.iframe_depths)
        self.pframe_encoder = PFrameEncoder(in_channels, arch.pframe_widths, arch.iframe_widths[2:])
        self.modulation = nn.Linear(self.pframe_encoder.out_channels, 2 * high_channels)
        self.iframe_tokens = nn.Linear(high_channels, arch.width)
        self.pframe_tokens = nn.Linear(self.pframe_encoder.out_channels, arch.width)
        self.modality = nn.Parameter(torch.zeros(2, arch.width))
        self.time = nn.Linear(arch.width, arch.width)
        self.transformer = UnifiedTransformer(arch.width, arch.depth, arch.heads, arch.mlp_ratio)
        self.mixers = nn.ModuleList(MultiModalMixer(arch.width) for _ in range(arch.mixers))
        self.head = nn.Sequential(
            nn.LayerNorm(2 * arch.width), ClipDropout(dropout), nn.Linear(2 * arch.width, num_classes)
        )
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        nn.init.trunc_normal_(self.modality, std=0.02)

    def forward(self, clip: CompressedClip, key_B: Tensor | None = None) -> Tensor:
        """Class scores (logits) of a batch.

        Args:
            clip: Batch in the block representation; H and W multiples of 32.
            key_B: int64, what the dropout of each clip is drawn from; the global generator where None.

        Returns:
            (B, num_classes) logits.

        Raises:
            ValueError: For a batch in the pixel representation.
        """
        if clip.motion.shape[-2:] != clip.modes.shape[-2:]:
            raise ValueError("the recogniser takes the block representation: set data.representation=block")
        # The dual encoder. Each distinct I-frame is encoded once; segments point to it.
        features = self.encode_iframes(clip.iframes)
        in_force = IFrameFeatures(*(_of_segments(f, clip.iframe_index).flatten(0, 1) for f in features))
        blocks_TMCHW, mask_TM = self.blocks(clip)
        readout_MCHW = self.pframe_encoder(blocks_TMCHW, in_force, mask_TM).readout
        readout_BNCHW = readout_MCHW.unflatten(0, clip.iframe_index.shape)
        return self.decide(features.stride32, readout_BNCHW, clip.iframe_index, clip.mask.any(dim=2), key_B)

    def encode_iframes(self, iframes: Tensor) -> IFrameFeatures:
        """Features (B, K, C, H, W) of I-frames (B, K, 3, H, W) in grey levels."""
        images = (iframes.float() - self.image_mean) / self.image_std
        features = self.iframe_encoder(images.flatten(0, 1).to(self.image_mean.dtype))
        return IFrameFeatures(*(feature.unflatten(0, iframes.shape[:2]) for feature in features))

    @staticmethod
    def blocks(clip: CompressedClip) -> tuple[Tensor, Tensor]:
        """The P-path's input (T, M, 2 + C + 1, H8, W8) and its mask (T, M); zero where a block is skipped."""
        intra = (clip.modes == BlockMode.INTRA)[:, :, :, None].float()
        fields = [
            _compress(clip.motion, MOTION_SCALE),
            _compress(clip.residual, RESIDUAL_SCALE),
            intra,
        ]
        blocks_MTCHW = torch.cat(fields, dim=3).flatten(0, 1)
        return blocks_MTCHW.transpose(0, 1), clip.mask.flatten(0, 1).transpose(0, 1)

    def decide(
        self,
        iframe_BKCHW: Tensor,
        readout_BNCHW: Tensor,
        iframe_index_BN: Tensor,
        exists_BN: Tensor,
        key_B: Tensor | None = None,
    ) -> Tensor:
        """Class scores (B, num_classes) from what the dual encoder gave.

        Args:
            iframe_BKCHW: Features of the I-frames at stride 32.
            readout_BNCHW: Read-outs of the segments' P-frames.
            iframe_index_BN: Which of the K I-frames each segment uses.
            exists_BN: bool, false where a segment has no P-frame.
            key_B: As of :meth:`forward`.
        """
        batch, segments, _, height, width = readout_BNCHW.shape
        iframes, places = iframe_BKCHW.shape[1], height * width
        # The read-outs modulate the I-frame, then both become tokens on one grid.
        readout_BNLC = readout_BNCHW.flatten(3).transpose(2, 3)
        iframe_BKLC = iframe_BKCHW.flatten(3).transpose(2, 3)
        iframe_BKLC = self._modulate(iframe_BKLC, readout_BNLC, iframe_index_BN, exists_BN)
        iframe_BKLD = self.iframe_tokens(iframe_BKLC)
        pframe_BNLD = self.pframe_tokens(readout_BNLC)

        # Where, when and what each token is.
        dtype = self.modality.dtype  # of the weights: under autocast the sum of the embeddings stays float32
        place_LD = grid_embedding(height, width, iframe_BKLD.shape[-1], iframe_BKLD.device).to(dtype)
        used_BKN = _uses(iframe_index_BN, iframes).to(dtype)
        time_BND = self._time(batch, segments, iframe_BKLD.device)
        time_BKD = _mean_over_segments(time_BND, used_BKN)
        iframe_BKLD = iframe_BKLD + place_LD + time_BKD[:, :, None] + self.modality[0]
        pframe_BNLD = pframe_BNLD + place_LD + time_BND[:, :, None] + self.modality[1]

        # One attention over all of them.
        exists_BL = torch.cat([used_BKN.any(dim=2), exists_BN], dim=1).repeat_interleave(places, dim=1)
        tokens_BLD = torch.cat([iframe_BKLD, pframe_BNLD], dim=1).flatten(1, 2)
        cls_BD, tokens_BLD = self.transformer(tokens_BLD, exists_BL)

        # Mixing over modality and time: every segment with its I- and P-tokens side by side.
        tokens_BGLD = tokens_BLD.unflatten(1, (iframes + segments, places))
        iframe_BKLD, pframe_BNLD = tokens_BGLD.split([iframes, segments], dim=1)
        iframe_BNLD = _of_segments(iframe_BKLD, iframe_index_BN)
        joint_B2NLD = torch.stack([iframe_BNLD, pframe_BNLD], dim=1)
        exists_B2N = torch.stack([torch.ones_like(exists_BN), exists_BN], dim=1)
        for mixer in self.mixers:
            joint_B2NLD = mixer(joint_B2NLD, exists_B2N)
        pooled_BD = _masked_mean(joint_B2NLD.mean(dim=3).flatten(1, 2), exists_B2N.flatten(1))
        norm, dropout, linear = self.head
        logits: Tensor = linear(dropout(norm(torch.cat([cls_BD, pooled_BD], dim=-1)), key_B))
        return logits

    def _modulate(
        self, iframe_BKLC: Tensor, readout_BNLC: Tensor, iframe_index_BN: Tensor, exists_BN: Tensor
    ) -> Tensor:
        """Gate and shift each I-frame by the mean over the segments that use it."""
        uses_BKN = _uses(iframe_index_BN, iframe_BKLC.shape[1]) & exists_BN[:, None]
        modulation_BNLC = self.modulation(readout_BNLC)
        mean_BKC = _mean_over_segments(modulation_BNLC.flatten(2), uses_BKN.to(modulation_BNLC.dtype))
        gate_BKLC, shift_BKLC = mean_BKC.view(*iframe_BKLC.shape[:3], modulation_BNLC.shape[3]).chunk(
            2, dim=-1
        )
        modulated: Tensor = iframe_BKLC * (1 + gate_BKLC) + shift_BKLC
        return modulated

    def _time(self, batch: int, segments: int, device: torch.device) -> Tensor:
        """Embedding (B, N, D) of the segments' places in the video, the same scale for any number of them."""
        middle = (torch.arange(segments, device=device) + 0.5) * (100 / segments)
        embedded: Tensor = self.time(sinusoidal(middle, self.time.in_features).to(self.time.weight.dtype))
        return embedded.expand(batch, -1, -1)


def _compress(values: Tensor, scale: float) -> Tensor:
    """Linear near zero, logarithmic beyond ``scale``; the sign is kept, zero stays zero."""
    values = values.float()
    return values.sign() * torch.log1p(values.abs() / scale)


def _uses(iframe_index_BN: Tensor, iframes: int) -> Tensor:
    """(B, K, N) bool: which segments use each of K I-frames."""
    return torch.arange(iframes, device=iframe_index_BN.device)[:, None] == iframe_index_BN[:, None]


def _of_segments(features_BK: Tensor, iframe_index_BN: Tensor) -> Tensor:
    """Features (B, N, ...) of the I-frame in force of each segment, from those of all (B, K, ...)."""
    clips = torch.arange(features_BK.shape[0], device=iframe_index_BN.device)
    return features_BK[clips[:, None], iframe_index_BN]


def _mean_over_segments(values_BND: Tensor, weights_BKN: Tensor) -> Tensor:
    """Weighted mean over the segments of each I-frame (B, K, D); zero where no segment uses it."""
    return weights_BKN @ values_BND / weights_BKN.sum(dim=2, keepdim=True).clamp(min=1)


def _masked_mean(values_BSD: Tensor, exists_BS: Tensor) -> Tensor:
    """Mean over the slots that exist."""
    weights = exists_BS.to(values_BSD.dtype)[..., None]
    return (values_BSD * weights).sum(dim=1) / weights.sum(dim=1)
