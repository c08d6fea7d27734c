"""Fuzzers of the parsers: seeded mutations of real packets, read with bounds checks in the kernels.

    python tests/helpers/fuzz.py {h264,mpeg4} [PACKETS [SEED]]

Every packet must give whole, plausible macroblocks or a fault, within a second; a packet that is cut short
must give a fault. A finding is named by the number of its packet, which is the same in every run of a seed.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # numba reads these once; kernels with bounds checks need a cache of their own
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / "cvr_lightning_fuzz"))
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import numba
import numpy as np

MUTATIONS = ("bits", "bytes", "cut", "drop", "insert", "splice", "header", "ones")
SECONDS = 1.0
"""Longest time that a packet may take."""


class Fuzzer(NamedTuple):
    """What is fuzzed.

    Attributes:
        draw: Draws a mutation: its name, and what reads the packet.
        refusals: The errors that may refuse a packet.
    """

    draw: Callable[[np.random.Generator], tuple[str, Callable[[], None]]]
    refusals: tuple[type[Exception], ...]


def flip(data: bytearray, rng: np.random.Generator, first: int, last: int) -> None:
    """Flip some bits in a range of bytes."""
    for _ in range(int(rng.integers(1, 9))):
        bit = int(rng.integers(8 * first, 8 * last))
        data[bit // 8] ^= 0x80 >> bit % 8


def mutate(name: str, sound: bytes, head: int, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """Mutate a packet.

    Args:
        name: One of :data:`MUTATIONS`.
        sound: The packet.
        head: Bytes at its front, which say what it is; only "header" changes them.
        others: Packets to splice.
        rng: Determines the mutation.
    """
    data = bytearray(sound)
    place = int(rng.integers(head, len(data)))
    if name == "bits":
        flip(data, rng, head, len(data))
    elif name == "header":
        flip(data, rng, 0, min(len(data), 16))
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
        other = others[int(rng.integers(len(others)))]
        data[place:] = other[int(rng.integers(4, len(other))) :]
    else:
        data[place:] = bytes([int(rng.choice([0, 0xFF]))]) * (len(data) - place)
    return bytes(data)


def coefficients(rng: np.random.Generator) -> tuple[int, int]:
    """Coefficients to keep of each luma and chroma block: all of them half of the time."""
    return (64, 64) if rng.integers(2) else (int(rng.integers(1, 65)), int(rng.integers(1, 65)))


def run(fuzzer: Fuzzer, packets: int, seed: int) -> Counter[str]:
    """Read mutated packets.

    Returns:
        How often each kind of mutation was parsed, and how often it was refused.

    Raises:
        AssertionError: A packet broke a rule; the message names it.
    """
    results: Counter[str] = Counter()
    for number in range(packets):
        name, read = fuzzer.draw(np.random.default_rng((seed, number)))
        packet = f"packet {number} of seed {seed} ({name})"
        began = time.perf_counter()
        verdict = "parsed"
        try:
            read()
        except fuzzer.refusals:
            verdict = "refused"
        except Exception as error:
            raise AssertionError(f"{packet}: {error!r}") from error
        took = time.perf_counter() - began
        assert took < SECONDS, f"{packet} took {took:.1f} s"
        assert (name, verdict) != ("cut", "parsed"), f"{packet} is cut short and was parsed"
        results[f"{name} {verdict}"] += 1
    return results


@numba.njit
def _beyond(array):  # type: ignore[no-untyped-def]
    return array[array.size + 3]


def main() -> None:
    parser, packets, seed = (*sys.argv[1:], *("h264", "10000", "0")[len(sys.argv) - 1 :])
    try:
        _beyond(np.zeros(1))
    except IndexError:
        pass
    else:
        raise SystemExit("bounds checks are off")
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = importlib.import_module(f"helpers.{parser}_fuzz").fuzzer(Path(folder))
        began = time.perf_counter()
        results = run(fuzzer, int(packets), int(seed))
    took = time.perf_counter() - began
    print(f"{packets} packets of seed {seed} in {took:.0f} s, bounds checked, no finding")
    for name, count in sorted(results.items()):
        print(f"  {name:16} {count}")


if __name__ == "__main__":
    main()
