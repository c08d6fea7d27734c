"""Disks that are full or read-only, and folders in use: one message, and nothing half-written."""

import subprocess
from pathlib import Path

import pytest
from helpers.disks import held_elsewhere, small_disk
from helpers.tiny_runs import TINY_CLIPS, untrained_checkpoint, write_two_classes

from cvr_lightning.cli.main import main
from cvr_lightning.datamodules import Folder
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.files.atomic import unfinished_files

SAMPLING = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_two_classes(root, frames=40)
    return root


def fit(videos: Path, runs: Path, *more: str) -> list[str]:
    data = [*TINY_CLIPS, "--data.batch_size=2", "--data.num_workers=0"]
    trainer = ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    place = [f"--trainer.default_root_dir={runs}", "--run=x"]
    return ["fit", "--data=Folder", f"--data.root={videos}", *data, *trainer, *place, *more]


def failure(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one message of a command that cannot do what it is asked to."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    output = capsys.readouterr()
    (message,) = (line for line in output.err.splitlines() if line.startswith("cvr: "))
    assert "Traceback" not in output.err + output.out
    return message


def test_a_full_disk_stops_a_training_and_leaves_no_half_checkpoint(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        message = failure(fit(videos, disk), capsys)
        assert "checkpoints/best.ckpt: cannot be written (No space left on device)" in message
        assert list((disk / "x" / "checkpoints").iterdir()) == []


def test_a_full_disk_for_the_events_stops_a_training_with_a_message(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "16k") as disk:
        assert "No space left on device" in failure(fit(videos, disk), capsys)


def test_a_read_only_disk_is_named_before_the_training(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        message = failure(fit(videos, disk), capsys)
    assert f"{disk}/x: cannot be written (Read-only file system)" in message


def test_a_full_disk_stops_a_preparation(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "48k") as disk:
        message = failure(["prepare", str(videos), str(disk / "out"), "--workers=1"], capsys)
        assert "cannot be written (No space left on device)" in message
        assert not list(unfinished_files(disk))


def test_a_full_disk_stops_packing(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", "48k") as disk:
        arguments = [
            "pack",
            str(disk / "out"),
            "--data=Folder",
            f"--data.root={videos}",
            "--data.num_workers=0",
        ]
        assert "cannot be written (No space left on device)" in failure(arguments, capsys)
        assert not list(unfinished_files(disk))
        assert not (disk / "out" / "index.json").exists()


@pytest.fixture(scope="module")
def labeling(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Label one video forty times."""
    folder = tmp_path_factory.mktemp("labeling")
    checkpoint = untrained_checkpoint(folder / "a.ckpt", ["a", "b"], SAMPLING)
    (folder / "list.txt").write_text(40 * f"{videos}/train/a/0.avi\n")
    options = ["--checkpoint", str(checkpoint), "--workers=1", "--embeddings", "--batch-size=4", "--output"]
    return ["label", str(folder / "list.txt"), *options]


def test_a_full_disk_stops_labeling_which_goes_on_where_there_is_room(
    labeling: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", "24k") as disk:
        message = failure([*labeling, str(disk / "labels.jsonl")], capsys)
        assert "labels.jsonl.partial: cannot be written (No space left on device)" in message
        assert sorted(path.name for path in disk.iterdir()) == [".labels.jsonl.lock", "labels.jsonl.partial"]
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        main([*labeling, str(disk / "labels.jsonl")])
        main([*labeling, str(tmp_path / "labels.jsonl")])
        assert (disk / "labels.jsonl").read_bytes() == (tmp_path / "labels.jsonl").read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        message = failure([*labeling, str(disk / "more.csv")], capsys)
    assert "cannot be written (Read-only file system)" in message


def test_two_runs_do_not_write_one_table(
    labeling: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held_elsewhere(tmp_path, ".labels.csv.lock") as pid:
        message = failure([*labeling, str(tmp_path / "labels.csv")], capsys)
    assert f"another process is writing to it (pid {pid} on " in message


def test_a_full_disk_only_affects_the_index(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", "4k") as disk:
        data = Folder(videos, sampling=SAMPLING, batch_size=2, num_workers=0, index_dir=disk / "index")
        data.prepare_data()
        (message,) = (record.getMessage() for record in caplog.records)
        assert "cannot be written" in message
        assert "disk is full" in message or "No space left on device" in message
        assert len(list(data.train_dataloader())) == 1


@pytest.mark.parametrize("command", ["fit", "pack"])
def test_a_folder_in_use_is_refused_with_its_holder(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    pack = ["pack", str(tmp_path / "x"), "--data=Folder", f"--data.root={videos}", "--data.num_workers=0"]
    with held_elsewhere(tmp_path / "x") as pid:
        message = failure(fit(videos, tmp_path) if command == "fit" else pack, capsys)
    assert f"{tmp_path}/x: another process is writing to it (pid {pid} on " in message


def test_a_checkpoint_folder_that_is_lost_in_mid_run_ends_it(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "checkpoints").touch()  # a file, which not even root can write into
    assert "x/checkpoints/best.ckpt: cannot be written" in failure(fit(videos, tmp_path), capsys)


def test_a_training_that_leaves_no_checkpoint_is_an_error(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvr_lightning.training.run_checkpoint.write_output", lambda path, content: None)
    message = failure(fit(videos, tmp_path), capsys)
    assert "x/checkpoints/last.ckpt: training ended without writing this checkpoint" in message
