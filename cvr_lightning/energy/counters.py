"""Measured energy: the counters of a machine, and a meter that adds them up between two moments.

A counter counts all that its device spends: idle power, other processes, decoding, everything. Where there is
none the answer is None and a reason, never zero.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch

from cvr_lightning.errors import RunError

CounterName = Literal["nvml", "rapl", "zeus"]
POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the RAPL counters of Intel and AMD processors."""


class EnergyCounter(Protocol):
    """Something that counts joules.

    Attributes:
        name: What is counted, for reports.
    """

    name: str

    def read(self) -> float:
        """Joules since the counter was opened."""


class CounterMissingError(Exception):
    """A kind of counter is not to be had here; the message says why."""


class RaplCounter:
    """One RAPL domain of a processor: a package or its memory.

    It wraps around after some minutes to an hour of full load; reads must come more often than that.

    Args:
        folder: The domain's folder under :data:`POWERCAP`.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"RAPL {(folder / 'name').read_text().strip()}"
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last = int(self._file.read_text())
        self._microjoules = 0

    def read(self) -> float:
        """Joules since the counter was opened."""
        now = int(self._file.read_text())
        self._microjoules += now - self._last if now >= self._last else now + self._range - self._last
        self._last = now
        return self._microjoules * 1e-6


def open_rapl(powercap: Path | None = None) -> list[EnergyCounter]:
    """The packages of all processors and their memories; their other domains lie inside these.

    Args:
        powercap: Where they are listed; :data:`POWERCAP` where None.

    Raises:
        CounterMissingError: Where there is none, or it may not be read.
    """
    powercap = powercap or POWERCAP
    try:
        folders = [
            folder
            for folder in sorted(powercap.glob("intel-rapl:*"))
            if (folder / "name").read_text().startswith(("package", "dram"))
        ]
        if not folders:
            raise CounterMissingError(f"RAPL: no processor is listed in {powercap}")
        return [RaplCounter(folder) for folder in folders]
    except PermissionError as error:
        raise CounterMissingError(
            f"RAPL: {error.filename} may be read by root alone (sudo chmod a+r {error.filename})"
        ) from error
    except (OSError, ValueError) as error:
        raise CounterMissingError(f"RAPL: {error}") from error


class NvmlCounter:
    """The energy counter of one NVIDIA GPU, Volta or newer.

    Args:
        nvml: The module ``pynvml``.
        handle: The device's handle.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.name = f"NVML {nvml.nvmlDeviceGetName(handle)}"
        self._nvml = nvml
        self._handle = handle
        self._start: int = nvml.nvmlDeviceGetTotalEnergyConsumption(handle)

    def read(self) -> float:
        """Joules since the counter was opened."""
        now: int = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        return (now - self._start) * 1e-3


def open_nvml(gpu: str | None, nvml: Any = None) -> list[EnergyCounter]:
    """The counter of the GPU that a process works on.

    Args:
        gpu: Its UUID as NVML writes it (``GPU-...``), for indices depend on CUDA_VISIBLE_DEVICES; None where
            the process uses none.
        nvml: The module ``pynvml``; imported where None.

    Raises:
        CounterMissingError: Where there is no GPU, no NVML or no counter.
    """
    if gpu is None:
        raise CounterMissingError("NVML: the run uses no NVIDIA GPU")
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError as error:
            raise CounterMissingError("NVML: pip install 'cvr-lightning[energy]'") from error
    try:
        nvml.nvmlInit()
        return [NvmlCounter(nvml, nvml.nvmlDeviceGetHandleByUUID(gpu))]
    except nvml.NVMLError as error:
        raise CounterMissingError(f"NVML: {error}") from error


class ZeusCounter:
    """The GPUs, processors and memories that a ZeusMonitor (zeus, ml.energy) sees.

    Args:
        monitor: The monitor.
    """

    name = "zeus"

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor
        self._joules = 0.0
        self._monitor.begin_window("cvr_lightning", sync_execution=False)

    def read(self) -> float:
        """Joules since the counter was opened."""
        measured = self._monitor.end_window("cvr_lightning", sync_execution=False)
        self._monitor.begin_window("cvr_lightning", sync_execution=False)
        parts = (measured.gpu_energy, measured.cpu_energy, measured.dram_energy)
        self._joules += sum(sum(part.values()) for part in parts if part)
        return self._joules


def open_zeus() -> list[EnergyCounter]:
    """All that zeus sees.

    Raises:
        CounterMissingError: Where zeus is not installed.
    """
    try:
        monitor = importlib.import_module("zeus.monitor")
    except ImportError as error:
        raise CounterMissingError("zeus: pip install zeus") from error
    return [ZeusCounter(monitor.ZeusMonitor())]


def gpu_uuid(device: torch.device) -> str | None:
    """The UUID by which NVML knows a CUDA device, whatever of them the process is shown; None for others."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def open_counters(
    names: Sequence[CounterName] | None, gpu: str | None, whole_machine: bool = True
) -> tuple[list[EnergyCounter], list[str]]:
    """Open the counters that are asked for, or those that there are.

    Args:
        names: Kinds of counters; None takes NVML and RAPL where they are to be had.
        gpu: UUID of the process's GPU.
        whole_machine: Take counters that see more than this process's GPU; one process of a machine does.

    Returns:
        The counters, and why the others are missing.

    Raises:
        RunError: Where a counter was asked for by name and is not to be had, or there is no such name.
    """
    openers: dict[str, Callable[[], list[EnergyCounter]]] = {
        "nvml": lambda: open_nvml(gpu),
        "rapl": open_rapl,
        "zeus": open_zeus,
    }
    counters: list[EnergyCounter] = []
    missing = []
    for name in ("nvml", "rapl") if names is None else names:
        if name not in openers:
            raise RunError(f"no energy counter {name!r}; choose among {', '.join(get_args(CounterName))}")
        if name != "nvml" and not whole_machine:
            continue
        try:
            counters += openers[name]()
        except CounterMissingError as error:
            if names is not None:
                raise RunError(f"the energy counter that was asked for is not there: {error}") from error
            missing.append(str(error))
    return counters, missing


@dataclass
class EnergyMeter:
    """Adds up counters over the times between :meth:`start` and :meth:`stop`.

    Attributes:
        counters: What is read.
        joules: Joules of each counter so far.
        seconds: Time that they cover.
    """

    counters: Sequence[EnergyCounter]
    joules: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    _last: list[float] = field(default_factory=list)
    _since: float | None = None

    def start(self) -> None:
        """Count from here on."""
        self._last = [counter.read() for counter in self.counters]
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Count up to here; does nothing where it is not counting."""
        if self._since is None:
            return
        self.seconds += time.perf_counter() - self._since
        self._since = None
        for counter, last in zip(self.counters, self._last, strict=True):
            self.joules[counter.name] = self.joules.get(counter.name, 0.0) + counter.read() - last

    def poll(self) -> None:
        """Read the counters, so that none wraps around twice unseen."""
        for counter in self.counters:
            counter.read()

    @property
    def total(self) -> float | None:
        """Joules of all counters; None where there is none or nothing was covered."""
        return sum(self.joules.values()) if self.joules else None
