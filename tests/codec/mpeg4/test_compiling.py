"""The message to a user who waits for a kernel to compile."""

import importlib
import io
import sys
import threading

import pytest
from numba.core.dispatcher import Dispatcher

from cvr_lightning.codec.bitstream import compiling


class Screen(io.StringIO):
    """A standard error that knows when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


@pytest.fixture(autouse=True)
def nothing_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_ready", set())


def test_a_kernel_that_takes_long_is_announced_while_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)  # not in a fixture: pytest puts its own there before the test
    monkeypatch.setattr(compiling, "_PATIENCE", 0)

    def kernel(value: int) -> tuple[int, bool]:
        return value, screen.written.wait(20)

    kernel.__module__ = "cvr_lightning.codec.mpeg4.pframes"
    assert compiling.call(kernel, 7) == (7, True)
    assert "compiling the MPEG-4 parser, once (about 10 seconds)" in screen.getvalue()


def test_the_parsers_are_announced_by_name() -> None:
    for module in compiling._PARSERS:
        kernels = vars(importlib.import_module(f"cvr_lightning.codec.{module}")).values()
        assert any(isinstance(kernel, Dispatcher) for kernel in kernels)


def test_a_kernel_that_is_ready_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiling.call(abs, -1) == 1

    def refuse(*args: object) -> None:
        raise AssertionError("a message was prepared")

    monkeypatch.setattr(threading, "Timer", refuse)
    assert compiling.call(abs, -2) == 2


def test_a_kernel_that_fails_is_tried_again() -> None:
    with pytest.raises(ZeroDivisionError):
        compiling.call(divmod, 1, 0)
    assert compiling.call(divmod, 7, 2) == (3, 1)
