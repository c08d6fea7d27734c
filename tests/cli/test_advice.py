"""What errors advise is done, and helps."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.tiny_datasets import VP9

from cvr_lightning.cli.main import main
from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.arrays import MODALITIES
from cvr_lightning.codec.errors import UnsupportedStreamError

SIZE = (96, 80)
MATRIX = 44
"""Bytes from the type of a version 0 ``tkhd`` box to its display matrix (ISO/IEC 14496-12, 8.3.2)."""


def displayed(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """A video whose container asks for this display matrix."""
    data = bytearray(encode(path, SIZE, frames=6).read_bytes())
    numbers = [round(65536 * value) for value in (a, b, 0, c, d, 0, 0, 0)]
    struct.pack_into(">8i", data, data.index(b"tkhd") + MATRIX, *numbers)
    path.write_bytes(data)
    return path


def mirrored(folder: Path) -> Path:
    return displayed(folder / "mirrored.mp4", -1, 0, 0, 1)


def vp9(folder: Path) -> Path:
    return encode(folder / "vp9.webm", SIZE, frames=6, codec="libvpx-vp9", options=VP9)


def mpeg2(folder: Path) -> Path:
    return encode(folder / "b.ts", SIZE, frames=12, codec="mpeg2video", options={"bf": "2"})


def refusal(path: Path) -> UnsupportedStreamError:
    with pytest.raises(UnsupportedStreamError) as caught, CompressedVideoReader(path) as reader:
        reader.require(MODALITIES)
    return caught.value


@pytest.mark.parametrize("make", [mirrored, vp9, mpeg2])
def test_a_video_that_is_prepared_as_its_error_advises_is_read(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    source = tmp_path / "src"
    source.mkdir()
    path = make(source)
    assert "cvr prepare SRC DST" in refusal(path).without_alternative()
    main(["prepare", str(source), str(tmp_path / "dst"), "--workers=1"])
    with CompressedVideoReader(tmp_path / "dst" / f"{path.stem}.mp4") as reader:
        reader.require(MODALITIES)
        assert reader.read(reader.segments(1, 1)).motion.shape[0] == 1


def test_rotations_that_no_command_supports_need_a_video_editor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = displayed(tmp_path / "askew.mp4", 0.7, 0.7, -0.7, 0.7)
    assert "video editor" in str(refusal(path))
    assert "prepare" not in str(refusal(path))
    with pytest.raises(SystemExit):
        main(["prepare", str(tmp_path), str(tmp_path.parent / "dst"), "--workers=1"])
    assert "turn them upright with a video editor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "modalities", "option"),
    [(vp9, ("iframes",), "'[iframes]'"), (mpeg2, ("iframes", "motion"), "'[iframes, motion]'")],
)
def test_training_may_ask_for_less_and_a_checkpoint_may_not(
    make: Callable[[Path], Path], modalities: tuple[str, ...], option: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    error = refusal(path)
    assert f"--data.sampling.modalities {option}" in str(error)
    assert "--data" not in error.without_alternative()
    with CompressedVideoReader(path) as reader:
        arrays = reader.read(reader.segments(1, 1), modalities=modalities)  # type: ignore[arg-type]
        assert arrays.iframes.any()
