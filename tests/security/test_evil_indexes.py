"""The index beside a stranger's videos: SQLite deletes or creates no other file because of it."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import pytest

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.datamodules.index_cache import IndexCache

SECTOR = 512
NO_PAGE = 262145
"""The page at byte 2^30, which the name of another journal takes the place of."""


def journal_that_names(victim: Path) -> bytes:
    """A journal without pages, as of a transaction over several databases (sqlite.org/fileformat.html, 3)."""
    magic, name = bytes.fromhex("d9d505f920a163d7"), str(victim).encode()
    head = (magic + struct.pack(">5I", 0, 0, 2, SECTOR, 4096)).ljust(SECTOR, b"\0")
    return head + struct.pack(">I", NO_PAGE) + name + struct.pack(">II", len(name), sum(name)) + magic


def cache(root: Path) -> IndexCache:
    """The index of the only video of a folder."""
    found = IndexCache(root, root / ".cvr_index")
    found.update(["0.mp4"])
    return found


@pytest.fixture
def root(shapes: Path, tmp_path: Path) -> Path:
    """A folder of an indexed video."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "0.mp4").write_bytes(next(shapes.glob("train/left/*.mp4")).read_bytes())
    cache(tmp_path / "videos")
    return tmp_path / "videos"


def check_that_it_is_rebuilt(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    index = cache(root).find("0.mp4")
    assert index is not None
    with CompressedVideoReader(root / "0.mp4") as video:
        assert index.to_bytes() == video.index.to_bytes()
    assert "rebuilding it" in caplog.text
    assert sorted(path.name for path in (root / ".cvr_index").iterdir()) == [
        "CACHEDIR.TAG",
        "index.sqlite",
        "lock",
    ]


def test_the_file_that_a_journal_names_is_kept(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    victim = root.parent / "victim"
    victim.write_text("precious")
    (root / ".cvr_index" / "index.sqlite-journal").write_bytes(journal_that_names(victim))
    check_that_it_is_rebuilt(root, caplog)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["index.sqlite", "index.sqlite-journal", "index.sqlite-wal"])
def test_links_in_an_index_lead_nowhere(name: str, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    victim = root.parent / "victim"
    (root / ".cvr_index" / name).unlink(missing_ok=True)
    (root / ".cvr_index" / name).symlink_to(victim)
    check_that_it_is_rebuilt(root, caplog)
    assert not victim.exists()
