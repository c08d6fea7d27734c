"""Compiled functions that read a bitstream stored as words.

Kernels take and return bit positions. On invalid syntax they return a fault instead: a negative number that
encodes the position and a fault code of the parser.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.extending import intrinsic

PADDING_WORDS: Final = 1024
"""Zero words after the data: a macroblock that starts within the data does not read beyond them."""
_FAULT_BITS = 5
# Without numba's runtime (_nrt), kernels cannot allocate and do not count array references. The atomic
# reference counts took more than half of the time.
OPTIONS: Final[dict[str, Any]] = {"nogil": True, "cache": True, "_nrt": False, "no_cfunc_wrapper": True}
_INNER: Final[dict[str, Any]] = {**OPTIONS, "no_cpython_wrapper": True}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that releases the GIL and allocates no array; the result is cached on disk."""
    return numba.njit(**OPTIONS)(function)


def subroutine(function: Callable[..., Any]) -> Any:
    """Compile a kernel that only kernels call, without the code that calls it from Python."""
    return numba.njit(**_INNER)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function inline: a call would pass each array as a dozen words."""
    return numba.njit(forceinline=True, **_INNER)(function)


def _leading_zeros(typing_context, value):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctlz(arguments[0], context.get_constant(types.boolean, False))

    return types.int64(types.int64), generate


leading_zeros: Any = intrinsic(_leading_zeros)
"""Zeros above the highest set bit of a 64-bit word; 64 for zero."""


def word_buffer(size: int) -> npt.NDArray[np.int64]:
    """Allocate the word buffer for ``size`` bytes."""
    return np.empty(size // 4 + 1 + PADDING_WORDS, np.int64)


@subroutine
def fill_words(data, size, words, padding=PADDING_WORDS):  # type: ignore[no-untyped-def]
    """Store the 64 bits from every fourth byte of ``data[:size]``, followed by ``padding`` words of zero."""
    count = size // 4
    for i in range(count):
        words[i] = (
            np.int64(data[4 * i]) << 24
            | np.int64(data[4 * i + 1]) << 16
            | np.int64(data[4 * i + 2]) << 8
            | np.int64(data[4 * i + 3])
        )
    words[count : count + padding] = 0
    for k in range(size - 4 * count):
        words[count] |= np.int64(data[4 * count + k]) << (24 - 8 * k)
    for i in range(count + 1):
        words[i] = words[i] << 32 | words[i + 1]


@inlined
def window(words, position):  # type: ignore[no-untyped-def]
    """Peek at the next 32 bits."""
    return words[position >> 5] << (position & 31) >> 32 & 0xFFFFFFFF


@inlined
def read_bits(words, position, count):  # type: ignore[no-untyped-def]
    """Peek at the next ``count`` bits, at most 32."""
    return window(words, position) >> (32 - count)


@subroutine
def read_unsigned(words, position):  # type: ignore[no-untyped-def]
    """Read ue(v) (ITU-T H.264, 9.1): position, value.

    If no valid code follows, the position is beyond the end of the buffer.
    """
    bits = window(words, position)
    if bits >> 31:
        return position + 1, 0
    zeros = leading_zeros(bits) - 32
    if zeros < 16:
        return position + 2 * zeros + 1, (bits >> (31 - 2 * zeros)) - 1
    if zeros == 32:
        return 32 * (words.size - PADDING_WORDS + 1), 0
    position += zeros
    return position + zeros + 1, (window(words, position) >> (31 - zeros)) - 1


@subroutine
def read_signed(words, position):  # type: ignore[no-untyped-def]
    """Read se(v) (9.1.1): position, value."""
    position, code = read_unsigned(words, position)
    return position, (code + 1) >> 1 if code & 1 else -(code >> 1)


@inlined
def fault(code, position):  # type: ignore[no-untyped-def]
    """Encode a fault, returned in place of a position."""
    return -(position << _FAULT_BITS | code)


def fault_parts(result: int) -> tuple[int, int]:
    """Code and position of a fault."""
    return -result & ((1 << _FAULT_BITS) - 1), -result >> _FAULT_BITS
