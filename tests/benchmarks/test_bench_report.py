"""The report of `make bench`: given sections become tables, figures, and a list of who was absent."""

import dataclasses
import json
import re
import runpy
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
READERS = {"ours, indexed": 6.0, "PyAV, every frame to RGB": 90.0, "torchcodec, 16 frames, exact": 18.0}


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """benchmarks/bench_report.py, whose neighbors it imports by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import bench_report

        return bench_report


def sections(bench: ModuleType) -> dict[str, object]:
    """One section of each kind that a figure needs, with made-up figures."""
    rows: dict[str, list[tuple[object, ...]]] = {
        "reading": [
            (what, "ms", (ms, 2 * ms, 3 * ms), f"{clip}: 164 frames")
            for clip in ("a.avi", "b.mp4")
            for what, ms in READERS.items()
        ],
        "lengths": [
            *((what, "ms", (ms,), "", at) for what, ms in READERS.items() for at in (10, 60)),
            *(
                (what, "MiB added", (ms,), "a fresh process", at)
                for what, ms in READERS.items()
                for at in (10, 60)
            ),
        ],
        "memory": [("tiny", "MiB added", (40,)), ("X3D-S, one view", "MiB added", (90,))],
        "inference": [
            *(
                ("small", "videos/s", (10.0, 20.0), f"{way}{dtype}", at)
                for way in ("file to label", "model alone")
                for dtype in ("", ", bf16")
                for at in (1, 16)
            ),
            ("X3D-S, av", "videos/s", (5.0, 5.0), "file to label", 1),
        ],
        "workers": [("ours, read alone", "clips/s", (80.0, 90.0), "processes", at) for at in (1, 2)],
        "accuracy": [
            *(
                ("small, short", unit, (9.0,), "as trained here")
                for unit in ("% top-1", "mJ/video", "ms/video")
            ),
            *(("X3D-S, one view", unit, (9.0,), "at its own size") for unit in ("mJ/video", "ms/video")),
        ],
    }
    references = {"reading": "ours, indexed", "inference": "small"}
    absent = {"reading": {"torchcodec": "does not load: OSError: libavutil.so"}}
    return {
        name: bench.Section(
            name.capitalize(),
            "How.",
            tuple(bench.Measured(*row) for row in found),
            "place",
            references.get(name, ""),
            absent.get(name, {}),
        )
        for name, found in rows.items()
    }


def test_the_report_lists_ratios_figures_and_missing_libraries(bench: ModuleType, tmp_path: Path) -> None:
    report = bench.compose(sections(bench), {"clips": "a.avi, b.mp4"}, tmp_path)
    text = report.read_text()
    assert "- torchcodec (Reading): does not load: OSError: libavutil.so" in text
    assert "| torchcodec, 16 frames, exact | 36.0 | 27.0 - 45.0 | 3.00 |" in text
    assert "torchcodec, 16 frames, exact 3" in text.partition("## Configuration")[0]
    assert "- clips: a.avi, b.mp4" in text
    figures = sorted(path.name for path in (tmp_path / report.stem).iterdir())
    assert figures == sorted(f"{name}.png" for name in bench.FIGURES)
    for name in figures:
        assert f"({report.stem}/{name})" in text
        assert (tmp_path / report.stem / name).read_bytes().startswith(b"\x89PNG")


def test_a_report_of_one_section_has_only_its_figure(bench: ModuleType, tmp_path: Path) -> None:
    section = {"reading": sections(bench)["reading"]}
    report = bench.compose(section, {}, tmp_path, "-reading")
    assert report.stem.endswith("-reading")
    assert [path.name for path in (tmp_path / report.stem).iterdir()] == ["reading.png"]


def test_a_figure_takes_any_number_of_files(bench: ModuleType, tmp_path: Path) -> None:
    section = sections(bench)["reading"]
    rows = [
        bench.Measured(what, "ms", (ms,), f"{number}.mp4: 36 frames")
        for number in range(9)
        for what, ms in READERS.items()
    ]
    many = dataclasses.replace(section, measured=tuple(rows))
    report = bench.compose({"reading": many}, {}, tmp_path, "-reading")
    assert "8.mp4: 36 frames" in report.read_text()


def test_pages_of_the_docs_name_sections_that_exist(bench: ModuleType) -> None:
    pages = runpy.run_path(str(ROOT / "benchmarks" / "bench.py"))["PAGES"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import comparison
    texts = [path.read_text() for path in (ROOT / "docs").rglob("*.md")]
    named = {name for text in texts for name in re.findall(r"bench\.py --sections ([a-z]+)", text)}
    assert len(named) > 9
    assert named <= {*pages, *comparison.KINDS}
    for name in pages:
        assert "def main(given: list[str])" in (ROOT / "benchmarks" / f"{name}.py").read_text()


def test_rates_and_times_give_ratios_of_the_same_direction(bench: ModuleType) -> None:
    slow, fast = (
        bench.Measured("peer", "videos/s", (2.0, 4.0)),
        bench.Measured("ours", "videos/s", (8.0, 8.0)),
    )
    assert slow.times(fast) == pytest.approx(1 / 0.375)
    long, short = bench.Measured("peer", "ms", (9.0, 8.0, 1.0)), bench.Measured("ours", "ms", (3.0, 1.0, 1.0))
    assert long.times(short) == 3.0


def test_a_section_is_read_back_from_its_file(bench: ModuleType, tmp_path: Path) -> None:
    section = sections(bench)["reading"]
    section.write(tmp_path / "section.json")
    assert bench.Section.from_dict(json.loads((tmp_path / "section.json").read_text())) == section
    assert asdict(section)["absent"]


def test_the_name_of_the_report_is_that_of_the_processor(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = sys.modules["machine"]
    monkeypatch.setattr(machine, "cpu", lambda: "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz")
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    assert machine.slug() == "intel-xeon-gold-6148-2-cores"


def test_a_missing_library_is_reported(bench: ModuleType) -> None:
    assert sys.modules["machine"].why_absent("no-such-peer") == "not installed"
    assert sys.modules["machine"].why_absent("numpy") is None
