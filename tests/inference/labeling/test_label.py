"""``cvr label``: a table of labels for many videos."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from helpers.encoders import encode
from helpers.labels import NAMES, SAMPLING, read, run
from helpers.mortal_jobs import read_all_but_3

from cvr_lightning.codec import ClipArrays, CompressedVideoReader, Segment, spread_segments
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.datamodules.clips import read_spans
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.inference.labeling import blocks as module
from cvr_lightning.inference.labeling.blocks import How, blocks, read_ahead
from cvr_lightning.inference.labeling.sources import Entry

ROOT = Path(__file__).resolve().parents[3]


def test_every_video_gets_a_row_in_order(
    videos: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "labels.csv"
    assert run(videos, "--checkpoint", checkpoint, "--output", output, "--top", "2", "--batch-size", "5") == 1
    rows = read(output)
    assert [row["file"] for row in rows] == sorted(str(path) for path in videos.rglob("*.*"))
    classifier = Classifier.from_checkpoint(checkpoint)
    for row in rows:
        if row["file"].endswith("broken.mp4"):
            assert "FFmpeg cannot open it" in row["error"]
            assert not row["label"]
        else:
            (best, second) = classifier(row["file"], top=2)
            assert (row["label"], row["label_2"]) == (best.label, second.label)
            assert float(row["probability"]) == pytest.approx(best.probability, abs=1e-5)
            assert row["prepared"] == str(row["file"].endswith(".mpg"))
    out, err = capsys.readouterr()
    assert "11 of 12 videos labeled" in out
    assert "prepared in memory (MPEG-4 Part 2, 340x256, an I-frame every 12 frames): 3 videos\n" in err
    assert not output.with_name("labels.csv.partial").exists()


def test_scores_and_embeddings_as_json_lines(videos: Path, checkpoint: str, tmp_path: Path) -> None:
    output = tmp_path / "labels.jsonl"
    options = ("--scores", "--embeddings", "--checkpoint", checkpoint, "--output", output)
    assert run(videos / "0.avi", videos / "1.avi", *options) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert sum(row["scores"]) == pytest.approx(1, abs=1e-5)
        assert max(row["scores"]) == row["probability"]
        assert len(row["embedding"]) == Classifier.from_checkpoint(checkpoint).recognizer.num_features


def test_parquet(videos: Path, checkpoint: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "labels.parquet"
    assert run(videos, "--checkpoint", checkpoint, "--output", output, "--scores") == 1
    table = parquet.read_table(output)
    assert table.num_rows == 12
    assert json.loads(table.schema.metadata[b"class_names"]) == NAMES
    assert [len(scores) for scores in table["scores"].to_pylist() if scores] == [3] * 11


def test_jobs_divide_the_videos(videos: Path, checkpoint: str, tmp_path: Path) -> None:
    options = (videos, "--checkpoint", checkpoint, "--output", tmp_path / "labels.csv")
    run(*options)
    for job in ("1/2", "2/2"):
        run(*options, "--job", job)
    parts = [read(tmp_path / f"labels-0000{number}-of-00002.csv") for number in (1, 2)]
    files = [row["file"] for row in read(tmp_path / "labels.csv")]
    assert [row["file"] for row in parts[0]] == files[::2]
    assert [row["file"] for row in parts[1]] == files[1::2]


def test_a_run_that_is_killed_is_resumed_to_the_same_table(
    videos: Path, checkpoint: str, tmp_path: Path
) -> None:
    many = tmp_path / "list.txt"
    many.write_text("".join(f"{videos}/{number % 8}.avi\n" for number in range(240)))
    options = ["--checkpoint", checkpoint, "--batch-size", "4", "--workers", "1"]
    run(many, *options[:4], "--output", tmp_path / "undisturbed.csv")
    output = tmp_path / "killed.csv"
    partial_ = output.with_name("killed.csv.partial")
    command = [sys.executable, "-m", "cvr_lightning", "label", str(many), *options, "--output", str(output)]
    before = 0
    for _ in range(3):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and (not partial_.exists() or partial_.stat().st_size <= before + 2000):
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it was killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before = partial_.stat().st_size
    with partial_.open("ab") as file:
        file.write(b'{"block": 59, "names": "to')  # as a kill within a write leaves it
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert output.read_bytes() == (tmp_path / "undisturbed.csv").read_bytes()
    assert len(read(output)) == 240


def test_a_list_that_was_shortened_is_not_continued(
    videos: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{videos}/{number}.avi\n" for number in range(4)]
    (tmp_path / "list.txt").write_text("".join(names))
    options = ("--checkpoint", checkpoint, "--output", tmp_path / "a.csv", "--batch-size", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cvr_lightning.inference.labeling.run.write_table", lambda *_: os.close(-1))
        assert run(tmp_path / "list.txt", *options) == 1  # all batches are done, and no table is written
    (tmp_path / "list.txt").write_text("".join(names[:2]))
    assert run(tmp_path / "list.txt", *options) == 1
    assert "the sources name fewer videos than when it was begun" in capsys.readouterr().err
    assert not (tmp_path / "a.csv").exists()


def test_names_are_no_formulas_in_a_table_of_text(
    videos: Path, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("=1+1.avi", "-b.avi", "@c.avi", "\nd.avi"):
        (tmp_path / name).write_bytes((videos / "0.avi").read_bytes())
    (tmp_path / "list.txt").write_text("=1+1.avi\n-b.avi\n@c.avi\n")
    options = ("--checkpoint", checkpoint, "--output")
    assert run("list.txt", *options, "a.csv") == 0
    assert [row["file"] for row in read(tmp_path / "a.csv")] == ["./=1+1.avi", "./-b.avi", "./@c.avi"]
    assert run("list.txt", *options, "a.jsonl") == 0
    assert [json.loads(line)["file"] for line in Path("a.jsonl").read_text().splitlines()] == [
        "=1+1.avi",
        "-b.avi",
        "@c.avi",
    ]
    assert run("\nd.avi", *options, "b.csv") == 0
    assert [row["file"] for row in read(tmp_path / "b.csv")] == ["\nd.avi"]


def test_parts_are_not_shorter_than_a_frame(videos: Path, checkpoint: str, tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    assert (
        run(videos / "0.avi", "--checkpoint", checkpoint, "--output", output, "--every", "0.000000001") == 1
    )
    (row,) = read(output)
    assert "parts of 1e-09 s are shorter than its frames of 0.04 s" in row["error"]


def test_an_output_that_exists_is_kept(videos: Path, checkpoint: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("mine")
    assert run(videos, "--checkpoint", checkpoint, "--output", tmp_path / "labels.csv") == 1
    assert (tmp_path / "labels.csv").read_text() == "mine"
    assert run(videos, "--checkpoint", checkpoint, "--output", tmp_path / "labels.xls") == 1


def test_a_process_that_dies_costs_the_video_that_killed_it(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_block", read_all_but_3)
    entries = [Entry(name, name) for name in (str(videos / f"{number}.avi") for number in range(6))]
    errors = {
        reading.entry.name[-5:]: reading.error
        for part in read_ahead(blocks(entries, 3), How(SAMPLING), workers=2)
        for reading in part.readings
    }
    assert [name for name, error in errors.items() if error] == ["3.avi"]
    assert len(errors) == 6
    assert "killed by SIGSEGV" in errors["3.avi"]


def test_parts_of_a_long_video_are_labeled_over_time(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for codec, suffix in (("mpeg4", ".avi"), ("mpeg2video", ".mkv")):
        encode(tmp_path / f"a{suffix}", (96, 64), 485, codec, gop=30)  # 19.4 s: more parts than one message
        output = tmp_path / f"a{suffix}.csv"
        options = ("--checkpoint", checkpoint, "--output", output, "--every", "1s")
        assert run(tmp_path / f"a{suffix}", *options) == 0
        rows = read(output)
        assert [float(row["start"]) for row in rows] == list(range(20))
        assert float(rows[-1]["end"]) == 19.4
        assert {row["prepared"] for row in rows} == {str(codec == "mpeg2video")}
        assert len({row["probability"] for row in rows}) > 10
        assert "20 of 20 parts of videos labeled" in capsys.readouterr().out


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video"])
def test_parts_that_share_frames_are_as_if_read_alone(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "a.mkv", (96, 64), 60, codec, gop=25)
    together = list(read_spans(path, SAMPLING, 0.3))
    monkeypatch.setattr("cvr_lightning.datamodules.clips._MOST_PARTS", 1)
    alone = list(read_spans(path, SAMPLING, 0.3))
    assert len(together) == len(alone) == 8
    for one, other in zip(together, alone, strict=True):
        assert (one.start, one.end) == (other.start, other.end)
        assert isinstance(one.arrays, ClipArrays)
        for item in fields(one.arrays):
            assert np.array_equal(getattr(one.arrays, item.name), getattr(other.arrays, item.name))


def test_a_damaged_part_does_not_cost_its_neighbors(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", (96, 64), 75, gop=25)
    data = bytearray(path.read_bytes())
    with CompressedVideoReader(path) as video:
        packets = video.index.frame_packets[26:50]
        places, sizes = video.index.data_positions[packets], video.index.sizes[packets]
    for place, size in zip(places.tolist(), sizes.tolist(), strict=True):
        data[place + 8 : place + size] = b"\xff" * (size - 8)
    path.write_bytes(data)
    one, damaged, other = (part.arrays for part in read_spans(path, SAMPLING, 1.0))
    assert isinstance(damaged, VideoError)
    assert isinstance(one, ClipArrays)
    assert isinstance(other, ClipArrays)


def test_a_part_is_read_as_the_video_of_its_frames(tmp_path: Path) -> None:
    """Where parts begin at I-frames, they are videos of their own."""
    path = encode(tmp_path / "a.avi", (96, 64), 75, gop=25)
    parts = list(read_spans(path, SAMPLING, 1.0))
    assert [(part.start, part.end) for part in parts] == [(0, 1), (1, 2), (2, 3)]
    with CompressedVideoReader(path) as video:
        for number, part in enumerate(parts):
            windows = spread_segments("I" + 24 * "P", 2, 2)
            moved = [Segment(25 * number, tuple(25 * number + f for f in w.pframes)) for w in windows]
            expected = video.read(moved, 2, SAMPLING.size, coefficients=SAMPLING.coefficients)
            assert isinstance(part.arrays, ClipArrays)
            assert (part.arrays.motion == expected.motion).all()
            assert (part.arrays.iframes == expected.iframes).all()
