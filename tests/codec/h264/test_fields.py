"""The fields that are delivered: coefficients of the 8x8 DCT, displacement per frame, modes, I-frames."""

from pathlib import Path

import av
import numpy as np
import pytest
from helpers.encoders import encode
from helpers.h264_oracle import inverse_4, inverse_8

from cvr_lightning.codec import BlockMode, CompressedVideoReader, Segment
from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.codec.fields import dct
from cvr_lightning.codec.h264.macroblocks import MacroblockKind, Macroblocks

EVERYTHING = {"x264-params": "bframes=2:ref=3:partitions=all:8x8dct=1:qp=22"}


def residual_planes(parsed: Macroblocks) -> dct.ResidualPlanes:
    """The integer residual of a picture, as a decoder adds it; the samples of PCM."""
    rows, columns = parsed.kinds.shape
    y = np.zeros((16 * rows, 16 * columns), np.int16)
    chroma = np.zeros((2, 8 * rows, 8 * columns), np.int16)

    def put(plane: np.ndarray, top: int, left: int, d: np.ndarray, side: int) -> None:
        out = np.zeros((8, 8), np.int64)
        block = np.zeros(64, np.int64)
        block[: side * side] = d
        (inverse_8 if side == 8 else inverse_4)(block, out)
        plane[top : top + side, left : left + side] = (out[:side, :side] + 32) >> 6

    for j in range(rows):
        for i in range(columns):
            d = parsed.coefficients[j, i].astype(np.int64)
            side = 8 if parsed.transform_8x8[j, i] else 4
            for b in range(0, 16, 4 if side == 8 else 1):
                top = 16 * j + 4 * ((b >> 3) * 2 + (b >> 1 & 1))
                left = 16 * i + 4 * ((b >> 2 & 1) * 2 + (b & 1))
                put(y, top, left, d[16 * b : 16 * b + side * side], side)
            for c in range(2):
                for b in range(4):
                    first = 256 + 64 * c + 16 * b
                    put(chroma[c], 8 * j + 4 * (b >> 1), 8 * i + 4 * (b & 1), d[first : first + 16], 4)
    return y, chroma[0], chroma[1]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    return encode(folder / "clip.mp4", (176, 144), frames=26, codec="libx264", options=EVERYTHING)


def test_coefficients_are_the_dct_of_the_residual(video: Path) -> None:
    with CompressedVideoReader(video) as reader:
        frame = reader.info.frame_types.index("P")
        parsed = reader.parse(frame)
        clip = reader.read([Segment(0, (frame,))], coefficients=(64, 64))
    assert isinstance(parsed, Macroblocks)
    assert MacroblockKind.PCM not in parsed.kinds
    expected = dct.forward(residual_planes(parsed), (64, 64), clip.modes.shape[2:])
    assert np.abs(expected).max() > 50
    assert (
        np.abs(clip.residual[0, 0] - expected).max() < 8 * 0.6
    )  # 0.6 gray levels; the transform is orthonormal


def test_fewer_coefficients_are_the_first_ones(video: Path) -> None:
    with CompressedVideoReader(video) as reader:
        segments = reader.segments(2, 3)
        whole = reader.read(segments, coefficients=(64, 64)).residual
        part = reader.read(segments, coefficients=(10, 3)).residual
    np.testing.assert_allclose(part[:, :, :10], whole[:, :, :10], atol=1e-3)
    np.testing.assert_allclose(part[:, :, 10:13], whole[:, :, 64:67], atol=1e-3)
    np.testing.assert_allclose(part[:, :, 13:], whole[:, :, 128:131], atol=1e-3)


def test_motion_is_displacement_per_frame(video: Path) -> None:
    far = 0
    with CompressedVideoReader(video) as reader:
        for frame, kind in enumerate(reader.info.frame_types):
            if kind != "P":
                continue
            parsed = reader.parse(frame)
            assert isinstance(parsed, Macroblocks)
            motion = reader.read([Segment(0, (frame,))], modalities=("motion",)).motion[0, 0]
            rows, columns = parsed.indices.shape[1:]
            mean = parsed.motion[0].reshape(rows, 2, columns, 2, 2).mean((1, 3), np.float64) / 4
            inter = parsed.references[0] >= 0
            distance = np.where(inter, frame - parsed.references[0], 1)
            far += int((distance > 1).sum())
            np.testing.assert_allclose(motion, (mean / distance[..., None]).transpose(2, 0, 1), rtol=1e-5)
    assert far > 0


def test_modes_follow_the_macroblocks(video: Path) -> None:
    seen = set()
    with CompressedVideoReader(video) as reader:
        frames = [frame for frame, kind in enumerate(reader.info.frame_types) if kind == "P"]
        clip = reader.read([Segment(0, (frame,)) for frame in frames])
        for frame, modes, motion, residual in zip(
            frames, clip.modes[:, 0], clip.motion[:, 0], clip.residual[:, 0], strict=True
        ):
            parsed = reader.parse(frame)
            assert isinstance(parsed, Macroblocks)
            kinds = parsed.kinds.repeat(2, 0).repeat(2, 1)
            intra = kinds >= MacroblockKind.INTRA_4X4
            np.testing.assert_array_equal(modes == BlockMode.INTRA_PREDICTED, intra)
            np.testing.assert_array_equal(modes == BlockMode.INTER4V, kinds == MacroblockKind.INTER_8X8)
            skipped = modes == BlockMode.SKIPPED
            assert (kinds[skipped] == MacroblockKind.SKIPPED).all()
            assert not motion[:, skipped | intra].any()
            assert not residual[:, skipped].any()
            seen |= set(np.unique(modes).tolist())
    assert seen >= {BlockMode.INTER, BlockMode.INTER4V, BlockMode.INTRA_PREDICTED}


@pytest.mark.parametrize("params", ["open-gop=1:keyint=8:bframes=2", "keyint=8", "slices=4:cabac=0:keyint=5"])
@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_iframes_decoded_alone_are_those_of_the_whole_video(tmp_path: Path, params: str, suffix: str) -> None:
    path = encode(tmp_path / f"clip.{suffix}", frames=30, codec="libx264", options={"x264-params": params})
    with av.open(str(path)) as container:
        whole = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with CompressedVideoReader(path) as reader:
        assert reader.parser == "h264"
        frames = [frame for frame, kind in enumerate(reader.info.frame_types) if kind == "I"]
        clip = reader.read([Segment(frame, ()) for frame in frames])
    assert len(frames) > 2
    for frame, rgb in zip(frames, clip.iframes, strict=True):
        np.testing.assert_array_equal(rgb.transpose(1, 2, 0), whole[frame])


def test_pixels_and_blocks_hold_the_same(video: Path) -> None:
    with CompressedVideoReader(video) as reader:
        segments = reader.segments(2, 2)
        block = reader.read(segments, coefficients=(64, 64))
        pixel = reader.read(segments, representation="pixel")
    np.testing.assert_array_equal(pixel.motion[..., ::8, ::8], block.motion)
    np.testing.assert_array_equal(pixel.modes, block.modes)
    assert pixel.residual.any()


def test_accumulation_is_refused(video: Path) -> None:
    with (
        CompressedVideoReader(video) as reader,
        pytest.raises(UnsupportedStreamError, match="cannot be accumulated"),
    ):
        reader.read(reader.segments(1, 2), accumulate=True)
