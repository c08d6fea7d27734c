"""Whether skipping zeros is faster in the P-path: skipped blocks and silent channels on the CPU.

Three ways to skip zeros, each with the result of the dense layer, at the fractions of zeros found in clips or
set by ``--skipped``:

- conv1 at positions whose 3x3 neighborhood has coded bits: gather, matrix product, scatter;
- the transformer on P-tokens of positions where any block of the segment has coded bits;
- conv2 on spikes only: a sparse matrix product with the unfolded input.

Values are medians of processor time on one thread.

    python benchmarks/bench.py --sections sparsity [CLIP ...] [--skipped 0.5 0.9]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from page import arguments, publish
from torch import Tensor, nn
from torch.nn import functional as F

from cvr_lightning.clip import BlockMode
from cvr_lightning.datamodules.clips import read_clip
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.models import PRESETS
from cvr_lightning.models.transformer import UnifiedTransformer

STEPS, SEGMENTS, CHANNELS = 3, 8, 27
SPIKE_RATE = 0.15


def main(given: list[str]) -> None:
    parser = arguments("sparsity", __doc__)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--skipped", nargs="*", type=float, default=[0.5, 0.8, 0.95])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    protocol = f"{SEGMENTS} segments x {STEPS} P-frames, one thread; medians of {options.rounds} rounds, ms."
    lines = [skip_line(path) for path in options.clips]
    lines += ["", "| preset | blocks skipped | layer | kept | dense | skipping | dense / skipping |"]
    lines += ["|---|---|---|---|---|---|---|"]
    with torch.inference_mode():
        for preset in ("tiny", "small"):
            for skipped in options.skipped:
                lines += rows(preset, skipped, options.rounds)
    publish(options.output, "Skipping in the P-path", ("torch", "numba"), protocol, lines)


def skip_line(path: Path) -> str:
    """Shares of a clip's blocks and 4x4-block places (tokens) that carry no bits."""
    modes = torch.as_tensor(read_clip(str(path), ClipSampling()).modes)
    empty = (modes == BlockMode.SKIPPED).float().flatten(0, 1)[:, None]
    token = -F.max_pool2d(-empty, kernel_size=4)  # 1 where all 16 blocks are empty
    window = token.unflatten(0, modes.shape[:2]).amin(dim=1)
    return (
        f"- {path.name}: {empty.mean():.0%} of the blocks skipped, {token.mean():.0%} of the token places, "
        f"{window.mean():.0%} of those through a whole segment"
    )


def rows(preset: str, skipped: float, rounds: int) -> list[str]:
    arch = PRESETS[preset]  # type: ignore[index]
    side = arch.crop // 8
    torch.manual_seed(0)
    # Motion comes in regions: coded places of 4x4 blocks, drawn at random.
    coded = (torch.rand(STEPS * SEGMENTS, 1, side // 4, side // 4) >= skipped).float()
    blocks = torch.randn(STEPS * SEGMENTS, CHANNELS, side, side) * F.interpolate(coded, scale_factor=4)
    layer1 = nn.Conv2d(CHANNELS, arch.pframe_widths[0], 3, 2, 1, bias=False)
    spikes = (torch.rand(STEPS * SEGMENTS, arch.pframe_widths[0], side // 2, side // 2) < SPIKE_RATE).float()
    spikes *= F.interpolate(coded, scale_factor=2)
    layer2 = nn.Conv2d(*arch.pframe_widths, 3, 2, 1, bias=False)
    places = (side // 4) ** 2
    transformer = UnifiedTransformer(arch.width, arch.depth, arch.heads, arch.mlp_ratio).eval()
    iframe, pframe = torch.randn(2, 1, SEGMENTS * places, arch.width)
    exists = torch.ones(1, SEGMENTS * places, dtype=torch.bool)
    keep = coded.view(STEPS, -1).amax(dim=0) > 0
    pairs: list[tuple[str, float, Callable[[], Tensor], Callable[[], Tensor]]] = [
        ("conv1, places with bits", _used(blocks), lambda: layer1(blocks), lambda: gathered(layer1, blocks)),
        (
            "transformer, tokens with bits",
            float((1 + keep.float().mean()) / 2),
            lambda: transformer((iframe, pframe), (exists, exists))[0],
            lambda: transformer((iframe, pframe[:, keep]), (exists, exists[:, keep]))[0],
        ),
        ("conv2, spikes", float(spikes.mean()), lambda: layer2(spikes), lambda: driven(layer2, spikes)),
    ]
    out = []
    for name, kept, dense, sparse in pairs:
        if name.startswith("conv"):
            torch.testing.assert_close(dense(), sparse(), rtol=1e-4, atol=1e-4)
        first, second = (1e3 * seconds for seconds in medians([dense, sparse], rounds))
        cells = f"{name} | {kept:.0%} | {first:.2f} | {second:.2f} | {first / second:.2f}"
        out.append(f"| {preset} | {skipped:.0%} | {cells} |")
    return out


def _neighborhoods(features: Tensor) -> Tensor:
    """bool (M, H / 2, W / 2): places of a 3x3 convolution of stride 2 whose input is not all zero."""
    occupied = (features != 0).any(dim=1, keepdim=True).float()
    return F.max_pool2d(occupied, kernel_size=3, stride=2, padding=1)[:, 0] > 0


def _used(features: Tensor) -> float:
    return float(_neighborhoods(features).float().mean())


def gathered(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """The convolution, computed where its input is not all zero."""
    places = _neighborhoods(features)
    padded = F.pad(features, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()
    m, y, x = places.nonzero(as_tuple=True)
    taps = [padded[m, 2 * y + dy, 2 * x + dx] for dy in range(3) for dx in range(3)]
    found = torch.cat(taps, dim=1) @ layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    out = features.new_zeros(*places.shape, layer.out_channels)
    out[m, y, x] = found
    return out.permute(0, 3, 1, 2)


def driven(layer: nn.Conv2d, spikes: Tensor) -> Tensor:
    """The convolution as a product with the sparse matrix of unfolded spikes."""
    unfolded = F.unfold(spikes, kernel_size=3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
    product = unfolded.to_sparse_csr() @ layer.weight.flatten(1).T
    height = spikes.shape[2] // 2
    return product.unflatten(0, (len(spikes), height, height)).permute(0, 3, 1, 2)


def medians(ways: list[Callable[[], object]], rounds: int) -> list[float]:
    times: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 2):
        for way, found in zip(ways, times, strict=True):
            start = time.process_time()
            way()
            if number >= 2:
                found.append(time.process_time() - start)
    return [statistics.median(found) for found in times]
