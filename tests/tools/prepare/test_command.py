"""``cvr prepare`` as a user types it, on small real videos."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.disks import held_elsewhere
from helpers.encoders import encode
from helpers.factories import data_options
from helpers.mortal_jobs import prepare_all_but_b

from cvr_lightning.cli.main import main
from cvr_lightning.datamodules import Folder, Shards
from cvr_lightning.tools.prepare import run as run_module
from cvr_lightning.tools.prepare.journal import FOLDER, remove_unfinished

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = ["--size", "96x64", "--workers", "1"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two classes: one video that fits, one that is broken, eight to encode, and a list."""
    root = tmp_path_factory.mktemp("videos") / "src"
    for kind in ("run", "walk"):
        (root / kind).mkdir(parents=True)
        for number in range(4):
            encode(root / kind / f"{number}.avi", frames=14 + number, options={"bf": "1"})
    encode(root / "walk" / "fits.mp4", size=(96, 64))
    (root / "run" / "broken.mkv").write_bytes(b"no video")
    (root / "train.txt").write_bytes(b"run/0.avi 1\r\n")
    (root / ".hidden.mp4").write_bytes(b"no video")
    (root / "notes.md").touch()
    return root


@pytest.fixture(scope="module")
def undisturbed(
    videos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run over them, in a process of its own, and the folder that it wrote."""
    destination = tmp_path_factory.mktemp("prepared") / "dst"
    command = [sys.executable, "-m", "cvr_lightning", "prepare", str(videos), str(destination), *OPTIONS]
    return destination, subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def prepared(undisturbed: tuple[Path, object]) -> Path:
    """The folder alone."""
    return undisturbed[0]


def status(source: Path, destination: Path, *options: str) -> int:
    """Exit status of the command."""
    try:
        main(["prepare", str(source), str(destination), *OPTIONS, *options])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def contents(folder: Path) -> dict[str, bytes]:
    """All that lies in a prepared folder but the journals."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != ".prepare"
    }


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_run_prepares_links_copies_and_reports(
    videos: Path, undisturbed: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    folder, done = undisturbed
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "10 videos: 8 encoded, 1 linked, 1 failed",
        f"manifest: {folder / 'manifest.jsonl'}",
    ]
    assert "failed: run/broken.mkv: FFmpeg cannot open it" in done.stderr
    assert "1 of 10 videos failed" in done.stderr
    assert "10/10" in done.stderr  # the progress bar
    assert sorted(contents(folder)) == [
        "manifest.jsonl",
        *(f"run/{number}.mp4" for number in range(4)),
        "train.txt",
        *(f"walk/{number}.mp4" for number in range(4)),
        "walk/fits.mp4",
    ]
    assert (folder / "train.txt").read_bytes() == b"run/0.avi 1\r\n"
    assert not (folder / "train.txt").samefile(videos / "train.txt")


def test_the_manifest_has_a_line_for_each_video_in_order(prepared: Path) -> None:
    rows = manifest(prepared)
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)
    assert {row["source"]: row["status"] for row in rows if row["status"] != "encoded"} == {
        "run/broken.mkv": "failed",
        "walk/fits.mp4": "linked",
    }
    first = next(row for row in rows if row["source"] == "run/3.avi")
    assert first | {"bytes": 0, "source_bytes": 0} == {
        "source": "run/3.avi",
        "target": "run/3.mp4",
        "status": "encoded",
        "codec": "mpeg4",
        "frames": 17,
        "gop": 12,
        "width": 96,
        "height": 64,
        "bytes": 0,
        "source_bytes": 0,
        "note": "",
        "error": "",
    }


def test_what_was_prepared_is_a_root_for_the_datamodule(prepared: Path) -> None:
    folder = Folder(prepared, **data_options(num_workers=0, segments=2, size=(64, 96), crop=64))
    folder.setup()
    assert folder.class_names == ["run", "walk"]
    assert sum(len(names) for names in folder.names.values()) == 9
    assert next(iter(folder.val_dataloader())).mask.any()


DIES_AFTER_THREE_VIDEOS = """
import os, signal, sys
from cvr_lightning.cli.main import main
from cvr_lightning.tools.prepare.journal import Journal, remove_unfinished

append, rows = Journal.append, []

def mortal_append(self, row):
    append(self, row)
    rows.append(row)
    if len(rows) == 3:
        os.killpg(0, getattr(signal, sys.argv[1]))

Journal.append = mortal_append
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
main(sys.argv[2:])
"""


def run_until_three(signal_name: str, source: Path, destination: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process group of its own, which is sent a signal when three videos are done."""
    arguments = ["prepare", str(source), str(destination), *OPTIONS, "--workers", "2"]
    return subprocess.run(
        [sys.executable, "-c", DIES_AFTER_THREE_VIDEOS, signal_name, *arguments],
        cwd=ROOT,
        start_new_session=True,
        capture_output=True,
        text=True,
    )


def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
    videos: Path, prepared: Path, tmp_path: Path
) -> None:
    for kills in (1, 2):
        killed = run_until_three("SIGKILL", videos, tmp_path / "dst")
        assert killed.returncode == -signal.SIGKILL
        assert len((tmp_path / "dst" / ".prepare" / "1-of-1.jsonl").read_bytes().splitlines()) == 3 * kills
        assert not (tmp_path / "dst" / "manifest.jsonl").exists()
    assert status(videos, tmp_path / "dst") == 1
    assert contents(tmp_path / "dst") == contents(prepared)


def test_ctrl_c_ends_the_run_and_says_how_to_resume(videos: Path, prepared: Path, tmp_path: Path) -> None:
    stopped = run_until_three("SIGINT", videos, tmp_path / "dst")
    assert stopped.returncode == 130
    assert "cvr prepare: stopped; the same command resumes" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not list((tmp_path / "dst").rglob("*.part"))
    assert status(videos, tmp_path / "dst") == 1
    assert contents(tmp_path / "dst") == contents(prepared)


def test_a_second_run_has_nothing_to_do_but_what_failed(
    videos: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(prepared, tmp_path / "dst")
    written = (tmp_path / "dst" / "run" / "0.mp4").stat()
    assert status(videos, tmp_path / "dst") == 1
    assert "10 videos: 8 encoded, 1 linked, 1 failed" in capsys.readouterr().out
    assert (tmp_path / "dst" / "run" / "0.mp4").stat() == written


def test_what_is_missing_torn_or_changed_is_done_again(videos: Path, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "dst")
    journal = tmp_path / "dst" / ".prepare" / "1-of-1.jsonl"
    journal.write_bytes(journal.read_bytes()[:-10])  # a line torn by a kill
    (tmp_path / "dst" / "run" / "0.mp4").unlink()
    (tmp_path / "dst" / "run" / "1.mp4").write_bytes(b"")  # as after a power cut
    (tmp_path / "dst" / "run" / ".2.mp4.1234.part").write_bytes(b"half a video")
    assert status(videos, tmp_path / "dst") == 1
    assert contents(tmp_path / "dst") == contents(prepared)


def test_a_changed_source_is_prepared_again(videos: Path, tmp_path: Path) -> None:
    source = tmp_path / "src"
    shutil.copytree(videos / "walk", source)
    assert status(source, tmp_path / "dst") == 0
    encode(source / "0.avi", frames=25)
    assert status(source, tmp_path / "dst") == 0
    assert [row["frames"] for row in manifest(tmp_path / "dst")] == [25, 15, 16, 17, 30]


def test_the_jobs_of_an_array_together_are_the_whole(
    videos: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = []
    for number in (3, 1, 2):
        assert not (tmp_path / "dst" / "manifest.jsonl").exists()
        statuses.append(status(videos, tmp_path / "dst", "--job", f"{number}/3"))
    assert statuses == [0, 0, 1]  # the broken one is the fifth of ten
    assert "manifest: written when the other jobs are done" in capsys.readouterr().out
    assert contents(tmp_path / "dst") == contents(prepared)


def test_a_job_of_an_array_leaves_the_unfinished_files_of_the_others_alone(tmp_path: Path) -> None:
    own, others, foreign = (tmp_path / name for name in (".0.mp4.12.part", ".1.mp4.12.part", "paper.part"))
    for path in (own, others, foreign):
        path.touch()
    remove_unfinished(tmp_path, ["0.avi"])
    assert (own.exists(), others.exists()) == (False, True)
    remove_unfinished(tmp_path, None)
    assert (others.exists(), foreign.exists()) == (False, True)


@pytest.mark.parametrize(("lock", "options"), [("lock", []), ("2-of-3.lock", ["--job", "2/3"])])
def test_two_processes_never_prepare_the_same_videos(
    videos: Path,
    prepared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lock: str,
    options: list[str],
) -> None:
    shutil.copytree(prepared, tmp_path / "dst")
    with held_elsewhere(tmp_path / "dst" / FOLDER, lock) as pid:
        assert status(videos, tmp_path / "dst", *options) == 1
    assert f"another process is writing to it (pid {pid} on " in capsys.readouterr().err


def test_what_a_power_cut_emptied_is_done_again(
    videos: Path, prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dst = tmp_path / "dst"
    shutil.copytree(prepared, dst)
    first, second = sorted(dst.rglob("*.mp4"))[:2]
    first.write_bytes(b"")
    status(videos, dst)
    assert contents(dst) == contents(prepared)
    second.write_bytes(b"")
    (dst / FOLDER / "recipe.json").write_bytes(b"")
    status(videos, dst)
    assert "recipe.json is damaged: all videos are prepared again" in caplog.text
    assert contents(dst) == contents(prepared)


def test_videos_of_a_lost_recipe_are_not_mixed_with_those_of_another(
    videos: Path, prepared: Path, tmp_path: Path
) -> None:
    dst = tmp_path / "dst"
    shutil.copytree(prepared, dst)
    (dst / FOLDER / "recipe.json").write_bytes(b"")
    status(videos, dst, "--gop=6")
    assert {row["gop"] for row in manifest(dst) if row["status"] == "encoded"} == {6}


def test_a_worker_that_is_killed_costs_one_video_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "src").mkdir()
    for name in "abc":
        encode(tmp_path / "src" / f"{name}.avi", frames=3)
    monkeypatch.setattr(run_module, "prepare_video", prepare_all_but_b)
    assert status(tmp_path / "src", tmp_path / "dst") == 1
    assert "failed: b.avi: its worker process was killed by SIGKILL" in capsys.readouterr().err
    assert [row["status"] for row in manifest(tmp_path / "dst")] == ["encoded", "failed", "encoded"]


def test_a_dry_run_estimates_a_run_and_writes_nothing(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(videos, tmp_path / "dst", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "10 videos; lists to copy along: 1\n  left out of the root: 1 hidden (.hidden" in out
    assert "0 of this run's 10 are done, 10 remain" in out
    assert "tried 5 of those: 4 encoded, 1 failed" in out
    assert "estimate for all: 0:0" in out
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("destination", "options", "message"),
    [
        ("src", [], "which is never changed"),
        ("src/inside", [], "which is never changed"),
        ("full", [], "holds files that were not prepared here"),
        ("file/dst", [], "cannot be written (Not a directory)"),
        ("other", [], "but {'version': 2, 'codec': 'mpeg4', 'quantizer': 2, 'size': '96x64', 'gop': 12}"),
        ("dst", ["--job", "4/3"], "I from 1 to N"),
        ("dst", ["--size", "341x256"], "341 must be even"),
        ("dst", ["--size", "big"], "'big' is not a size"),
        ("dst", ["--gop", "601"], "exceeds the limit of FFmpeg's encoder"),
        ("dst", ["--gop", "0"], "must be a whole number, at least 1"),
        ("dst", ["--workers", "0"], "must be a whole number, at least 1"),
        ("dst", ["--short-side", "256"], "not allowed with argument --size"),
    ],
)
def test_invalid_options_are_refused_before_anything_is_written(
    destination: str, options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("src/a.avi", "full/thesis.tex", "file", "other/.prepare/recipe.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    assert status(tmp_path / "src", tmp_path / destination, *options) in (1, 2)
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_destination_that_is_a_link_into_the_source_is_refused(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(videos)
    assert status(videos, tmp_path / "link" / "run") == 1
    assert "which is never changed" in capsys.readouterr().err


def test_a_prepared_folder_is_packed_by_the_same_command(videos: Path, tmp_path: Path) -> None:
    destination, shards = tmp_path / "dst", tmp_path / "shards"
    fractions = ["--data.val_fraction=0.25", "--data.test_fraction", "0.25"]
    assert (
        status(videos, destination, "--pack", str(shards), "--data=Folder", *fractions) == 1
    )  # one is broken
    packed, folder = Shards(str(shards)), Folder(destination, val_fraction=0.25, test_fraction=0.25)
    for data in (packed, folder):
        data.setup()
    assert packed.names == folder.names
    assert sum(map(len, packed.names.values())) == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pack", "SHARDS"], "--pack SHARDS --data NAME"),
        (["--pack"], "--pack SHARDS --data NAME"),
        (["--pack", "SHARDS", "--data", "Fodler"], "Did you mean 'Folder'?"),
        (["--pack", "SHARDS", "--data", "Folder", "--data.augmentation.color_jitter", "red"], "color"),
        (["--job", "1/2", "--pack", "SHARDS", "--data", "Folder"], "once all jobs of the array are done"),
    ],
)
def test_invalid_packing_options_are_refused_before_the_work(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert status(videos, tmp_path / "dst", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "dst").exists()
