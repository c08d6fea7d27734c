"""Measured energy: counters of the machine, and a meter that sums them over intervals.

A counter includes everything its device consumes: idle power, other processes, decoding. Without a counter
the result is None with a reason, never zero.
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
"""Linux's RAPL counters of Intel and AMD processors."""


class EnergyCounter(Protocol):
    """A counter of joules.

    Attributes:
        name: Name for reports.
    """

    name: str

    def read(self) -> float:
        """Joules since the counter was opened."""


class CounterMissingError(Exception):
    """A kind of counter is not available; the message says why."""


class RaplCounter:
    """One RAPL domain: a processor package or its memory.

    It wraps around after minutes to an hour at full load and must be read more often.

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
    """Open the RAPL counters of all packages and their memory, which contain all other domains.

    Args:
        powercap: Folder that lists them; :data:`POWERCAP` if None.

    Raises:
        CounterMissingError: There are none, or reading them is not permitted.
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
            f"RAPL: {error.filename} is readable by root only (sudo chmod a+r {error.filename})"
        ) from error
    except (OSError, ValueError) as error:
        raise CounterMissingError(f"RAPL: {error}") from error


class NvmlCounter:
    """Energy counter of one NVIDIA GPU (Volta or newer).

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
    """Open the energy counter of the process's GPU.

    Args:
        gpu: UUID of the GPU in NVML's form (``GPU-...``), since indices depend on CUDA_VISIBLE_DEVICES; None
            if the process uses no GPU.
        nvml: The module ``pynvml``; imported if None.

    Raises:
        CounterMissingError: There is no GPU, no NVML or no counter.
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
    """Counts all devices of a ZeusMonitor (zeus, ml.energy).

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
    """Open all devices that zeus monitors.

    Raises:
        CounterMissingError: zeus is not installed.
    """
    try:
        monitor = importlib.import_module("zeus.monitor")
    except ImportError as error:
        raise CounterMissingError("zeus: pip install zeus") from error
    return [ZeusCounter(monitor.ZeusMonitor())]


def gpu_uuid(device: torch.device) -> str | None:
    """NVML's UUID of a CUDA device, independent of CUDA_VISIBLE_DEVICES; None for other devices."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def open_counters(
    names: Sequence[CounterName] | None, gpu: str | None, whole_machine: bool = True
) -> tuple[list[EnergyCounter], list[str]]:
    """Open the requested counters, or all that are available.

    Args:
        names: Kinds of counters; None opens NVML and RAPL if available.
        gpu: UUID of the process's GPU.
        whole_machine: Open counters that cover more than this GPU; one process per machine should.

    Returns:
        The counters, and the reasons why others are missing.

    Raises:
        RunError: A requested counter is unknown or not available.
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
            raise RunError(
                f"unknown energy counter {name!r}; choose one of {', '.join(get_args(CounterName))}"
            )
        if name != "nvml" and not whole_machine:
            continue
        try:
            counters += openers[name]()
        except CounterMissingError as error:
            if names is not None:
                raise RunError(f"the requested energy counter is not available: {error}") from error
            missing.append(str(error))
    return counters, missing


@dataclass
class EnergyMeter:
    """Sums counters over the intervals between :meth:`start` and :meth:`stop`.

    Attributes:
        counters: The counters.
        joules: Joules per counter so far.
        seconds: Total length of the intervals.
    """

    counters: Sequence[EnergyCounter]
    joules: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    _last: list[float] = field(default_factory=list)
    _since: float | None = None

    def start(self) -> None:
        """Start an interval."""
        self._last = [counter.read() for counter in self.counters]
        self._since = time.perf_counter()

    def stop(self) -> None:
        """End the interval, if one is running."""
        if self._since is None:
            return
        self.seconds += time.perf_counter() - self._since
        self._since = None
        for counter, last in zip(self.counters, self._last, strict=True):
            self.joules[counter.name] = self.joules.get(counter.name, 0.0) + counter.read() - last

    def poll(self) -> None:
        """Read the counters, often enough to notice each wraparound."""
        for counter in self.counters:
            counter.read()

    @property
    def total(self) -> float | None:
        """Joules of all counters; None without counters or intervals."""
        return sum(self.joules.values()) if self.joules else None
