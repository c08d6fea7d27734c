"""A file that is written is the old one or the new one, whatever happens meanwhile."""

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.disks import small_disk

from cvr_lightning.errors import OutputError
from cvr_lightning.files.atomic import atomic_path, unfinished_files, write_output

DIES = """
import os, signal, sys
from pathlib import Path
from cvr_lightning.files.atomic import atomic_path, write_output

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

path, moment = Path(sys.argv[1]), sys.argv[2]
if moment == "while it is written":
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(b"ne")
        die()
if moment == "before it is on the disk":
    os.fsync = die
if moment == "before it has its name":
    Path.replace = die
write_output(path, b"new")
die()
"""


@pytest.mark.parametrize(
    ("moment", "content"),
    [
        ("while it is written", b"old"),
        ("before it is on the disk", b"old"),
        ("before it has its name", b"old"),
        ("after that", b"new"),
    ],
)
def test_a_process_that_is_killed_leaves_a_whole_file(tmp_path: Path, moment: str, content: bytes) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"old")
    # A temporary folder that is not there: the file must be made beside its target, on the same disk.
    killed = subprocess.run(
        [sys.executable, "-c", DIES, str(path), moment], env={**os.environ, "TMPDIR": str(tmp_path / "none")}
    )
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == content
    assert [target for _, target in unfinished_files(tmp_path)] == ([] if content == b"new" else [path])


def test_the_contents_are_on_the_disk_before_the_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace = Path.replace

    def synchronize(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "contents")

    def rename(self: Path, target: Path) -> Path:
        steps.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synchronize)
    monkeypatch.setattr(Path, "replace", rename)
    write_output(tmp_path / "results.json", b"{}")
    assert steps == ["contents", "name", "folder"]


def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        path = disk / "results.json"
        write_output(path, b"old")
        with pytest.raises(
            OutputError, match=r"results\.json: cannot be written \(No space left on device\)"
        ):
            write_output(path, bytes(100_000))
        assert {file.name: file.read_bytes() for file in disk.iterdir()} == {"results.json": b"old"}


def test_a_file_above_the_limit_of_the_process_is_named(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(File too large\)"):
            write_output(tmp_path / "results.json", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").touch()
    with pytest.raises(OutputError, match=r"checkpoints/last\.ckpt: cannot be written"):
        write_output(tmp_path / "checkpoints" / "last.ckpt", b"new")


def test_what_cannot_be_read_is_not_taken_for_what_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="source"),
        atomic_path(tmp_path / "copy") as unfinished,
    ):
        unfinished.write_bytes((tmp_path / "source").read_bytes())
    assert list(tmp_path.iterdir()) == []
