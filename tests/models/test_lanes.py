"""Vectors in numba kernels: the functions of them against float64, and the lanes beyond the last number."""

from typing import Any

import numba
import numpy as np
import pytest

from cvr_lightning.models.lanes import LANES, exponential, load, logarithm_of_one_plus, store


@numba.njit
def _run(which: int, x: Any, y: Any) -> None:
    for at in range(0, len(x), LANES):
        n = len(x) - at
        lanes = load(x, at, n)
        store(y, at, n, exponential(lanes) if which == 0 else logarithm_of_one_plus(lanes))


@pytest.mark.parametrize(
    ("which", "exact", "first", "last"), [(0, np.exp, -87, 88), (0, np.exp, -1, 1), (1, np.log1p, 0, 1)]
)
def test_functions_are_exact_to_a_few_units_in_the_last_place(
    which: int, exact: Any, first: float, last: float
) -> None:
    x = np.linspace(first, last, 100003, dtype=np.float32)  # the last vector is not full
    y = np.full(len(x) + LANES, 7, np.float32)
    _run(which, x, y)
    np.testing.assert_allclose(y[: len(x)], exact(x.astype(np.float64)), rtol=4e-7)
    assert (y[len(x) :] == 7).all()
