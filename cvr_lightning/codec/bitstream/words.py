"""Comparison and search of bytes by words of 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from cvr_lightning.codec.bitstream.kernels import inlined, subroutine


def _load_word(typing_context, array, place):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())
        loaded = builder.load(pointer)
        loaded.align = 1
        return loaded

    return types.uint64(array, types.intp), generate


load_word: Any = intrinsic(_load_word)
"""The eight bytes of a contiguous uint8 array from a place on; the caller checks the bounds."""


def _loader(kind: Any) -> Any:
    def load(typing_context, address):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            loaded = builder.load(builder.inttoptr(arguments[0], ir.IntType(kind.bitwidth).as_pointer()))
            loaded.align = 1
            return loaded

        return kind(types.intp), generate

    return intrinsic(load)


word_at: Any = _loader(types.uint64)
"""The eight bytes of memory from an address on; the caller checks that they exist."""
byte_at: Any = _loader(types.uint8)
"""The byte of memory at an address."""


@subroutine
def same_memory(first, second, size):  # type: ignore[no-untyped-def]
    """Whether the bytes of memory from two addresses on are equal; all must exist."""
    k = 0
    while k + 64 <= size:
        different = np.uint64(0)
        for i in range(k, k + 64, 8):
            different |= word_at(first + i) ^ word_at(second + i)
        if different:
            return False
        k += 64
    while k < size:
        if byte_at(first + k) != byte_at(second + k):
            return False
        k += 1
    return True


_ONES = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)


@inlined
def has_two_zeros(data, place):  # type: ignore[no-untyped-def]
    """Non-zero if two adjacent ones of the nine bytes from a place on are zero."""
    word = load_word(data, place) | load_word(data, place + 1)
    return (word - _ONES) & ~word & _HIGH_BITS


@subroutine
def find_start_code(data, place):  # type: ignore[no-untyped-def]
    """Position of the next 00 00 01 at or after a byte; the size of the data if there is none."""
    while place + 65 <= data.size:
        found = np.uint64(0)
        for k in range(place, place + 64, 8):
            found |= has_two_zeros(data, k)
        if found:
            break
        place += 64
    while place + 18 <= data.size:
        if has_two_zeros(data, place) | has_two_zeros(data, place + 8):
            for i in range(place, place + 16):
                if data[i] == 0 and data[i + 1] == 0 and data[i + 2] == 1:
                    return i
        place += 16
    while place + 2 < data.size:
        if data[place] == 0 and data[place + 1] == 0 and data[place + 2] == 1:
            return place
        place += 1
    return data.size
