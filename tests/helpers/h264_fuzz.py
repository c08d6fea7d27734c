"""What :mod:`helpers.fuzz` does to H.264: packets of small clips, and what holds for all that is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvr_lightning.codec import BlockMode, CompressedVideoReader
from cvr_lightning.codec.h264.header_scan import HeaderScan
from cvr_lightning.codec.h264.macroblocks import (
    Coded,
    DamagedPictureError,
    MacroblockKind,
    Stream,
    read_fields,
    read_macroblocks,
)
from cvr_lightning.codec.h264.parameters import parameter_units
from cvr_lightning.codec.h264.parser import H264Parser
from cvr_lightning.codec.parser import BlockFields, BlockGrid
from helpers.encoders import encode
from helpers.fuzz import MUTATIONS, Fuzzer, coefficients, mutate

TOOLS = (
    "bframes=0:qp=20:partitions=all:8x8dct=1:ref=4",
    "bframes=0:qp=14:cabac=0:8x8dct=1:partitions=all:ref=3",
    "bframes=2:slices=3:qp=30:weightp=2",
    "bframes=0:cabac=0:8x8dct=0:slices=2:constrained-intra=1:qp=36",
    "bframes=3:b-adapt=0:b-pyramid=normal:direct=spatial:partitions=all:8x8dct=1:qp=20:ref=3",
    "bframes=2:b-adapt=0:direct=temporal:cabac=0:8x8dct=1:partitions=all:slices=2:qp=18",
    "bframes=3:b-adapt=0:direct=temporal:partitions=all:8x8dct=0:qp=24",
)
SHAPE = (3, 4)


@dataclass(frozen=True)
class Seed:
    """A sound packet and all that it is read with."""

    coded: Coded
    stream: Stream
    kind: str
    headers: bytes


def seeds(folder: Path) -> list[Seed]:
    """Packets of small clips that use all tools."""
    out = []
    for number, params in enumerate(TOOLS):
        options = {"x264-params": params}
        path = encode(folder / f"{number}.mp4", (64, 48), 8, "libx264", gop=6, options=options)
        with CompressedVideoReader(path, parser="h264") as video:
            parser = video._parser
            assert isinstance(parser, H264Parser)
            header = video.index.sequence_headers[0]
            for frame, kind in enumerate(video.info.frame_types):
                out.append(Seed(parser._coded(frame), parser._stream, kind, header))
    return out


def check(seed: Seed, data: bytes, kept: tuple[int, int]) -> None:
    """Read a packet: alone and for clips it must give the same, or be refused twice.

    Raises:
        DamagedPictureError: It was refused.
    """
    coded = seed.coded._replace(data=data)
    rows, columns = 2 * SHAPE[0], 2 * SHAPE[1]
    fields = BlockFields(
        np.zeros((1, 2, rows, columns), np.float32),
        np.zeros((1, kept[0] + 2 * kept[1], rows, columns), np.float32),
        np.zeros((1, rows, columns), np.uint8),
    )
    grid = BlockGrid(np.arange(rows), np.arange(columns), np.ones(2, np.float32))
    try:
        parsed = read_macroblocks(coded, seed.stream, SHAPE, 100, seed.kind)
    except DamagedPictureError:
        parsed = None
    try:
        read_fields([coded], seed.stream, SHAPE, [0], kept, grid, fields)
    except DamagedPictureError:
        assert parsed is None
        raise
    assert parsed is not None
    assert int(parsed.quantizer.max()) <= 51
    assert int(parsed.kinds.max()) <= MacroblockKind.PCM
    assert int(parsed.slices.min()) >= 0
    inter = parsed.kinds < MacroblockKind.INTRA_4X4
    used = parsed.indices.max(0).reshape(SHAPE[0], 2, SHAPE[1], 2)
    assert (used.min((1, 3)) >= 0)[inter].all()
    motion = parsed.motion.reshape(2, SHAPE[0], 4, SHAPE[1], 4, 2)
    assert not motion.any((0, 2, 4, 5))[~inter].any()
    assert (fields.modes[0] != BlockMode.OUTSIDE).all()
    assert np.isfinite(fields.motion).all()
    assert np.isfinite(fields.residual).all()


def scan(seed: Seed, data: bytes) -> None:
    """Read the headers of a packet as the index does."""
    scanner = HeaderScan(b"")
    scanner.prefix = seed.stream.prefix
    for unit in parameter_units(seed.headers)[1]:
        scanner.parameters.add(unit)
    for packet in (seed.coded.data, data, seed.coded.data):
        row, _ = scanner.read(packet)
        assert len(row)


def fuzzer(folder: Path) -> Fuzzer:
    """The fuzzer, with its kernels compiled.

    Args:
        folder: Where clips are encoded.
    """
    sound = seeds(folder)
    packets = [each.coded.data for each in sound]
    for each in sound:
        check(each, each.coded.data, (64, 64))
        scan(each, each.coded.data)

    def draw(rng: np.random.Generator) -> tuple[str, Callable[[], None]]:
        chosen = sound[int(rng.integers(len(sound)))]
        name = str(rng.choice(MUTATIONS))
        data, kept = mutate(name, chosen.coded.data, 5, packets, rng), coefficients(rng)

        def read() -> None:
            scan(chosen, data)
            check(chosen, data, kept)

        return name, read

    return Fuzzer(draw, (DamagedPictureError,))
