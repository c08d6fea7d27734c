"""A fuzzer of the MPEG-4 parser: seeded mutations of real packets, run with bounds checks in the kernels.

    python tests/helpers/mpeg4_fuzz.py [PACKETS [SEED]]

Every packet must give whole, plausible macroblocks or a fault, within a second; a packet that is cut short
must give a fault. What it finds it prints with the number of the packet, which is the same in every run of a
seed.
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
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / "cvr_lightning_fuzz"))
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import numba
import numpy as np

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.mpeg4 import headers
from cvr_lightning.codec.mpeg4.macroblocks import DamagedVopError, Layer, Macroblocks, parse_vop
from cvr_lightning.codec.mpeg4.parser import Mpeg4Parser, read_layer
from cvr_lightning.codec.mpeg4.pframes import DamagedPFrameError, parse_pframes
from cvr_lightning.codec.mpeg4.vop_header import VideoObjectPlane, parse_vop_header, vops
from cvr_lightning.codec.parser import BlockFields, BlockGrid
from helpers.encoders import encode

TOOLS = (
    {"qmin": "2", "qmax": "4"},
    {"flags": "+qpel+mv4", "mbd": "rd", "bf": "2"},
    {"mpeg_quant": "1", "flags": "+aic", "qmin": "2", "qmax": "8"},
    {"ps": "80", "bf": "2", "qmin": "3", "qmax": "9", "flags": "+aic+mv4", "mbd": "rd"},
)
SECONDS = 1.0
"""Longest time that a packet may take."""


@dataclass(frozen=True)
class Seed:
    """A sound VOP and all that it is parsed with."""

    data: bytes
    layer: Layer
    header: bytes
    colocated: Macroblocks | None
    ticks: tuple[int, int]


def seeds(folder: Path) -> list[Seed]:
    """VOPs of small clips that use all tools."""
    out = []
    for number, options in enumerate(TOOLS):
        path = encode(folder / f"{number}.avi", (64, 48), frames=8, gop=6, options=options)
        with CompressedVideoReader(path, parser="mpeg4") as video:
            parser = video._parser
            assert isinstance(parser, Mpeg4Parser)
            for frame, kind in enumerate(video.info.frame_types):
                colocated, ticks = parser._references(frame) if kind == "B" else (None, (0, 0))
                header = video.index.sequence_headers[video.index.frame_headers[frame]]
                out.append(Seed(parser._vop(frame), read_layer(header), header, colocated, ticks))
    return out


def _flip(data: bytearray, rng: np.random.Generator, first: int, last: int) -> None:
    for _ in range(int(rng.integers(1, 9))):
        bit = int(rng.integers(8 * first, 8 * last))
        data[bit // 8] ^= 0x80 >> bit % 8


def mutate(seed: Seed, others: list[Seed], rng: np.random.Generator) -> tuple[str, bytes, Layer]:
    """One mutation: its name, the packet, its layer."""
    data, layer = bytearray(seed.data), seed.layer
    name = str(rng.choice(["bits", "bytes", "cut", "drop", "insert", "splice", "header", "layer", "ones"]))
    place = int(rng.integers(4, len(data)))
    if name == "bits":
        _flip(data, rng, 4, len(data))
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
        other = others[int(rng.integers(len(others)))].data
        data[place:] = other[int(rng.integers(4, len(other))) :]
    elif name == "header":
        _flip(data, rng, 4, min(len(data), 14))
    elif name == "layer":
        header = bytearray(seed.header)
        _flip(header, rng, 4, len(header))
        vol = headers.find_vol(bytes(header))
        if vol is not None and vol.rectangular and vol.width * vol.height <= 1 << 20:
            layer = read_layer(bytes(header))
    else:
        data[place:] = bytes([int(rng.choice([0, 0xFF]))]) * (len(data) - place)
    return name, bytes(data), layer


def check(parsed: Macroblocks) -> None:
    """What holds for every result, however strange its packet."""
    assert int(parsed.modes.max()) <= 3
    assert int(parsed.directions.max()) <= 3
    assert int(parsed.quantizer.min()) >= 1
    assert int(parsed.quantizer.max()) <= 31
    for block in (parsed.luma, parsed.chroma):
        assert int(block.min(initial=0)) >= -2048
        assert int(block.max(initial=0)) <= 2047


def check_lane(data: bytes, layer: Layer, header: VideoObjectPlane, kept: tuple[int, int]) -> Macroblocks:
    """Parse a P-VOP: alone and by the kernel for clips it must give the same, or be refused twice."""
    try:
        alone: Macroblocks | None = parse_vop(data, layer, header, kept)
    except DamagedVopError:
        alone = None
    rows, columns = (2 * count for count in layer.macroblocks)
    fields = BlockFields(
        np.zeros((1, 2, rows, columns), np.float32),
        np.zeros((1, kept[0] + 2 * kept[1], rows, columns), np.float32),
        np.zeros((1, rows, columns), np.uint8),
    )
    grid = BlockGrid(np.arange(rows), np.arange(columns), np.full(2, 0.25, np.float32))
    try:
        parse_pframes([(data, layer, header)], [0], kept, grid, fields)
    except DamagedPFrameError as error:
        assert alone is None
        raise error.damage from error
    assert alone is not None
    np.testing.assert_array_equal(4 * fields.motion[0], alone.motion.transpose(2, 0, 1))
    np.testing.assert_array_equal(fields.residual[0, : kept[0]], alone.luma.transpose(2, 0, 1))
    chroma = alone.chroma.transpose(2, 3, 0, 1).repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_array_equal(fields.residual[0, kept[0] :], chroma.reshape(-1, rows, columns))
    np.testing.assert_array_equal(fields.modes[0], alone.modes)
    return alone


def run(packets: int, seed: int, folder: Path) -> Counter[str]:
    """Parse mutated packets.

    Returns:
        How often each kind of mutation parsed, and how often it was refused.

    Raises:
        AssertionError: A packet broke a rule; the message names it.
    """
    sound = seeds(folder)
    for each in sound:  # compiles the kernels
        header = parse_vop_header(each.data, each.layer.vol)
        parse_vop(each.data, each.layer, header, (64, 64), each.colocated, each.ticks)
        if header.kind == "P":
            check_lane(each.data, each.layer, header, (64, 64))
    results: Counter[str] = Counter()
    for number in range(packets):
        rng = np.random.default_rng((seed, number))
        chosen = sound[int(rng.integers(len(sound)))]
        name, data, layer = mutate(chosen, sound, rng)
        began = time.perf_counter()
        verdict = "parsed"
        try:
            assert sum(size for _, size, _ in vops(data, layer.vol)) <= len(data)
            header = parse_vop_header(data, layer.vol)
            if header.kind not in "IPB":
                raise EOFError("not for the kernels")
            size = 2 * layer.macroblocks[0], 2 * layer.macroblocks[1]
            fits = chosen.colocated is not None and chosen.colocated.modes.shape == size
            if header.kind == "B" and not fits:
                raise EOFError("a B-VOP without its reference")
            colocated = chosen.colocated if header.kind == "B" else None
            kept = (64, 64) if number % 2 else (int(rng.integers(1, 65)), int(rng.integers(1, 65)))
            if header.kind == "P":
                check(check_lane(data, layer, header, kept))
            else:
                check(parse_vop(data, layer, header, kept, colocated, chosen.ticks))
        except (DamagedVopError, EOFError):
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
