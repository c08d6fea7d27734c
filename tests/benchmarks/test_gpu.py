"""The GPU benchmark runs on the CPU in tiny form; a section that fails is named and the next one runs."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gpu() -> Iterator[ModuleType]:
    """benchmarks/gpu.py, whose neighbors it imports by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import gpu

        yield gpu  # sections are imported on demand


def test_a_dry_run_measures_every_section_on_the_cpu(gpu: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--dry", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (page,) = tmp_path.glob("*.md")
    text = page.read_text()
    sections = {section.split("\n")[0]: section for section in text.split("\n## ")[1:]}
    assert list(sections) == [
        "Tests on the card",
        "Models alone",
        "Spiking neurons",
        "From the file to the label",
        "Training",
        "Energy",
    ]
    assert "failed" not in sections["Tests on the card"]
    assert "| tiny | 2 |" in sections["Models alone"]  # a batch of two
    assert "X3D-S, one view" in sections["Models alone"]
    assert "| plain, recomputing |" in sections["Spiking neurons"]
    assert "| reading, one thread |" in sections["From the file to the label"]
    assert "a step, bf16-mixed" in sections["Training"]
    assert "- two processes on one card: " in sections["Training"]
    assert "- joules per video: NVML: the run uses no NVIDIA GPU" in sections["Energy"]
    assert "theoretical" in sections["Energy"]
    for figure in ("models", "neurons", "labels", "training", "energy"):
        assert (tmp_path / page.stem / f"{figure}.png").stat().st_size > 5000
        assert f"({page.stem}/{figure}.png)" in text


def section(gpu: ModuleType, path: Path) -> None:
    """What a section has written before it ends badly."""
    row = {"what": "small", "unit": "videos/s", "values": [1000.0], "group": "bf16", "at": 1}
    whole = {"title": "Models alone", "protocol": "How.", "measured": [row], "axis": "batch"}
    path.write_text(json.dumps(whole))


def test_what_a_failing_section_has_measured_stays_and_the_page_names_the_fault(
    gpu: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "models.json"
    section(gpu, path)
    fault = gpu.run([sys.executable, "-c", "raise SystemExit(3)"], limit=60)
    assert fault == "failed with exit status 3"
    sections = {"models": gpu.outcome("models", path, fault)}
    sections["energy"] = gpu.outcome("energy", tmp_path / "none.json", gpu.run(["unused"], limit=0))
    text = gpu.compose(sections, tmp_path, "no GPU", gpu.date(2026, 1, 2)).read_text()
    assert "| small | 1 | 1,000 |" in text
    assert "- the section: failed with exit status 3" in text
    assert "- the section: left out: the time was used up" in text


@pytest.mark.skipif("not hasattr(os, 'mkfifo')", reason="the system has no named pipes")
def test_a_section_that_takes_too_long_is_stopped_with_its_processes(gpu: ModuleType, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    child = "import signal, sys; held = open(sys.argv[1], 'w'); signal.pause()"
    assert gpu.run([sys.executable, "-c", parent, child, str(pipe)], limit=4) == "stopped after 4 s"
    select.select([reader], [], [], 30)
    assert os.read(reader, 1) == b""  # the end: no process holds the pipe any more
    os.close(reader)


def test_joules_per_video_are_those_of_the_counter_less_idle_power(gpu: ModuleType) -> None:
    import gpu_energy

    clock = iter(range(1000))

    class Counter:
        name = "NVML fake"

        def read(self) -> float:
            return 100.0 * next(clock)  # joules rise by 100 with each reading

    plan = gpu.gpu_device.dry(Path())
    rows = list(gpu_energy.per_video("small", [Counter()], lambda: None, 4, 0.0, plan))
    values = {(row.unit, row.group): row.median for row in rows}
    watts, rate = values["W", "power"], values["videos/s", "meanwhile"]
    assert values["mJ/video", "measured, whole card"] == pytest.approx(1e3 * watts / rate)
    assert values["mJ/video", "measured, above idle"] == values["mJ/video", "measured, whole card"]
