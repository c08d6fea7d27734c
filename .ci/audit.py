"""Look up the releases of constraints.txt in PyPI's vulnerability database: ``python .ci/audit.py``.

pip-audit runs in an environment of its own, build/audit. A known vulnerability is an error, unless
.ci/audit-ignored.txt names it with a reason. Without a network, or with an index that has no such data, one
line says how many releases were not looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "audit"
IGNORED = ROOT / ".ci" / "audit-ignored.txt"
PIP_AUDIT = "pip-audit==2.10.1"
LIMIT_S = 300


def main() -> int:
    """Print the outcome; 1 for a vulnerability that is not ignored."""
    output = audit()
    if output is None:
        print("audit: not done, pip-audit did not run (no network?)")
        return 0
    lines, found = report(json.loads(output)["dependencies"], ignored(IGNORED.read_text(encoding="utf-8")))
    print("\n".join(lines))
    return int(found)


def audit() -> str | None:
    """What pip-audit prints as JSON; None if it cannot run."""
    python = FOLDER / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    options = ["--disable-pip", "--no-deps", "-r", "constraints.txt", "--progress-spinner=off", "-f", "json"]
    try:
        if subprocess.run([python, "-m", "pip_audit", "--version"], capture_output=True).returncode:
            raise FileNotFoundError
    except FileNotFoundError:
        venv.create(FOLDER, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "-q", "--retries=1", PIP_AUDIT]
        if subprocess.run(install, stderr=subprocess.DEVNULL).returncode:
            return None
    try:
        command = [python, "-m", "pip_audit", *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.stdout.startswith("{") else None


def ignored(text: str) -> dict[str, str]:
    """Reasons by the identifier of a vulnerability."""
    lines = (line.partition("#")[0].split(maxsplit=1) for line in text.splitlines())
    return {line[0]: line[1].strip() for line in lines if len(line) == 2}


def report(releases: list[dict[str, Any]], reasons: dict[str, str]) -> tuple[list[str], bool]:
    """Lines to print, and whether there is a vulnerability without a reason to ignore it."""
    lines, found = [], False
    for release in releases:
        for fault in release.get("vulns", []):
            names = {fault["id"], *fault["aliases"]}
            reason = next((reasons[name] for name in names if name in reasons), None)
            fixed = ", ".join(fault["fix_versions"]) or "no release yet"
            what = f"audit: {release['name']} {release['version']}: {fault['id']}, fixed in {fixed}"
            lines.append(what if reason is None else f"{what}; ignored: {reason}")
            found |= reason is None
    skipped = sum("skip_reason" in release for release in releases)
    if skipped:
        lines.append(
            f"audit: {skipped} of {len(releases)} releases were not looked up: the index has no data"
        )
    if not lines:
        lines.append(f"audit: no known vulnerability in {len(releases)} releases")
    return lines, found


if __name__ == "__main__":
    sys.exit(main())
