"""The code tables: prefix-free (the builder checks it), complete but for the codes that are reserved."""

import numpy as np
import numpy.typing as npt
import pytest

from cvr_lightning.codec.mpeg4 import tables


@pytest.mark.parametrize(
    ("name", "reserved"),
    [("MCBPC_P", 1), ("MCBPC_I", 7), ("CBPY", 2), ("MVD", 2), ("INTRA", 8), ("INTER", 8)],
)
def test_only_codes_that_begin_with_zeros_are_unused(name: str, reserved: int) -> None:
    table: npt.NDArray[np.int32] = getattr(tables, name)
    (unused,) = np.nonzero(table == 0)
    assert len(unused) == reserved
    assert unused.max() < len(table) // 32


def test_tables_hold_102_events_and_the_escape() -> None:
    for table in (tables.INTRA, tables.INTER):
        assert len(np.unique(table[table > 0] >> tables.LENGTH_BITS)) == 103


def test_longest_runs_and_levels() -> None:
    assert tables.INTRA_LMAX[0, :15].tolist() == [27, 10, 5, 4, 3, 3, 3, 3, 2, 2, 1, 1, 1, 1, 1]
    assert tables.INTRA_LMAX[1, :8].tolist() == [8, 3, 2, 2, 2, 2, 2, 1]
    assert tables.INTER_LMAX[0, :12].tolist() == [12, 6, 4, 3, 3, 3, 3, 2, 2, 2, 2, 1]
    assert tables.INTER_LMAX[1, :4].tolist() == [3, 2, 1, 1]
    assert tables.INTER_RMAX[0, 1:13].tolist() == [26, 10, 6, 2, 1, 1, 0, 0, 0, 0, 0, 0]
    assert tables.INTER_RMAX[1, 1:4].tolist() == [40, 1, 0]
    assert tables.INTRA_RMAX[0, 1:8].tolist() == [14, 9, 7, 3, 2, 1, 1]
    assert tables.INTRA_RMAX[1, 1:5].tolist() == [20, 6, 1, 0]


def test_codes_that_share_a_beginning_are_refused() -> None:
    with pytest.raises(ValueError, match="is a prefix of another"):
        tables.lookup([("01", 0), ("011", 1)], 4)


def test_scans_visit_every_coefficient_once() -> None:
    assert (np.sort(tables.SCANS, axis=1) == np.arange(64)).all()
    assert sorted(tables.EDGES[0]) == [0, 2, 3, 9, 10, 20, 21, 35]
    assert sorted(tables.EDGES[1]) == [0, 1, 5, 6, 14, 15, 27, 28]


def test_default_matrices_grow_along_the_scan() -> None:
    intra, inter = tables.DEFAULT_MATRICES
    assert (intra[0], intra[1], intra[2], intra[-1]) == (8, 17, 17, 45)
    assert (inter[0], inter[1], inter[2], inter[-1]) == (16, 17, 17, 33)
