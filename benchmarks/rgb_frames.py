"""Readers of evenly spaced RGB frames, the input of networks on decoded frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor


def with_pyav(path: Path, frames: int) -> Tensor:
    """Decode all frames and convert the requested ones."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        decoded = list(container.decode(stream))
    pictures = [decoded[number].to_ndarray(format="rgb24") for number in spread(len(decoded), frames)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def with_torchcodec(path: Path, frames: int) -> Tensor:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="exact")
    return decoder.get_frames_at(spread(decoder.metadata.num_frames, frames)).data


def with_decord(path: Path, frames: int) -> Tensor:
    from decord import VideoReader, cpu

    reader = VideoReader(str(path), ctx=cpu(0), num_threads=1)
    return torch.from_numpy(reader.get_batch(spread(len(reader), frames)).asnumpy()).permute(0, 3, 1, 2)


def spread(count: int, frames: int) -> list[int]:
    return [int(number) for number in np.linspace(0, count - 1, frames)]


FRAME_READERS: dict[str, Callable[[Path, int], Tensor]] = {
    "av": with_pyav,
    "torchcodec": with_torchcodec,
    "decord2": with_decord,
}
"""Readers that return (frames, 3, H, W) uint8, by the distribution that they need."""
