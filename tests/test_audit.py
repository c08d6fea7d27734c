"""The audit of `make check`: findings fail unless documented; what was not looked up is printed."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[1] / ".ci" / "audit.py"
FAULT = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"]}
RELEASES = [
    {"name": "a", "version": "1.0", "vulns": [FAULT]},
    {"name": "b", "version": "2.0", "vulns": []},
]


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    if not FILE.is_file():
        pytest.skip("no clone: .ci is not part of a distribution")
    spec = importlib.util.spec_from_file_location("audit", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_vulnerability_is_an_error_unless_a_reason_is_written_down(audit: ModuleType) -> None:
    line = "audit: a 1.0: PYSEC-1, fixed in 1.1"
    assert audit.report(RELEASES, {}) == ([line], True)
    reasons = audit.ignored("# comment\nCVE-1  only on Windows  # seen in May\n")
    assert audit.report(RELEASES, reasons) == ([f"{line}; ignored: only on Windows"], False)


def test_releases_that_were_not_looked_up_are_no_good_news(audit: ModuleType) -> None:
    skipped = {"name": "c", "skip_reason": "not found"}
    lines, found = audit.report([RELEASES[1], skipped], {})
    assert lines == ["audit: 1 of 2 releases were not looked up: the index has no data"]
    assert not found
    assert audit.report([RELEASES[1]], {})[0] == ["audit: no known vulnerability in 1 releases"]


def test_without_a_network_a_line_says_so(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "audit", lambda: None)
    assert audit.main() == 0
    assert capsys.readouterr().out.startswith("audit: not done")


def test_the_list_of_ignored_ones_gives_a_reason_for_each(audit: ModuleType) -> None:
    text = audit.IGNORED.read_text()
    entries = [line for line in text.splitlines() if line.partition("#")[0].strip()]
    assert len(audit.ignored(text)) == len(entries)
