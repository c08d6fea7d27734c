"""Codes and constants of ITU-T H.264, and the lookups that the kernels make of them.

``tables.npz`` holds what the standard prints: (m, n) of the contexts of frame coding (Tables 9-12 to 9-33),
the
state machine (Tables 9-44 and 9-45), the codes of CAVLC (Tables 9-5 to 9-10, lengths and codes), coded block
patterns (Table 9-4), context increments of 8x8 blocks (Table 9-43) and default scaling lists (Tables 7-3,
7-4).
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_DIGEST = "6c649e4e471d05df87cbb74798a4234129ce608f8e21c963bcae509790762035"


def _load() -> dict[str, npt.NDArray[Any]]:
    with files(__package__).joinpath("tables.npz").open("rb") as file, np.load(file) as stored:
        tables = {name: stored[name] for name in sorted(stored)}
    digest = hashlib.sha256(b"".join(table.tobytes() for table in tables.values())).hexdigest()
    if digest != _DIGEST:
        raise ImportError("the tables of the H.264 parser are damaged: install cvr_lightning again")
    return tables


def _zigzag(side: int) -> npt.NDArray[np.int64]:
    """Raster position of each coefficient in the zigzag scan (Figure 8-8, Figure 8-9)."""
    cells = [(row, column) for row in range(side) for column in range(side)]
    cells.sort(key=lambda cell: (sum(cell), cell[0] if sum(cell) % 2 else cell[1]))
    return np.array([side * row + column for row, column in cells], np.int64)


def _lookup(lengths: npt.NDArray[Any], codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(16, 8) for each table of codes: by leading zeros and the three bits behind the first one.

    An entry is value << 5 | length, where the value counts the rows and columns of ``lengths``; 0 is no code.
    """
    out = np.zeros((16, 8), np.int64)
    for value, (length, code) in enumerate(
        zip(lengths.ravel().tolist(), codes.ravel().tolist(), strict=True)
    ):
        if not length:
            continue
        zeros = length - code.bit_length()
        if not code:  # all zeros: whatever follows
            out[zeros:] = value << 5 | length
            continue
        rest = length - zeros - 1
        first = (code - (1 << rest)) << (3 - rest)
        out[zeros, first : first + (1 << (3 - rest))] = value << 5 | length
    return out


_stored: Final = _load()
ZIGZAG_4X4: Final = _zigzag(4)
ZIGZAG_8X8: Final = _zigzag(8)
SCALING_4X4: Final = tuple(tuple(row) for row in _stored["scaling_4x4"].tolist())
SCALING_8X8: Final = tuple(tuple(row) for row in _stored["scaling_8x8"].tolist())
"""Default scaling lists, intra and inter, in zigzag order."""
CONTEXTS: Final = _stored["contexts"].astype(np.int64)
"""(460, 4, 2): m and n of each context, for I slices and for cabac_init_idc 0 to 2."""
PATTERNS: Final = _stored["pattern"].astype(np.int64)
"""(2, 48): coded_block_pattern of each code, inter and intra, with chroma."""
PATTERNS_GRAY: Final = _stored["pattern_gray"].astype(np.int64)
SIGNIFICANCE_8X8: Final = _stored["significance_8x8"].astype(np.int64)
"""(2, 63): context increments of significant_coeff_flag and last_significant_coeff_flag in 8x8 blocks."""
COEFFICIENT_TOKENS: Final = np.stack([_lookup(*_stored["coeff_token"][:, i]) for i in (0, 1, 2, 4)])
"""(4, 16, 8): total_coeff << 2 | trailing_ones as value, for nC 0-1, 2-3, 4-7 and chroma DC."""
TOTAL_ZEROS: Final = np.stack([_lookup(*_stored["total_zeros"][:, i]) for i in range(15)])
TOTAL_ZEROS_CHROMA: Final = np.stack([_lookup(*_stored["total_zeros_chroma"][:, i]) for i in range(3)])
RUN_BEFORE: Final = np.stack([_lookup(*_stored["run_before"][:, i]) for i in range(7)])
_LAST_STATE = 62


def _transitions() -> npt.NDArray[np.uint8]:
    """(256,): state << 1 | value that follows on each: after its value and, from 128 on, the other."""
    out = np.zeros(256, np.uint8)
    for state in range(64):
        for value in range(2):
            up = min(state + 1, _LAST_STATE) if state < 63 else 63
            out[state << 1 | value] = up << 1 | value
            other = value ^ (state == 0)
            out[128 + (state << 1 | value)] = int(_stored["next_lps"][state]) << 1 | other
    return out


RANGES: Final = _stored["range_lps"].astype(np.int64).repeat(2, 0).ravel()
"""(512,): rangeTabLPS by state << 3 | value << 2 | range >> 6 & 3."""
TRANSITIONS: Final = _transitions()
CHROMA_QUANTIZERS: Final = np.array(
    [*range(30), 29, 30, 31, 32, 32, 33, 34, 34, 35, 35, 36, 36, 37, 37, 37, 38, 38, 38, 39, 39, 39, 39],
    np.int64,
)
"""QPc of qPI (Table 8-15)."""
_NORM_4X4 = np.array([[10, 16, 13], [11, 18, 14], [13, 20, 16], [14, 23, 18], [16, 25, 20], [18, 29, 23]])
_NORM_8X8 = np.array(
    [
        [20, 18, 32, 19, 25, 24],
        [22, 19, 35, 21, 28, 26],
        [26, 23, 42, 24, 33, 31],
        [28, 25, 45, 26, 35, 33],
        [32, 28, 51, 30, 40, 38],
        [36, 32, 58, 34, 46, 43],
    ]
)


def level_scales(scaling: tuple[tuple[int, ...], ...]) -> npt.NDArray[np.int64]:
    """(8, 6, 64): LevelScale in zigzag order of each scaling list at QP % 6 (8.5.9).

    Lists of 4x4 blocks fill 16 of the 64.
    """
    out = np.zeros((8, 6, 64), np.int64)
    row, column = np.divmod(ZIGZAG_4X4, 4)
    kind = np.where((row % 2 == 0) & (column % 2 == 0), 0, np.where((row % 2 == 1) & (column % 2 == 1), 1, 2))
    for i in range(6):
        out[i, :, :16] = np.array(scaling[i]) * _NORM_4X4[:, kind]
    row, column = np.divmod(ZIGZAG_8X8, 8)
    kind = np.select(
        [
            (row % 4 == 0) & (column % 4 == 0),
            (row % 2 == 1) & (column % 2 == 1),
            (row % 4 == 2) & (column % 4 == 2),
            ((row % 4 == 0) & (column % 2 == 1)) | ((row % 2 == 1) & (column % 4 == 0)),
            ((row % 4 == 0) & (column % 4 == 2)) | ((row % 4 == 2) & (column % 4 == 0)),
        ],
        [0, 1, 2, 3, 4],
        5,
    )
    for i in (6, 7):
        out[i] = np.array(scaling[i]) * _NORM_8X8[:, kind]
    return out
