"""A full decode of a video by PyAV, and where the reader gives anything else.

``python tests/helpers/frame_oracle.py [--every] FOLDER`` prints a line for each file.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType, VideoFrame

from cvr_lightning.codec import CompressedVideoReader, Segment
from cvr_lightning.codec.errors import VideoError


class Shown(NamedTuple):
    """A frame as a player shows it: type, (H, W, 3) RGB before it is turned, FFmpeg's mark of damage."""

    kind: str
    rgb: npt.NDArray[np.uint8]
    damaged: bool


def shown(path: str | Path, size: tuple[int, int] | None = None) -> list[Shown]:
    """All frames of a video as PyAV gives them, past every damaged packet, each scaled to ``size`` (H, W)."""
    return [Shown(_kind(frame), _rgb(frame, size), frame.is_corrupt) for frame in _decoded(str(path))]


def _rgb(frame: VideoFrame, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    if size is not None and size != (frame.height, frame.width):
        frame = frame.reformat(width=size[1], height=size[0], interpolation="BILINEAR")
    return frame.to_ndarray(format="rgb24")


def _kind(frame: VideoFrame) -> str:
    """Some decoders tell no more than which frames are keyframes."""
    if frame.pict_type:
        return PictureType(frame.pict_type).name[0]
    return "I" if frame.key_frame else "?"


def _decoded(path: str) -> Iterator[VideoFrame]:
    with av.open(path, metadata_errors="replace") as container:
        stream = container.streams.best("video")
        packets = container.demux(stream)
        while True:
            packet = None
            with contextlib.suppress(av.FFmpegError):
                packet = next(packets, None)
            with contextlib.suppress(av.FFmpegError):
                yield from stream.codec_context.decode(packet)
            if packet is None:
                return


def disagreements(path: str | Path, every: bool = True) -> list[str]:
    """Where the reader differs from a full decode; a refusal that names file and frame begins with a dash.

    Args:
        path: The video.
        every: Compare all frames, not the I-frames alone.
    """
    try:
        reader = CompressedVideoReader(path)
    except VideoError as error:
        return [f"- refused: {error}"]
    with reader:
        info = reader.info
        size = (info.width, info.height) if info.rotation % 180 else (info.height, info.width)
        frames = shown(path, size)
        types = "".join(frame.kind for frame in frames)
        if types != info.frame_types:
            return [f"{info.num_frames} frames {info.frame_types} instead of {len(types)} {types}"]
        wanted = [n for n, kind in enumerate(types) if every or kind == "I"]
        return [text for number in wanted if (text := _difference(reader, number, frames[number]))]


def _difference(reader: CompressedVideoReader, number: int, frame: Shown) -> str:
    segment = [Segment(number, ())]
    try:
        if frame.kind == "I":
            iframes = reader.read(segment, modalities=("iframes",)).iframes
        else:
            iframes = reader.read_frames(segment).iframes
    except VideoError as error:
        return f"- frame {number} {frame.kind}{' damaged' if frame.damaged else ''}: {error}"
    expected = np.rot90(frame.rgb, reader.info.rotation // 90).astype(int)
    off = np.abs(iframes[0].transpose(1, 2, 0) - expected)
    return f"frame {number} {frame.kind}: off by {off.mean():.3f} in the mean" if off.any() else ""


def _main(names: list[str]) -> None:
    roots = [Path(name) for name in names if name != "--every"]
    for path in sorted(found for root in roots for found in (root.rglob("*") if root.is_dir() else [root])):
        if path.is_file():
            try:
                found = disagreements(path, "--every" in names)
            except Exception as error:
                found = [f"raised {type(error).__name__}: {error}"]
            print(f"{path}: {found[:2]} of {len(found)}" if found else f"{path}: same", flush=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
