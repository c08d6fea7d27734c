"""A fuzzer of the H.264 parser: seeded mutations of real packets, run with bounds checks in the kernels.

    python tests/helpers/h264_fuzz.py [PACKETS [SEED]]

Every packet must give whole, plausible macroblocks or a fault, within a second; a packet that is cut short
must give a
fault. What it finds it prints with the number of the packet, which is the same in every run of a seed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # numba reads these once; kernels with bounds checks need a cache of their own
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / "cvr_lightning_h264_fuzz"))
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import numba
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

TOOLS = (
    "bframes=0:qp=20:partitions=all:8x8dct=1:ref=4",
    "bframes=0:qp=14:cabac=0:8x8dct=1:partitions=all:ref=3",
    "bframes=2:slices=3:qp=30:weightp=2",
    "bframes=0:cabac=0:8x8dct=0:slices=2:constrained-intra=1:qp=36",
    "bframes=3:b-adapt=0:b-pyramid=normal:direct=spatial:partitions=all:8x8dct=1:qp=20:ref=3",
    "bframes=2:b-adapt=0:direct=temporal:cabac=0:8x8dct=1:partitions=all:slices=2:qp=18",
    "bframes=3:b-adapt=0:direct=temporal:partitions=all:8x8dct=0:qp=24",
)
SECONDS = 1.0
"""Longest time that a packet may take."""
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


def mutate(seed: Seed, others: list[Seed], rng: np.random.Generator) -> tuple[str, bytes]:
    """One mutation: its name, the packet."""
    data = bytearray(seed.coded.data)
    name = str(rng.choice(["bits", "bytes", "cut", "drop", "insert", "splice", "header", "ones"]))
    place = int(rng.integers(5, len(data)))
    if name in ("bits", "header"):
        last = len(data) if name == "bits" else min(len(data), 16)
        for _ in range(int(rng.integers(1, 9))):
            bit = int(rng.integers(40 if name == "bits" else 0, 8 * last))
            data[bit // 8] ^= 0x80 >> bit % 8
    elif name == "bytes":
        noise = rng.integers(0, 256, int(rng.integers(1, 32)), np.uint8).tobytes()
        data[place : place + len(noise)] = noise[: len(data) - place]
    elif name == "cut":
        del data[place:]
    elif name == "drop":
        del data[place : place + int(rng.integers(1, 9))]
    elif name == "insert":
        data[place:place] = rng.integers(0, 256, int(rng.integers(1, 9)), np.uint8).tobytes()
    elif name == "splice":
        other = others[int(rng.integers(len(others)))].coded.data
        data[place:] = other[int(rng.integers(4, len(other))) :]
    else:
        data[place:] = bytes([int(rng.choice([0, 0xFF]))]) * (len(data) - place)
    return name, bytes(data)


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


def run(packets: int, seed: int, folder: Path) -> Counter[str]:
    """Read mutated packets.

    Returns:
        How often each kind of mutation was parsed, and how often it was refused.

    Raises:
        AssertionError: A packet broke a rule; the message names it.
    """
    sound = seeds(folder)
    for each in sound:  # compiles the kernels
        check(each, each.coded.data, (64, 64))
        scan(each, each.coded.data)
    results: Counter[str] = Counter()
    for number in range(packets):
        rng = np.random.default_rng((seed, number))
        chosen = sound[int(rng.integers(len(sound)))]
        name, data = mutate(chosen, sound, rng)
        kept = (64, 64) if number % 2 else (int(rng.integers(1, 65)), int(rng.integers(1, 65)))
        began = time.perf_counter()
        verdict = "parsed"
        try:
            scan(chosen, data)
            check(chosen, data, kept)
        except DamagedPictureError:
            verdict = "refused"
        except Exception as error:
            raise AssertionError(f"packet {number} of seed {seed} ({name}): {error!r}") from error
        took = time.perf_counter() - began
        assert took < SECONDS, f"packet {number} of seed {seed} ({name}) took {took:.1f} s"
        cut = name == "cut" and verdict == "parsed"
        assert not cut, f"packet {number} of seed {seed} is cut short and was parsed"
        results[f"{name} {verdict}"] += 1
    return results


@numba.njit
def _beyond(array):  # type: ignore[no-untyped-def]
    return array[array.size + 3]


def main() -> None:
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    try:
        _beyond(np.zeros(1))
    except IndexError:
        pass
    else:
        raise SystemExit("bounds checks are off")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        results = run(packets, seed, Path(folder))
    print(
        f"{packets} packets of seed {seed} in {time.perf_counter() - began:.0f} s, bounds checked, no finding"
    )
    for name, count in sorted(results.items()):
        print(f"  {name:16} {count}")


if __name__ == "__main__":
    main()
