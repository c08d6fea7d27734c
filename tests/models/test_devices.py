"""Devices that compute are chosen; the reason is printed for those that do not."""

from __future__ import annotations

import warnings

import pytest
import torch
from helpers.factories import make_clip

from cvr_lightning.cli.compute import compute_on
from cvr_lightning.errors import RunError
from cvr_lightning.models import CompressedVideoRecognizer, devices
from cvr_lightning.training import compiling

OLD_DRIVER = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
CPU = torch.device("cpu")


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch):
    """Makes PyTorch list some kinds of accelerators, of which some compute."""

    def arrange(listed: set[str], faults: dict[str, str]) -> None:
        monkeypatch.setattr(devices, "_is_present", lambda kind: (kind in listed, ""))
        monkeypatch.setattr(devices, "unusable", lambda device: faults.get(device.type, ""))

    return arrange


@pytest.mark.parametrize("kind", devices.KINDS)
def test_the_accelerator_that_is_there_is_chosen(present, kind: str) -> None:
    present({kind}, {})
    assert devices.choose_device() == (torch.device(kind), "")


def test_an_accelerator_that_does_not_compute_is_passed_over_with_its_reason(present) -> None:
    fault = "CUDA error: no kernel image is available for execution on the device"
    present({"cuda", "mps"}, {"cuda": fault})
    assert devices.choose_device() == (torch.device("mps"), f"cuda is not used: {fault}")
    present({"cuda"}, {"cuda": fault})
    assert devices.choose_device() == (CPU, f"cuda is not used: {fault}")


def test_without_an_accelerator_nothing_is_printed(present, capsys: pytest.CaptureFixture[str]) -> None:
    present(set(), {})
    assert compute_on("cvr classify", "auto") == (CPU, torch.float32)
    assert compute_on("cvr classify", "cpu", "bf16") == (CPU, torch.bfloat16)
    assert capsys.readouterr().err == ""


def test_an_old_driver_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def is_available() -> bool:
        warnings.warn(OLD_DRIVER, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    device, _ = compute_on("cvr classify", "auto")
    assert device == CPU
    assert capsys.readouterr().err == f"cvr classify: on cpu; cuda is not used: {OLD_DRIVER}\n"


def test_a_device_that_was_asked_for_is_required() -> None:
    with pytest.raises(RunError, match=r"^--device cpux: .*cpux"):
        compute_on("cvr classify", "cpux")
    if not torch.cuda.is_available():
        with pytest.raises(RunError, match=r"^--device cuda: .+; --device auto selects one that works here$"):
            compute_on("cvr classify", "cuda")


def test_without_bfloat16_in_hardware_float32_is_used_and_reported(
    present, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    present({"cuda"}, {})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    assert compute_on("cvr label", "auto", "bf16") == (torch.device("cuda"), torch.float32)
    told = "cvr label: on Tesla V100 (cuda); it does not compute in bfloat16: float32 is used\n"
    assert capsys.readouterr().err == told


def test_a_device_that_refuses_bfloat16_has_none() -> None:
    assert devices.computes_bfloat16(CPU)
    assert not devices.computes_bfloat16(torch.device("mps"))  # there is none where tests run


def test_a_device_that_is_not_there_says_why_it_is_unusable() -> None:
    assert devices.unusable(CPU) == ""
    assert devices.unusable(torch.device("xpu"))


@pytest.fixture
def without_triton(monkeypatch: pytest.MonkeyPatch):
    def refuse(function: object) -> None:
        raise RuntimeError("Cannot find a working triton installation.\nMore information: ...")

    monkeypatch.setattr(torch, "compile", refuse)


@pytest.mark.usefixtures("without_triton")
def test_without_triton_a_model_trains_uncompiled_with_the_same_results() -> None:
    torch.manual_seed(0)
    model = CompressedVideoRecognizer(5, residual_channels=6).eval()
    clip = make_clip()
    expected = model(clip)
    with pytest.warns(match="torch.compile does not work on cpu: Cannot find a working triton installation."):
        compiling.compile_in_place(model, CPU)
    assert torch.equal(model(clip), expected)
    assert model._compiled_call_impl is None


def test_where_compiling_works_the_model_is_compiled_and_keeps_its_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "cannot_compile", lambda device: "")
    model = torch.nn.Linear(2, 2)
    compiling.compile_in_place(model, CPU)
    assert model._compiled_call_impl is not None
    assert list(model.state_dict()) == ["weight", "bias"]
