"""Vectors of float32 numbers as values in numba kernels, and the functions of them that the neurons need.

A loop that LLVM vectorises by itself is the innermost one, so a state that is carried through time lives in
memory. Where lanes are values the innermost loop may run over time, and the state stays in registers. LLVM
makes of them what a machine has: one AVX-512 register, two of AVX, four of NEON.

Lanes are added, subtracted, multiplied and divided each by itself and rounded as single numbers are: nothing
is contracted but what :func:`multiply_add` asks for.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic as _intrinsic
from numba.extending import lower_builtin

LANES = 16
"""Numbers in a vector: as many as the widest registers there are hold."""

_INT = ir.IntType(32)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTEGERS = ir.VectorType(_INT, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_ZEROS = ir.Constant(_VECTOR, [0.0] * LANES)
_ALIGN = ir.Constant(_INT, 4)  # bytes

Build = Callable[..., Any]
intrinsic: Any = _intrinsic  # its stub takes the function for the one that kernels call


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__("Lanes")


_lanes = _Lanes()


@register_default(_Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _operator(function: Any, instruction: str) -> None:
    @infer_global(function)
    class _Signature(ConcreteTemplate):
        cases = (signature(_lanes, _lanes, _lanes),)

    @lower_builtin(function, _lanes, _lanes)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@intrinsic
def splat(typing: Any, number: Any) -> tuple[Any, Build]:
    """The number in each lane."""
    return _lanes(types.float32), lambda context, builder, sig, args: _spread(builder, args[0])


@intrinsic
def choose(typing: Any, x: Any, y: Any, a: Any, b: Any) -> tuple[Any, Build]:
    """``a`` where x >= y, else ``b``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, y, a, b = args
        return builder.select(builder.fcmp_ordered(">=", x, y), a, b)

    return _lanes(x, y, a, b), build


@intrinsic
def multiply_add(typing: Any, x: Any, y: Any, z: Any) -> tuple[Any, Build]:
    """The product of x and y plus z, rounded once where the machine can in one instruction, else twice."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        fused = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
        return builder.call(fused, args)

    return _lanes(x, y, z), build


@intrinsic
def power_of_two(typing: Any, x: Any) -> tuple[Any, Build]:
    """2 ** k for lanes of _SHIFT + k, k a whole number above -127."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def constant(number: int) -> Any:
            return ir.Constant(_INTEGERS, [number] * LANES)

        exponent = builder.shl(builder.bitcast(args[0], _INTEGERS), constant(23))
        return builder.bitcast(builder.add(exponent, constant(127 << 23)), _VECTOR)

    return _lanes(x), build


@intrinsic
def load(typing: Any, array: Any, at: Any, n: Any) -> tuple[Any, Build]:
    """Numbers of a flat array from place ``at``, n of them where that is fewer than lanes; zeros beyond."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, is_whole, inside = _place(context, builder, sig, *args)
        kind = ir.FunctionType(_VECTOR, [pointer.type, _INT, _MASK, _VECTOR])
        masked = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{LANES}f32.p0")
        found = cgutils.alloca_once(builder, _VECTOR)
        with builder.if_else(is_whole) as (whole, part):
            with whole:
                builder.store(builder.load(pointer, align=4), found)
            with part:
                builder.store(builder.call(masked, [pointer, _ALIGN, inside(), _ZEROS]), found)
        return builder.load(found)

    return _lanes(array, types.intp, types.intp), build


@intrinsic
def store(typing: Any, array: Any, at: Any, n: Any, x: Any) -> tuple[Any, Build]:
    """The counterpart of :func:`load`: lanes beyond n are not written."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer, is_whole, inside = _place(context, builder, sig, *args[:3])
        kind = ir.FunctionType(ir.VoidType(), [_VECTOR, pointer.type, _INT, _MASK])
        masked = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{LANES}f32.p0")
        with builder.if_else(is_whole) as (whole, part):
            with whole:
                builder.store(args[3], pointer, align=4)
            with part:
                builder.call(masked, [args[3], pointer, _ALIGN, inside()])
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, x), build


def _place(context: Any, builder: Any, sig: Any, array: Any, at: Any, n: Any) -> tuple[Any, Any, Build]:
    """Where the numbers lie, whether they fill the lanes, and which lanes they are."""
    data = context.make_array(sig.args[0])(context, builder, array).data
    pointer = builder.bitcast(builder.gep(data, [at]), _VECTOR.as_pointer())
    is_whole = builder.icmp_signed(">=", n, ir.Constant(n.type, LANES))

    def inside() -> Any:
        numbers = ir.Constant(ir.VectorType(n.type, LANES), list(range(LANES)))
        return builder.icmp_signed("<", numbers, _spread(builder, n))

    return pointer, is_whole, inside


def _spread(builder: Any, number: Any) -> Any:
    nothing = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    single = builder.insert_element(nothing, number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(single, nothing, ir.Constant(_INTEGERS, [0] * LANES))


inlined = numba.njit(nogil=True, error_model="numpy", forceinline=True)

_ZERO = np.float32(0)
_ONE = np.float32(1)


@inlined
def step(x: Any, y: Any) -> Any:
    """1 where x >= y, else 0."""
    return choose(x, y, splat(_ONE), splat(_ZERO))


@inlined
def larger(x: Any, y: Any) -> Any:
    """The larger of two."""
    return choose(x, y, x, y)


_SHIFT = np.float32(1.5 * 2**23)
"""Added to a small number it leaves the nearest whole one in the last bits."""
_BITS_OF_E = np.float32(np.log2(np.e))
_LN_2_HEAD = np.float32(0.693359375)  # few digits, so that multiples are exact
_LN_2_TAIL = np.float32(np.log(2) - 0.693359375)
_SMALLEST = np.float32(-87)

# Of (exp(x) - 1 - x) / x ** 2 within half of ln 2, of log(1 + x) / x from 0 to 1; by Chebyshev interpolation.
# Summed in pairs: one after the other they would wait for each other.
_E0, _E1, _E2, _E3, _E4, _E5 = map(
    np.float32, (0.5, 0.16666667, 0.041666467, 0.0083333105, 0.0013933647, 0.0001989099)
)
_L0, _L1, _L2, _L3, _L4 = map(np.float32, (1.0, -0.49999893, 0.3332971, -0.24951616, 0.19663274))
_L5, _L6, _L7, _L8, _L9 = map(np.float32, (-0.15269667, 0.105436236, -0.05637361, 0.019542526, -0.003176057))


@inlined
def exponential(x: Any) -> Any:
    """To 2e-7 of itself, for x from -87 (what is less is taken for it) to 88."""
    x = larger(x, splat(_SMALLEST))
    shifted = multiply_add(x, splat(_BITS_OF_E), splat(_SHIFT))
    whole = shifted - splat(_SHIFT)
    x = multiply_add(whole, splat(-_LN_2_TAIL), multiply_add(whole, splat(-_LN_2_HEAD), x))
    square = x * x
    y = multiply_add(square, _linear(_E3, x, _E2), _linear(_E1, x, _E0))
    y = multiply_add(square * square, _linear(_E5, x, _E4), y)
    return multiply_add(y, square, x + splat(_ONE)) * power_of_two(shifted)


@inlined
def logarithm_of_one_plus(x: Any) -> Any:
    """To 2e-7 of itself, for x from 0 to 1."""
    square = x * x
    fourth = square * square
    low = multiply_add(square, _linear(_L3, x, _L2), _linear(_L1, x, _L0))
    middle = multiply_add(square, _linear(_L7, x, _L6), _linear(_L5, x, _L4))
    high = _linear(_L9, x, _L8)
    return multiply_add(fourth * fourth, high, multiply_add(fourth, middle, low)) * x


@inlined
def _linear(slope: Any, x: Any, constant: Any) -> Any:
    return multiply_add(splat(slope), x, splat(constant))
