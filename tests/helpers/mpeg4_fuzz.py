"""What :mod:`helpers.fuzz` does to MPEG-4: VOPs of small clips, and what holds for all that is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.mpeg4 import headers
from cvr_lightning.codec.mpeg4.macroblocks import DamagedVopError, Layer, Macroblocks, parse_vop
from cvr_lightning.codec.mpeg4.parser import Mpeg4Parser, read_layer
from cvr_lightning.codec.mpeg4.pframes import DamagedPFrameError, parse_pframes
from cvr_lightning.codec.mpeg4.vop_header import VOP_START, VideoObjectPlane, parse_vop_header, vops
from cvr_lightning.codec.parser import BlockFields, BlockGrid
from helpers.encoders import encode
from helpers.fuzz import MUTATIONS, Fuzzer, coefficients, flip, mutate

TOOLS = (
    {"qmin": "2", "qmax": "4"},
    {"flags": "+qpel+mv4", "mbd": "rd", "bf": "2"},
    {"mpeg_quant": "1", "flags": "+aic", "qmin": "2", "qmax": "8"},
    {"ps": "80", "bf": "2", "qmin": "3", "qmax": "9", "flags": "+aic+mv4", "mbd": "rd"},
)


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


def mutate_layer(seed: Seed, rng: np.random.Generator) -> Layer:
    """The layer of damaged sequence headers, if they can be read and declare no large frames."""
    header = bytearray(seed.header)
    flip(header, rng, 4, len(header))
    vol = headers.find_vol(bytes(header))
    sane = vol is not None and vol.rectangular and vol.width * vol.height <= 1 << 20
    return read_layer(bytes(header)) if sane else seed.layer


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


def read(seed: Seed, data: bytes, layer: Layer, kept: tuple[int, int]) -> None:
    """Parse a VOP of any type.

    Raises:
        DamagedVopError: It is damaged.
        EOFError: Its header is.
    """
    assert sum(size for _, size, _ in vops(data, layer.vol)) <= len(data)
    header = parse_vop_header(data, layer.vol)
    if header.kind not in "IPB":
        raise EOFError("not for the kernels")
    size = 2 * layer.macroblocks[0], 2 * layer.macroblocks[1]
    if header.kind == "P":
        check(check_lane(data, layer, header, kept))
    elif header.kind == "I":
        check(parse_vop(data, layer, header, kept))
    elif seed.colocated is None or seed.colocated.modes.shape != size:
        raise EOFError("a B-VOP without its reference")
    else:
        check(parse_vop(data, layer, header, kept, seed.colocated, seed.ticks))


def fuzzer(folder: Path) -> Fuzzer:
    """The fuzzer, with its kernels compiled.

    Args:
        folder: Where clips are encoded.
    """
    sound = seeds(folder)
    packets = [each.data for each in sound]
    for each in sound:
        read(each, each.data, each.layer, (64, 64))

    def draw(rng: np.random.Generator) -> tuple[str, Callable[[], None]]:
        chosen = sound[int(rng.integers(len(sound)))]
        name = str(rng.choice([*MUTATIONS, "layer"]))
        data, layer = chosen.data, chosen.layer
        if name == "layer":
            layer = mutate_layer(chosen, rng)
        else:
            data = VOP_START + mutate(name, data[4:], 0, packets, rng)
        kept = coefficients(rng)
        return name, lambda: read(chosen, data, layer, kept)

    return Fuzzer(draw, (DamagedVopError, EOFError))
