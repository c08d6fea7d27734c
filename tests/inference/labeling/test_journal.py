"""The file of finished batches: what is resumed is what was written, whoever touched the file since."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cvr_lightning.errors import OutputError, RunError
from cvr_lightning.inference.labeling.blocks import Block
from cvr_lightning.inference.labeling.journal import Journal
from cvr_lightning.inference.labeling.sources import Entry
from cvr_lightning.inference.labeling.table import Columns

COLUMNS = Columns(top=1)


def block(number: int) -> Block:
    return Block(number, (Entry(f"{number}.avi", f"{number}.avi"),))


def row(number: int) -> dict[str, Any]:
    return {"file": f"{number}.avi", "label": "jump", "probability": 0.5, "prepared": False}


def written(path: Path, blocks: int = 3) -> list[bytes]:
    """The lines of a journal of so many batches."""
    with Journal(path, {}, COLUMNS) as journal:
        for number in range(blocks):
            journal.append(block(number), [row(number)])
    return path.read_bytes().splitlines(keepends=True)


def resumed(path: Path) -> list[dict[str, Any]]:
    with Journal(path, {}, COLUMNS) as journal:
        return list(journal.rows())


def test_a_run_is_continued_only_as_it_was_begun(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", {"top": 5}, COLUMNS) as journal:
        journal.append(block(0), [row(0)])
    with Journal(tmp_path / "j", {"top": 5}, COLUMNS) as journal:
        assert journal.has(block(0))
        with pytest.raises(RunError, match=r"other videos than when it was begun, from 1\.avi on"):
            journal.has(block(1)._replace(number=0))
    with pytest.raises(RunError, match="begun with another checkpoint or other options"):
        Journal(tmp_path / "j", {"top": 1}, COLUMNS)


def test_videos_that_the_sources_no_longer_name_are_not_in_the_table(tmp_path: Path) -> None:
    written(tmp_path / "j")
    with Journal(tmp_path / "j", {}, COLUMNS) as journal:
        journal.check(blocks=3)
        with pytest.raises(RunError, match="fewer videos than when it was begun"):
            journal.check(blocks=2)


def test_a_label_that_was_changed_on_the_disk_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = written(tmp_path / "j")
    (tmp_path / "j").write_bytes(
        b"".join(lines).replace(b'"1.avi", "label": "jump"', b'"1.avi", "label": "fall"')
    )
    assert resumed(tmp_path / "j") == [row(0)]
    assert "j: damaged after 1 batches; later ones are read again" in caplog.text


@pytest.mark.parametrize("end", [b"", b"\0\0\0\0", b"{", b'0123 {"block": 3'])
def test_what_a_kill_or_a_power_cut_leaves_at_the_end_is_dropped(
    end: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = written(tmp_path / "j")
    with (tmp_path / "j").open("ab") as file:
        file.write(end)
    assert resumed(tmp_path / "j") == [row(0), row(1), row(2)]
    assert (tmp_path / "j").read_bytes() == b"".join(lines)
    assert not caplog.records


@pytest.mark.parametrize(
    "values",
    [
        [],
        {"block": 0, "names": "", "rows": [1]},
        {"block": 0, "names": "x", "rows": []},
        {"block": 0, "names": 1, "rows": []},
        {"block": "0", "names": "", "rows": []},
        {"block": 0, "names": "", "rows": [{"label": "jump"}]},
        {"block": 0, "names": "", "rows": [{"file": "a.avi", "label": 1}]},
        {"block": 0, "names": "", "rows": [{"file": "a.avi", "scores": [0.5]}]},
    ],
)
def test_a_batch_of_other_values_is_not_used(values: Any, tmp_path: Path) -> None:
    """The checksum is no secret."""
    written(tmp_path / "j", blocks=0)
    text = json.dumps(values).encode()
    line = hashlib.blake2b(text, digest_size=8).hexdigest().encode() + b" " + text + b"\n"
    with (tmp_path / "j").open("ab") as file:
        file.write(line)
    assert resumed(tmp_path / "j") == []


def test_a_journal_is_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OutputError, match=r"it is (a link|not a regular file)"):
            Journal(tmp_path / name, {}, COLUMNS)
    assert not (tmp_path / "victim").exists()
