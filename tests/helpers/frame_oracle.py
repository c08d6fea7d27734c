"""A full decode of a video by PyAV, and where the reader gives anything else.

Run on files or folders it prints a line for each file: ``python tests/helpers/frame_oracle.py FOLDER``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType, VideoFrame

from cvr_lightning.codec import CompressedVideoReader, Segment
from cvr_lightning.codec.errors import VideoError


@dataclass(frozen=True)
class Shown:
    """A frame as a player shows it.

    Attributes:
        kind: Its type, one letter.
        rgb: (H, W, 3) uint8.
        damaged: FFmpeg marks it as damaged.
    """

    kind: str
    rgb: npt.NDArray[np.uint8]
    damaged: bool


def shown(path: str | Path) -> list[Shown]:
    """All frames of a video in the order in which PyAV gives them, past every damaged packet."""
    return [
        Shown(_kind(frame), frame.to_ndarray(format="rgb24"), frame.is_corrupt)
        for frame in _decoded(str(path))
    ]


def _kind(frame: VideoFrame) -> str:
    if frame.pict_type:
        return PictureType(frame.pict_type).name[0]
    return "I" if frame.key_frame else "?"


def _decoded(path: str) -> Iterator[VideoFrame]:
    with av.open(path, metadata_errors="replace") as container:
        stream = container.streams.best("video")
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                packet = None
            with contextlib.suppress(av.FFmpegError, EOFError):
                yield from stream.codec_context.decode(packet)
            if packet is None:
                return


def disagreements(path: str | Path, every: bool = False) -> list[str]:
    """What the reader says of a video that a full decode does not; refusals by name are put first as ``-``.

    Args:
        path: The video.
        every: Compare all frames, not the I-frames alone.
    """
    frames = shown(path)
    try:
        reader = CompressedVideoReader(path)
    except VideoError as error:
        return [f"- refused: {error}"] if frames else []
    with reader:
        types = "".join(frame.kind for frame in frames)
        told = reader.info.frame_types
        if types != told:
            return [f"{len(told)} frames {told[:40]} instead of {len(types)} {types[:40]}"]
        wanted = [n for n, kind in enumerate(types) if every or kind == "I"]
        return [text for number in wanted if (text := _difference(reader, number, frames[number]))]


def _difference(reader: CompressedVideoReader, number: int, frame: Shown) -> str:
    try:
        read = reader.read_frames if frame.kind != "I" else reader.read
        options = {} if frame.kind != "I" else {"modalities": ("iframes",)}
        rgb = read([Segment(number, ())], **options).iframes[0].transpose(1, 2, 0)
    except VideoError as error:
        return f"- frame {number} {frame.kind}{' damaged' if frame.damaged else ''}: {error}"
    expected = np.rot90(frame.rgb, reader.info.rotation // 90)
    if rgb.shape != expected.shape:
        return f"frame {number} {frame.kind}: {rgb.shape} instead of {expected.shape}"
    off = np.abs(rgb.astype(int) - expected)
    return f"frame {number} {frame.kind}: off by {off.mean():.3f} in the mean" if off.any() else ""


def _main(names: list[str]) -> None:
    every = "--every" in names
    for name in names:
        root = Path(name)
        for path in sorted(root.rglob("*")) if root.is_dir() else [root] if root.is_file() else []:
            if path.is_file():
                try:
                    found = disagreements(path, every)
                except Exception as error:
                    found = [f"RAISED {type(error).__name__}: {error}"]
                print(f"{path}: {found[:2]} of {len(found)}" if found else f"{path}: same", flush=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
