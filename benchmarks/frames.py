"""Checks whether readers of decoded frames return the requested frames.

Reads random frames of each clip by number and compares each with all frames of the clip, decoded in order by
FFmpeg. A frame is wrong if the frame of another number is nearer by more than half a gray level. This is why
`representation: rgb` does not use decord.

    python benchmarks/bench.py --sections frames CLIP... [--draws 24]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from machine import installed
from page import arguments, publish

from cvr_lightning.codec import CompressedVideoReader, Segment
from cvr_lightning.errors import UserError

Picture = npt.NDArray[np.uint8]
Reader = Callable[[Path, list[int]], list[Picture]]
GRID, NEARER = 32, 0.5


def main(given: list[str]) -> None:
    parser = arguments("frames", __doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=24)
    options = parser.parse_args(given)
    protocol = f"{options.draws} frames of each clip."
    packages = ("av", "numpy", "decord2", "torchcodec")
    publish(
        options.output, "Decoded frames by number", packages, protocol, table(options.clips, options.draws)
    )


def table(clips: list[Path], draws: int) -> Iterator[str]:
    """A row for each clip: wrong frames of each reader."""
    readers: dict[str, Reader] = {"ours": read_ours}
    readers |= {"decord": read_decord} if installed("decord2") else {}
    readers |= {"torchcodec": read_torchcodec} if installed("torchcodec") else {}
    yield f"| clip | codec | frames | wrong: {' | '.join(readers)} |"
    yield "|---" * (3 + len(readers)) + "|"
    for clip in clips:
        try:
            codec, decoded = decode_in_order(clip)
        except av.FFmpegError as error:
            yield f"| {clip.name} | FFmpeg: {error.strerror} | |{' |' * len(readers)}"
            continue
        numbers = np.random.default_rng(0).integers(len(decoded), size=draws).tolist()
        cells = [wrong(reader, clip, decoded, numbers) for reader in readers.values()]
        yield f"| {clip.name} | {codec} | {len(decoded)} | {' | '.join(cells)} |"


def decode_in_order(path: Path) -> tuple[str, npt.NDArray[np.float32]]:
    """The codec, and a small picture of each frame, turned as it is displayed."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        pictures = (
            np.rot90(f.to_ndarray(format="rgb24"), f.rotation // 90) for f in container.decode(stream)
        )
        return stream.codec_context.name, np.stack([small(picture) for picture in pictures])


def small(picture: Picture) -> npt.NDArray[np.float32]:
    """Means of a grid of boxes."""
    counts = (min(GRID, length) for length in picture.shape[:2])
    rows, columns = (
        np.arange(count) * length // count for count, length in zip(counts, picture.shape[:2], strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(picture.astype(np.float32), rows, 0), columns, 1)
    areas = np.outer(np.diff(rows, append=picture.shape[0]), np.diff(columns, append=picture.shape[1]))
    return sums / areas[:, :, None].astype(np.float32)


def wrong(reader: Reader, clip: Path, decoded: npt.NDArray[np.float32], numbers: list[int]) -> str:
    """How many of the frames are others than those asked for, or why there are none."""
    try:
        pictures = reader(clip, numbers)
    except (UserError, RuntimeError, IndexError, ValueError) as error:
        return f"refused ({type(error).__name__})"
    if any(small(picture).shape != decoded.shape[1:] for picture in pictures):
        return f"shape {pictures[0].shape}"
    count = 0
    for number, picture in zip(numbers, pictures, strict=True):
        distance = np.abs(decoded - small(picture)).mean(axis=(1, 2, 3))
        count += bool(distance[number] > distance.min() + NEARER)
    return str(count)


def read_ours(path: Path, numbers: list[int]) -> list[Picture]:
    with CompressedVideoReader(path) as reader:
        arrays = reader.read_frames([Segment(number, ()) for number in numbers])
    return [arrays.iframes[i].transpose(1, 2, 0) for i in arrays.iframe_index]


def read_decord(path: Path, numbers: list[int]) -> list[Picture]:
    from decord import VideoReader, cpu

    reader = VideoReader(str(path), ctx=cpu(0), num_threads=1)
    return [reader[number].asnumpy() for number in numbers]


def read_torchcodec(path: Path, numbers: list[int]) -> list[Picture]:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="exact")
    return [decoder.get_frame_at(number).data.permute(1, 2, 0).numpy() for number in numbers]
