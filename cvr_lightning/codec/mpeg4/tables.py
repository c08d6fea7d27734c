"""Codes and constants of ISO/IEC 14496-2, and lookup tables indexed by the next bits of a stream.

A code is written as its bits. A table for codes of at most W bits has 2**W entries. An entry holds the length
and value of the code that its index starts with; length 0 means that the index starts with no valid code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cvr_lightning.codec.fields.dct import COEFFICIENTS, ZIGZAG

Table = npt.NDArray[np.int32]

LENGTH_BITS: Final = 4
"""Low bits of an entry that hold the length of the code; the higher bits hold its value."""
STUFFING: Final = 20
"""Value of the MCBPC stuffing code."""
ESCAPE: Final = "0000011"
"""TCOEF escape code, followed by one of the three escape modes (7.4.1.3)."""


def lookup(codes: Iterable[tuple[str, int]], width: int) -> Table:
    """Build a lookup table.

    Args:
        codes: (bits, value) of each code.
        width: Number of index bits.

    Raises:
        ValueError: A code is a prefix of another.
    """
    table = np.zeros(1 << width, np.int32)
    for bits, value in codes:
        first = int(bits, 2) << (width - len(bits))
        entries = table[first : first + (1 << (width - len(bits)))]
        if entries.any():
            raise ValueError(f"code {bits} is a prefix of another code, or has one as its prefix")
        entries[:] = value << LENGTH_BITS | len(bits)
    return table


def _numbered(codes: str) -> list[tuple[str, int]]:
    return [(bits, value) for value, bits in enumerate(codes.split())]


# Tables B-6 and B-7. The value is 4 * macroblock type + CBPC, the type 0 inter, 1 inter with dquant, 2 inter
# with four vectors, 3 intra, 4 intra with dquant.
MCBPC_P_WIDTH: Final = 9
MCBPC_I_WIDTH: Final = 9
_MCBPC_P = """
    1         0011      0010      000101
    011       0000111   0000110   000000101
    010       0000101   0000100   00000101
    00011     00000100  00000011  0000011
    000100    000000100 000000011 000000010
    000000001
"""
_MCBPC_I = "1 001 010 011 0001 000001 000010 000011"
MCBPC_P: Final = lookup(_numbered(_MCBPC_P), MCBPC_P_WIDTH)
MCBPC_I: Final = lookup(
    [*((bits, 12 + value) for bits, value in _numbered(_MCBPC_I)), ("000000001", STUFFING)], MCBPC_I_WIDTH
)

CBPY_WIDTH: Final = 6
_CBPY = "0011 00101 00100 1001 00011 0111 000010 1011 00010 000011 0101 1010 0100 1000 0110 11"
CBPY: Final = lookup(_numbered(_CBPY), CBPY_WIDTH)
"""Table B-8: coded luma blocks of an intra macroblock; inverted for inter macroblocks."""

MVD_WIDTH: Final = 12
_MVD = """
    1 01 001 0001 000011 0000101 0000100 0000011 000001011 000001010 000001001 0000010001 0000010000
    0000001111 0000001110 0000001101 0000001100 0000001011 0000001010 0000001001 0000001000 0000000111
    0000000110 0000000101 0000000100 00000000111 00000000110 00000000101 00000000100 00000000011
    00000000010 000000000011 000000000010
"""
MVD: Final = lookup(_numbered(_MVD), MVD_WIDTH)
"""Table B-12: magnitude of a vector difference, before its sign."""

DC_WIDTH: Final = 9
_DC_LUMA = "011 11 10 010 001 0001 00001 000001 0000001 00000001"
_DC_CHROMA = "11 10 01 001 0001 00001 000001 0000001 00000001 000000001"
DC_SIZE: Final = np.stack([lookup(_numbered(_DC_LUMA), DC_WIDTH), lookup(_numbered(_DC_CHROMA), DC_WIDTH)])
"""Tables B-13 and B-14: size in bits of a luma and chroma DC difference; at most 9 for 8-bit video."""

# Tables B-16 and B-17. For each (last, run): the codes of the levels from 1 up, without the sign bit.
TCOEF_WIDTH: Final = 12
_TcoefCodes = tuple[tuple[str, ...], tuple[str, ...]]
_INTRA: _TcoefCodes = (
    (
        # run 0
        "10 110 1111 01101 01100 010101 010011 010010 0010111 00011111 00011110 00011101 "
        "000100101 000100100 000100011 000100001 0000100001 0000100000 0000001111 0000001110 "
        "00000000111 00000000110 00000100000 00000100001 000001010000 000001010001 000001010010",
        # run 1
        "1110 010100 0010110 00011100 000100000 000011111 0000001101 00000100010 000001010011 000001010101",
        "01011 0010101 000011110 0000001100 000001010110",  # run 2
        "010001 00011011 000011101 0000001011",  # run 3
        "010000 000100010 0000001010",  # run 4
        "001101 000011100 0000001000",  # run 5
        "0010010 000011011 000001010100",  # run 6
        "0010100 000011010 000001010111",  # run 7
        "00011001 0000001001",  # run 8
        "00011000 00000100011",  # run 9
        "00010111",  # run 10
        "000011001",  # run 11
        "000011000",  # run 12
        "0000000111",  # run 13
        "000001011000",  # run 14
    ),
    (
        "0111 001100 00010110 000010111 0000000110 00000000101 00000000100 000001011001",  # run 0
        "001111 000010110 0000000101",  # run 1
        "001110 0000000100",  # run 2
        "0010001 00000100100",  # run 3
        "0010000 00000100101",  # run 4
        "0010011 000001011010",  # run 5
        "00010101 000001011011",  # run 6
        "00010100",  # run 7
        "00010011",  # run 8
        "00011010",  # run 9
        "000010101",  # run 10
        "000010100",  # run 11
        "000010011",  # run 12
        "000010010",  # run 13
        "000010001",  # run 14
        "00000100110",  # run 15
        "00000100111",  # run 16
        "000001011100",  # run 17
        "000001011101",  # run 18
        "000001011110",  # run 19
        "000001011111",  # run 20
    ),
)
_INTER: _TcoefCodes = (
    (
        # run 0
        "10 1111 010101 0010111 00011111 000100101 000100100 0000100001 0000100000 00000000111 "
        "00000000110 00000100000",
        "110 010100 00011110 0000001111 00000100001 000001010000",  # run 1
        "1110 00011101 0000001110 000001010001",  # run 2
        "01101 000100011 0000001101",  # run 3
        "01100 000100010 000001010010",  # run 4
        "01011 0000001100 000001010011",  # run 5
        "010011 0000001011 000001010100",  # run 6
        "010010 0000001010",  # run 7
        "010001 0000001001",  # run 8
        "010000 0000001000",  # run 9
        "0010110 000001010101",  # run 10
        "0010101",  # run 11
        "0010100",  # run 12
        "00011100",  # run 13
        "00011011",  # run 14
        "000100001",  # run 15
        "000100000",  # run 16
        "000011111",  # run 17
        "000011110",  # run 18
        "000011101",  # run 19
        "000011100",  # run 20
        "000011011",  # run 21
        "000011010",  # run 22
        "00000100010",  # run 23
        "00000100011",  # run 24
        "000001010110",  # run 25
        "000001010111",  # run 26
    ),
    (
        "0111 000011001 00000000101",  # run 0
        "001111 00000000100",  # run 1
        "001110",  # run 2
        "001101",  # run 3
        "001100",  # run 4
        "0010011",  # run 5
        "0010010",  # run 6
        "0010001",  # run 7
        "0010000",  # run 8
        "00011010",  # run 9
        "00011001",  # run 10
        "00011000",  # run 11
        "00010111",  # run 12
        "00010110",  # run 13
        "00010101",  # run 14
        "00010100",  # run 15
        "00010011",  # run 16
        "000011000",  # run 17
        "000010111",  # run 18
        "000010110",  # run 19
        "000010101",  # run 20
        "000010100",  # run 21
        "000010011",  # run 22
        "000010010",  # run 23
        "000010001",  # run 24
        "0000000111",  # run 25
        "0000000110",  # run 26
        "0000000101",  # run 27
        "0000000100",  # run 28
        "00000100100",  # run 29
        "00000100101",  # run 30
        "00000100110",  # run 31
        "00000100111",  # run 32
        "000001011000",  # run 33
        "000001011001",  # run 34
        "000001011010",  # run 35
        "000001011011",  # run 36
        "000001011100",  # run 37
        "000001011101",  # run 38
        "000001011110",  # run 39
        "000001011111",  # run 40
    ),
)


def _tcoef(codes: _TcoefCodes) -> Table:
    """Entries of 4 bits length, 6 bits run, 5 bits level, 1 bit last; level 0 is the escape code."""
    rows = [(ESCAPE, 0)]
    for last, runs in enumerate(codes):
        for run, row in enumerate(runs):
            rows += [(bits, last << 11 | level << 6 | run) for level, bits in enumerate(row.split(), 1)]
    return lookup(rows, TCOEF_WIDTH)


def _longest(codes: _TcoefCodes) -> npt.NDArray[np.int64]:
    """(2, 64): LMAX of each (last, run), Tables B-19 and B-20."""
    out = np.zeros((2, 64), np.int64)
    for last, runs in enumerate(codes):
        out[last, : len(runs)] = [len(row.split()) for row in runs]
    return out


def _furthest(codes: _TcoefCodes) -> npt.NDArray[np.int64]:
    """(2, 64): RMAX of each (last, level), Tables B-21 and B-22."""
    out = np.zeros((2, 64), np.int64)
    for last, runs in enumerate(codes):
        for run, row in enumerate(runs):
            out[last, : len(row.split()) + 1] = run
    return out


INTRA: Final = _tcoef(_INTRA)
INTRA_LMAX: Final = _longest(_INTRA)
INTRA_RMAX: Final = _furthest(_INTRA)
INTER: Final = _tcoef(_INTER)
INTER_LMAX: Final = _longest(_INTER)
INTER_RMAX: Final = _furthest(_INTER)

_HORIZONTAL = """
    0 1 2 3 8 9 16 17 10 11 4 5 6 7 15 14 13 12 19 18 24 25 32 33 26 27 20 21 22 23 28 29
    30 31 34 35 40 41 48 49 42 43 36 37 38 39 44 45 46 47 50 51 56 57 58 59 52 53 54 55 60 61 62 63
"""


def _scans() -> npt.NDArray[np.int64]:
    """(3, 64): zigzag position of each coefficient in zigzag, alternate-horizontal and -vertical scan."""
    zigzag_of_raster = np.empty(COEFFICIENTS, np.int64)
    zigzag_of_raster[ZIGZAG @ np.array([8, 1])] = np.arange(COEFFICIENTS)
    horizontal = np.array(_HORIZONTAL.split(), np.int64)
    vertical = horizontal % 8 * 8 + horizontal // 8  # Figure 7-2 c is the transpose of b
    return np.stack(
        [np.arange(COEFFICIENTS, dtype=np.int64), zigzag_of_raster[horizontal], zigzag_of_raster[vertical]]
    )


def _edges() -> npt.NDArray[np.int64]:
    """(2, 8): zigzag positions of a block's first column and first row."""
    (column,), (row,) = np.nonzero(ZIGZAG[:, 1] == 0), np.nonzero(ZIGZAG[:, 0] == 0)
    return np.stack([column, row]).astype(np.int64)


SCANS: Final = _scans()
EDGES: Final = _edges()

_Quantizers = Sequence[int]
_LUMA_SCALE: _Quantizers = [0, 8, 8, 8, 8, *range(10, 17, 2), *range(17, 33), *range(34, 47, 2)]
_CHROMA_SCALE: _Quantizers = [0, 8, 8, 8, 8, *((q + 13) // 2 for q in range(5, 25)), *range(19, 26)]
DC_SCALE: Final = np.array([_LUMA_SCALE, _CHROMA_SCALE], np.int64)
"""(2, 32): DC scaler for each quantizer, for luma and chroma (Table 7-1)."""
DC_THRESHOLDS: Final = (99, 13, 15, 17, 19, 21, 23, 0)
"""Quantizer from which intra DC is coded like an AC coefficient, by intra_dc_vlc_thr (Table 6-21)."""

_INTRA_MATRIX = """
    8 17 18 19 21 23 25 27 17 18 19 21 23 25 27 28 20 21 22 23 24 26 28 30 21 22 23 24 26 28 30 32
    22 23 24 26 28 30 32 35 23 24 26 28 30 32 35 38 25 26 28 30 32 35 38 41 27 28 30 32 35 38 41 45
"""
_INTER_MATRIX = """
    16 17 18 19 20 21 22 23 17 18 19 20 21 22 23 24 18 19 20 21 22 23 24 25 19 20 21 22 23 24 26 27
    20 21 22 23 25 26 27 28 21 22 23 24 26 27 28 30 22 23 24 26 27 28 30 31 23 24 25 27 28 30 31 33
"""


def _matrix(rows: str) -> tuple[int, ...]:
    """A quantizer matrix in zigzag order, as in a header."""
    return tuple(np.array(rows.split(), np.int64)[ZIGZAG @ np.array([8, 1])].tolist())


DEFAULT_MATRICES: Final = (_matrix(_INTRA_MATRIX), _matrix(_INTER_MATRIX))
"""Default intra and inter matrices for MPEG quantization (6.3.3), in zigzag order."""
