"""MPEG-4 Part 2 with global motion compensation, which FFmpeg's encoder does not write."""

from __future__ import annotations

import re
from pathlib import Path

import av

from cvr_lightning.codec.mpeg4.headers import parse_vol
from helpers.encoders import encode

SPRITE = {1: "01" + 4 * (13 * "0" + "1") + "000000" + "00" + "0" + "0", 2: "10" + "000000" + "00" + "0"}
"""sprite_enable of two bits and what follows it: a static sprite, global motion without warping points."""


def packed(bits: str) -> bytes:
    """Bits with the stuffing that follows a header: a zero, and ones to the end of the byte."""
    bits += "0"
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def encode_global_motion(path: Path, size: tuple[int, int] = (96, 64), frames: int = 14) -> tuple[Path, Path]:
    """Write a raw stream of version 2 whose VOL header allows global motion compensation.

    Returns:
        The stream, and the same video without it.
    """
    source = encode(path.with_suffix(".mp4"), size, frames=frames, options={"flags": "+qpel"})
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        data = (stream.codec_context.extradata or b"") + b"".join(bytes(p) for p in container.demux(stream))
    path.write_bytes(_with_global_motion(data))
    return path, source


def _with_global_motion(stream: bytes) -> bytes:
    def rewrite(match: re.Match[bytes]) -> bytes:
        vol = parse_vol(match[0])
        bits = "".join(f"{byte:08b}" for byte in match[0])
        place = vol.size_bit + 13 + 1 + 13 + 1 + 2  # behind obmc_disable
        return packed(bits[:place] + SPRITE[2] + bits[place + 2 : bits.rindex("0")])

    return re.sub(rb"\x00\x00\x01\x20.*?(?=\x00\x00\x01)", rewrite, stream, flags=re.DOTALL)
