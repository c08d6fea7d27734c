"""What FFmpeg says of a file: the oracle of the data tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np


def packets(path: Path) -> list[bytes]:
    """Bytes of each coded frame."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def export_vectors(path: Path) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (frame, (M, 2) block centers, (M, 2) vectors to the reference) of each P-frame."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.options = {"flags2": "+export_mvs"}
        for number, frame in enumerate(container.decode(video=0)):
            exported = frame.side_data.get("MOTION_VECTORS")
            if exported is not None:
                table = exported.to_ndarray()
                centers = np.stack([table["dst_x"], table["dst_y"]], axis=1).astype(float)
                vectors = (
                    np.stack([table["motion_x"], table["motion_y"]], axis=1) / table["motion_scale"][:, None]
                )
                yield number, centers, vectors
