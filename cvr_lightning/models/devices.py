"""Devices by capability: which one computes, whether it computes in bfloat16, and whether it compiles.

A capability is tried, not derived from a name, so that an old driver, a card that this build of PyTorch does
not support, or a missing Triton is noticed before the work begins.
"""

from __future__ import annotations

import warnings

import torch

KINDS = ("cuda", "xpu", "mps")
"""Kinds of accelerators, in the order in which ``auto`` tries them."""


def unusable(device: torch.device) -> str:
    """Why a device cannot compute; empty if it can."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # an old driver is a warning only
        try:
            found = torch.ones(2, device=device).sum().item()
        except Exception as error:  # differs between devices, builds and drivers
            return first_line(caught[0].message if caught else error)
    return "" if found == 2 else f"1 + 1 is {found} on it"


def choose_device() -> tuple[torch.device, str]:
    """The first accelerator that computes, else the CPU.

    Returns:
        The device, and why accelerators that are present are not used; empty if there are none.
    """
    reasons: list[str] = []
    for kind in KINDS:
        present, warned = _is_present(kind)
        reason = unusable(torch.device(kind)) if present else warned
        if present and not reason:
            return torch.device(kind), "; ".join(reasons)
        if reason:
            reasons.append(f"{kind} is not used: {reason}")
    return torch.device("cpu"), "; ".join(reasons)


def _is_present(kind: str) -> tuple[bool, str]:
    """Whether a kind of device is listed, and the warning of its driver."""
    backend = torch.backends.mps if kind == "mps" else getattr(torch, kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        present = bool(backend.is_available())
    return present, first_line(caught[0].message) if caught else ""


def device_name(device: torch.device) -> str:
    """Name of the hardware, as far as PyTorch knows it."""
    if device.type in ("cuda", "xpu"):
        name: str = getattr(torch, device.type).get_device_name(device)
        return f"{name} ({device})"
    return str(device)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16; NVIDIA cards before Ampere only emulate it, slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return True
    try:
        ones = torch.ones(2, 2, device=device, dtype=torch.bfloat16)
        return bool((ones @ ones).sum().item() == 8)
    except Exception:  # differs between devices
        return False


def cannot_compile(device: torch.device) -> str:
    """Why ``torch.compile`` fails for a device, such as no Triton or C++ compiler; empty if it works."""
    try:
        torch.compile(lambda values: (values + 1).relu())(torch.zeros(8, device=device))
    except Exception as error:  # whatever a compiler raises
        return first_line(error)
    return ""


def synchronize(device: torch.device) -> None:
    """Wait until an accelerator has done its work."""
    if device.type in KINDS:
        torch.accelerator.synchronize(device)


def first_line(error: object) -> str:
    """First line of a message, or the name of an exception without one."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
