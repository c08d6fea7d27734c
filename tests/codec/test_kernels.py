"""Kernels without a way in from Python crash the process that calls them from there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

from numba.core.dispatcher import Dispatcher

from cvr_lightning import codec


def functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions of a module that Python runs, and the methods of its classes."""
    for value in vars(module).values():
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            inner = next(
                (getattr(member, name) for name in ("fget", "func", "__func__") if hasattr(member, name)),
                member,
            )
            if isinstance(inner, FunctionType):
                yield inner


def names(code: CodeType) -> set[str]:
    nested = (names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*nested)


def test_python_calls_no_kernel_that_only_kernels_can_call() -> None:
    wrong, seen = [], 0
    for info in pkgutil.walk_packages(codec.__path__, f"{codec.__name__}."):
        for function in functions(importlib.import_module(info.name)):
            for name in names(function.__code__):
                kernel = function.__globals__.get(name)
                if isinstance(kernel, Dispatcher):
                    seen += 1
                    if kernel.targetoptions.get("no_cpython_wrapper"):
                        wrong.append(f"{function.__qualname__} in {info.name} calls {name}")
    assert not wrong
    assert seen
