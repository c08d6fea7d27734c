"""Counters that are files in a folder, or objects that say what NVML and zeus would."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cvr_lightning.energy import counters as power
from cvr_lightning.energy.counters import (
    CounterMissingError,
    EnergyMeter,
    RaplCounter,
    ZeusCounter,
    open_counters,
    open_nvml,
    open_rapl,
)
from cvr_lightning.errors import RunError

RANGE = 262_143_328_850


def write_domain(powercap: Path, folder: str, name: str, microjoules: int) -> Path:
    domain = powercap / folder
    domain.mkdir(parents=True)
    (domain / "name").write_text(f"{name}\n")
    (domain / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (domain / "energy_uj").write_text(f"{microjoules}\n")
    return domain


def spend(domain: Path, microjoules: int) -> None:
    now = int((domain / "energy_uj").read_text())
    (domain / "energy_uj").write_text(str((now + microjoules) % RANGE))


def test_rapl_counts_from_where_it_was_opened(tmp_path: Path) -> None:
    domain = write_domain(tmp_path, "intel-rapl:0", "package-0", 7_000_000)
    counter = RaplCounter(domain)
    assert counter.read() == 0
    spend(domain, 2_500_000)
    assert counter.read() == 2.5


def test_rapl_counters_may_wrap_around(tmp_path: Path) -> None:
    domain = write_domain(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    counter = RaplCounter(domain)
    for joules in (3, 6):
        spend(domain, 3_000_000)
        assert counter.read() == joules
    assert int((domain / "energy_uj").read_text()) == 5_000_000


def test_packages_and_memories_are_counted_once(tmp_path: Path) -> None:
    for folder, name in {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",  # part of the package
        "intel-rapl:0:2": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",  # the whole board, packages included
        "intel-rapl-mmio:0": "package-0",  # the same once more
    }.items():
        write_domain(tmp_path, folder, name, 0)
    assert [counter.name for counter in open_rapl(tmp_path)] == [
        "RAPL package-0",
        "RAPL dram",
        "RAPL package-1",
    ]


def test_without_rapl_the_reason_is_given(tmp_path: Path) -> None:
    with pytest.raises(CounterMissingError, match="no processor is listed"):
        open_rapl(tmp_path)


def test_unreadable_rapl_counters_say_how_to_allow_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = write_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    read = Path.read_text

    def refuse(path: Path, *arguments: Any, **options: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(CounterMissingError, match=f"chmod a\\+r {domain / 'energy_uj'}"):
        open_rapl(tmp_path)


class FakeNvml:
    """The few functions of pynvml that are called, of a machine with one GPU."""

    class NVMLError(Exception):
        pass

    def __init__(self, millijoules: int | None = 5_000) -> None:
        self.millijoules = millijoules

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-1":
            raise self.NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "NVIDIA H100"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if self.millijoules is None:
            raise self.NVMLError("Not Supported")
        return self.millijoules


def test_nvml_counts_millijoules_of_the_process_own_gpu() -> None:
    nvml = FakeNvml()
    (counter,) = open_nvml("GPU-1", nvml)
    nvml.millijoules += 1_500
    assert (counter.name, counter.read()) == ("NVML NVIDIA H100", 1.5)


@pytest.mark.parametrize(
    ("gpu", "nvml", "reason"),
    [
        (None, FakeNvml(), "uses no NVIDIA GPU"),
        ("GPU-2", FakeNvml(), "Not Found"),
        ("GPU-1", FakeNvml(None), "Not Supported"),
    ],
)
def test_without_a_gpu_or_its_counter_the_reason_is_given(gpu: str | None, nvml: Any, reason: str) -> None:
    with pytest.raises(CounterMissingError, match=reason):
        open_nvml(gpu, nvml)


def test_zeus_adds_what_its_windows_measured() -> None:
    measured = SimpleNamespace(gpu_energy={0: 2.0, 1: 3.0}, cpu_energy={0: 1.0}, dram_energy=None)
    calls: list[str] = []
    monitor = SimpleNamespace(
        begin_window=lambda name, sync_execution: calls.append("begin"),
        end_window=lambda name, sync_execution: calls.append("end") or measured,
    )
    counter = ZeusCounter(monitor)
    assert [counter.read(), counter.read()] == [6.0, 12.0]
    assert calls == ["begin", "end", "begin", "end", "begin"]


def test_a_requested_counter_must_be_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "POWERCAP", tmp_path)
    with pytest.raises(RunError, match="is not available: RAPL"):
        open_counters(["rapl"], gpu=None)
    counters, missing = open_counters(None, gpu=None)
    assert counters == []
    assert [reason.split(":")[0] for reason in missing] == ["NVML", "RAPL"]
    with pytest.raises(RunError, match="choose one of nvml, rapl, zeus"):
        open_counters(["watts"], gpu=None)  # type: ignore[list-item]


def test_one_process_of_a_machine_reads_what_all_of_them_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    monkeypatch.setattr(power, "POWERCAP", tmp_path)
    first, _ = open_counters(None, gpu=None, whole_machine=True)
    second, _ = open_counters(None, gpu=None, whole_machine=False)
    assert (len(first), len(second)) == (1, 0)


def test_the_meter_counts_only_between_start_and_stop(tmp_path: Path) -> None:
    domain = write_domain(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = EnergyMeter([RaplCounter(domain)])
    assert meter.total is None
    spend(domain, 1_000_000)
    for _ in range(2):
        meter.start()
        spend(domain, 2_000_000)
        meter.stop()
        meter.stop()
        spend(domain, 4_000_000)
    assert meter.joules == {"RAPL package-0": 4.0}
    assert meter.total == 4.0
    assert EnergyMeter([]).total is None
