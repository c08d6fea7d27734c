"""The device and precision of a command, chosen by capability."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cvr_lightning.errors import OptionError
from cvr_lightning.files.printable import shown

if TYPE_CHECKING:  # report wrong arguments before importing torch
    import torch

PRECISIONS = ("32", "bf16")
"""Values of ``--precision``."""
_AUTO = "--device auto selects one that works here"


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, xpu, mps; auto is the first accelerator that works, else the CPU (default: auto)",
    )


def add_compute(parser: argparse.ArgumentParser) -> None:
    """Add ``--device`` and ``--precision``."""
    add_device(parser)
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="32", help="bf16 is faster where the hardware has it"
    )


def compute_on(command: str, asked: str, precision: str = "32") -> tuple[torch.device, torch.dtype]:
    """Choose device and precision, and print one line unless both are the defaults of the CPU.

    Args:
        command: Name of the command, for the line.
        asked: ``auto``, or a device.
        precision: One of :data:`PRECISIONS`. Without bfloat16 in hardware, float32 is used.

    Raises:
        OptionError: The device does not exist or does not compute.
    """
    import torch

    from cvr_lightning.models.devices import choose_device, computes_bfloat16, device_name

    device, reason = choose_device() if asked == "auto" else (_required(asked), "")
    notes = [reason] if reason else []
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if precision == "bf16" and not computes_bfloat16(device):
        dtype = torch.float32
        notes.append("it does not compute in bfloat16: float32 is used")
    if notes or (asked == "auto" and device.type != "cpu"):
        print(shown(f"{command}: {'; '.join([f'on {device_name(device)}', *notes])}"), file=sys.stderr)
    return device, dtype


def _required(asked: str) -> torch.device:
    """A device that was asked for.

    Raises:
        OptionError: It does not exist or does not compute.
    """
    import torch

    from cvr_lightning.models.devices import first_line, unusable

    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise OptionError(f"--device {asked}: {first_line(error)}; {_AUTO}") from error
    if reason := unusable(device):
        raise OptionError(f"--device {asked}: {reason}; {_AUTO}")
    return device
