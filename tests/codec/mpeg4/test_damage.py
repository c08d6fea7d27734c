"""Damaged packets are refused with their place, and never half-read."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.encoders import encode

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.errors import BitstreamError, UnreadableVideoError, VideoError

FUZZER = Path(__file__).parents[2] / "helpers" / "fuzz.py"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return encode(tmp_path / "clip.avi", (96, 64), frames=12, options={"qmin": "3", "qmax": "3", "bf": "2"})


def test_damage_is_named_by_frame_macroblock_and_bit(clip: Path) -> None:
    with CompressedVideoReader(clip) as video:
        index = video.index
        sound = [video.parse(n) for n in range(12)]
    frame = index.frame_types.index("P")
    place = int(index.data_positions[index.frame_sources[frame]])
    size = int(index.frame_sizes[frame])
    data = bytearray(clip.read_bytes())
    data[place + size // 2 : place + size] = bytes(size - size // 2)
    clip.write_bytes(data)
    with CompressedVideoReader(clip, index=index) as video:
        with pytest.raises(BitstreamError) as caught:
            video.parse(frame)
        error = caught.value
        assert (error.file, error.frame) == (str(clip), frame)
        assert error.macroblock is not None
        assert 0 < error.macroblock < 24
        assert error.bit is not None
        assert 4 * size - 64 < error.bit < 4 * size + 64
        with pytest.raises(BitstreamError):  # direct macroblocks look at the damaged reference
            video.parse(frame - 1)
        np.testing.assert_array_equal(video.parse(frame + 3).luma, sound[frame + 3].luma)


def test_every_truncation_is_refused(clip: Path) -> None:
    from cvr_lightning.codec.mpeg4.macroblocks import DamagedVopError, parse_vop
    from cvr_lightning.codec.mpeg4.parser import Mpeg4Parser
    from cvr_lightning.codec.mpeg4.vop_header import parse_vop_header

    with CompressedVideoReader(clip, parser="mpeg4") as video:
        parser = video._parser
        assert isinstance(parser, Mpeg4Parser)
        layer = parser._layers[0]
        for frame, kind in enumerate(video.info.frame_types):
            data = parser._vop(frame)
            header = parse_vop_header(data, layer.vol)
            colocated, ticks = parser._references(frame) if kind == "B" else (None, (0, 0))
            for length in range(header.position // 8 + 1, len(data)):
                with pytest.raises(DamagedVopError):
                    parse_vop(data[:length], layer, header, (1, 1), colocated, ticks)


def test_an_index_of_another_file_is_refused(clip: Path) -> None:
    with CompressedVideoReader(clip) as video:
        index = video.index
    data = clip.read_bytes()
    clip.write_bytes(data + b"\0")
    with pytest.raises(UnreadableVideoError, match="the file has changed"):
        CompressedVideoReader(clip, index=index)
    place = int(index.data_positions[4])
    clip.write_bytes(data[:place] + bytes(4) + data[place + 4 :])
    with CompressedVideoReader(clip, index=index) as video:
        frame = index.frame_sources.tolist().index(4)
        with pytest.raises(UnreadableVideoError, match="the file has changed"):
            video.parse(frame)


def test_damaged_files_never_crash(clip: Path) -> None:
    data = clip.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 12):
            damaged[place] = rng.integers(256)
        clip.write_bytes(damaged)
        try:
            with CompressedVideoReader(clip) as video:
                arrays = video.read(video.segments(4, 2))
        except VideoError:
            continue
        assert np.isfinite(arrays.residual).all()


def test_fuzzed_packets_are_never_read_out_of_bounds(pytestconfig: pytest.Config) -> None:
    """The kernels with bounds checks, which numba wants to be told before it is imported."""
    environment = {**os.environ}
    if pytestconfig.cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(pytestconfig.cache.mkdir("bounds_checked_kernels"))
    command = [sys.executable, str(FUZZER), "mpeg4", "5000", "7"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no finding" in done.stdout
