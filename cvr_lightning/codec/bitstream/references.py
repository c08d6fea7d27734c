"""Named tuples of arrays that kernels pass as one pointer.

By value each array is passed as seven words or more.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic

from cvr_lightning.codec.bitstream.kernels import kernel

REFERENCE_WORDS: Final = 256
"""Words of memory that the named tuples of the parsers need at most."""


class Reference(types.Type):
    """The type of a pointer to a named tuple that lies in memory and does not change."""

    def __init__(self, target: Any) -> None:
        self.target = target
        super().__init__(name=f"Reference({target})")

    @property
    def key(self) -> Any:
        """Identity of the type."""
        return self.target


@register_default(Reference)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Reference) -> None:
        target = manager.lookup(kind.target).get_value_type()
        super().__init__(manager, kind, target.as_pointer())  # type: ignore[no-untyped-call]


@infer_getattr
class _Fields(AttributeTemplate):
    key = Reference

    def generic_resolve(self, kind: Reference, name: str) -> Any:  # type: ignore[override]
        fields = kind.target.fields
        return kind.target.types[fields.index(name)] if name in fields else None


@lower_getattr_generic(Reference)  # type: ignore[no-untyped-call]
def _load_field(context: Any, builder: Any, kind: Reference, pointer: Any, name: str) -> Any:
    place = kind.target.fields.index(name)
    return _load(builder, _address(builder, pointer, place))


def _address(builder: Any, pointer: Any, place: int) -> Any:
    return cgutils.gep_inbounds(builder, pointer, 0, place)  # type: ignore[no-untyped-call]


def _load(builder: Any, pointer: Any) -> Any:
    """Load word by word, so that words without use are left out."""
    kind = pointer.type.pointee
    if isinstance(kind, (ir.LiteralStructType, ir.ArrayType)):
        out = ir.Constant(kind, ir.Undefined)
        for place in range(len(kind)):
            out = builder.insert_value(out, _load(builder, _address(builder, pointer, place)), place)
        return out
    word = builder.load(pointer)
    word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word


def _pointer(builder: Any, context: Any, kind: Any, memory: Any, memory_type: Any) -> Any:
    data = context.make_array(memory_type)(context, builder, memory).data
    return builder.bitcast(data, context.get_value_type(kind).as_pointer())


def _store(typing_context, value, memory):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _pointer(builder, context, value, arguments[1], memory)
        words = context.get_abi_sizeof(context.get_value_type(value)) // 8
        if words > REFERENCE_WORDS:
            raise TypeError(f"a named tuple of {words} words")
        builder.store(arguments[0], pointer)
        return context.get_dummy_value()

    return types.none(value, memory), generate


_store_in: Any = intrinsic(_store)


@kernel
def pin(value, memory):  # type: ignore[no-untyped-def]
    """Store a named tuple, for kernels that are called later."""
    _store_in(value, memory)


def _refer(typing_context, value, memory):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _pointer(builder, context, value, arguments[1], memory)

    return Reference(value)(value, memory), generate


reference_to: Any = intrinsic(_refer)
"""The reference to a named tuple that :func:`pin` stored in an array before the kernel was called."""
