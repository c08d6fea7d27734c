import numpy as np
import pytest

from cvr_lightning.codec.fields import dct, geometry
from cvr_lightning.codec.fields.accumulation import trace

RNG = np.random.default_rng(0)


def random_planes(rows: int, columns: int) -> dct.ResidualPlanes:
    luma = RNG.integers(-255, 256, (16 * rows, 16 * columns)).astype(np.int16)
    cb, cr = RNG.integers(-255, 256, (2, 8 * rows, 8 * columns)).astype(np.int16)
    return luma, cb, cr


def test_zigzag_has_the_order_of_the_standard() -> None:
    order = [8 * row + column for row, column in dct.ZIGZAG.tolist()]
    assert order[:15] == [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4]
    assert order[-3:] == [55, 62, 63]
    assert sorted(order) == list(range(64))


def test_forward_is_the_orthonormal_transform() -> None:
    luma, cb, cr = random_planes(2, 3)
    out = dct.forward((luma, cb, cr), (64, 64), (4, 6))
    block = luma[8:16, 16:24].astype(np.float64)
    expected = dct.BASIS @ block @ dct.BASIS.T
    np.testing.assert_allclose(out[:64, 1, 2], expected[tuple(dct.ZIGZAG.T)], atol=1e-2)
    assert out[0, 1, 2] == pytest.approx(8 * block.mean(), abs=1e-2)
    assert out[64, 2, 2] == out[64, 3, 3] == pytest.approx(cb[8:16, 8:16].mean() * 8, abs=1e-2)
    np.testing.assert_allclose(dct.inverse(out[:64]), luma, atol=1e-2)


def test_truncation_keeps_the_first_coefficients() -> None:
    planes = random_planes(1, 1)
    full, cut = dct.forward(planes, (64, 64), (2, 2)), dct.forward(planes, (16, 4), (2, 2))
    np.testing.assert_array_equal(cut, geometry.keep_coefficients(full, (16, 4)))
    assert len(cut) == 24


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turned_coefficients_are_those_of_the_turned_picture(turns: int) -> None:
    planes = random_planes(2, 3)
    turned = tuple(np.ascontiguousarray(np.rot90(plane, turns)) for plane in planes)
    grid = (turned[0].shape[0] // 8, turned[0].shape[1] // 8)
    expected = dct.forward(turned, (64, 64), grid)  # type: ignore[arg-type]
    actual = geometry.turn_coefficients(dct.forward(planes, (64, 64), (4, 6)), turns)
    np.testing.assert_allclose(actual, expected, atol=1e-2)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_vectors_point_to_the_turned_place(turns: int) -> None:
    picture = np.zeros((8, 6))
    picture[2, 1] = 1  # current
    picture[5, 4] = 2  # its reference: dx = 3, dy = 3 - but different below
    picture[5, 4], picture[3, 5] = 0, 2
    motion = np.zeros((2, 8, 6), np.float32)
    motion[:, 2, 1] = (4, 1)
    turned, vectors = geometry.turn(picture, turns), geometry.turn_motion(motion, turns)
    (row,), (column,) = np.nonzero(turned == 1)
    dx, dy = vectors[:, row, column].astype(int)
    assert turned[row + dy, column + dx] == 2


def test_nearest_blocks_take_the_center() -> None:
    assert geometry.nearest_blocks(2, 16, 4, 32).tolist() == [1, 3]
    assert geometry.nearest_blocks(4, 32, 2, 16).tolist() == [0, 0, 1, 1]
    assert geometry.nearest_blocks(43, 340, 43, 340).tolist() == list(range(43))
    assert geometry.nearest_blocks(1, 4, 8, 60).max() < 8
    assert geometry.nearest_pixels(3, 6).tolist() == [1, 3, 5]


def test_rgb_of_a_flat_residual() -> None:
    planes = (np.full((16, 16), 10, np.int16), np.full((8, 8), 5, np.int16), np.zeros((8, 8), np.int16))
    rgb = geometry.to_rgb(dct.forward(planes, (64, 64), (2, 2)), (13, 11))
    assert rgb.shape == (3, 13, 11)
    red, green, blue = rgb[:, 0, 0]
    assert red == pytest.approx(10 * 255 / 219, abs=1e-2)
    assert green == pytest.approx(10 * 255 / 219 - 0.344136 * 5 * 255 / 224, abs=1e-2)
    assert blue == pytest.approx(10 * 255 / 219 + 1.772 * 5 * 255 / 224, abs=1e-2)


@pytest.mark.parametrize("cell", [1, 8])
def test_trace_follows_the_path(cell: int) -> None:
    height, width = 5, 6
    past_motion = RNG.uniform(-3, 3, (2, height, width)).astype(np.float32)
    past_residual = RNG.uniform(-9, 9, (3, height, width)).astype(np.float32)
    motion = RNG.uniform(-3 * cell, 3 * cell, (2, height, width)).astype(np.float32)
    residual = RNG.uniform(-9, 9, (3, height, width)).astype(np.float32)
    intra = RNG.random((height, width)) < 0.2
    moved, summed = trace(motion, residual, intra, cell, (past_motion, past_residual))
    for y in range(height):
        for x in range(width):
            row = min(max(int(np.floor(y + 0.5 + motion[1, y, x] / cell)), 0), height - 1)
            column = min(max(int(np.floor(x + 0.5 + motion[0, y, x] / cell)), 0), width - 1)
            past = 0 if intra[y, x] else past_motion[:, row, column]
            before = 0 if intra[y, x] else past_residual[:, row, column]
            np.testing.assert_allclose(moved[:, y, x], motion[:, y, x] + past, rtol=1e-5)
            np.testing.assert_allclose(summed[:, y, x], residual[:, y, x] + before, rtol=1e-5)
