"""Types of macroblocks in B slices (ITU-T H.264, Tables 7-14 and 7-18)."""

from __future__ import annotations

from typing import Final

import numpy as np

DIRECT_16X16: Final = 0
QUARTERS: Final = 22
"""mb_type of B_8x8."""
FIRST_INTRA: Final = 23
_PAIRS = [(1, 1), (2, 2), (1, 2), (2, 1), (1, 3), (2, 3), (3, 1), (3, 2), (3, 3)]
SHAPES: Final = np.array([0, 0, 0, 0, *9 * [1, 2]], np.int64)
"""(22,) of mb_type: 0 is 16x16, 1 16x8, 2 8x16."""
USES: Final = np.array([0, 1, 2, 3, *(a | b << 2 for a, b in _PAIRS for _ in range(2))], np.int64)
"""(22,) of mb_type: the lists that its partitions use, two bits each."""
QUARTER_SPLITS: Final = np.array([0, 0, 0, 0, 1, 2, 1, 2, 1, 2, 3, 3, 3], np.int64)
"""(13,) of sub_mb_type: 0 is 8x8, 1 8x4, 2 4x8, 3 4x4."""
QUARTER_USES: Final = np.array([0, 1, 2, 3, 1, 1, 2, 2, 3, 3, 1, 2, 3], np.int64)
"""(13,) of sub_mb_type: the lists that it uses, none of them for direct prediction."""
LARGEST_QUARTER: Final = 12
LIST_0: Final = 0b01010101
"""The lists that all partitions of a P macroblock use."""
