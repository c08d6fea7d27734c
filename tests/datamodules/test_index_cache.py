"""Packet indexes on the disk: made once, never wrong, never in the way."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.batches import epoch, same
from helpers.encoders import encode
from helpers.factories import data_options
from helpers.mortal_jobs import record_all_but
from lightning.pytorch.trainer.states import TrainerFn

from cvr_lightning.codec import CompressedVideoReader, PacketIndex
from cvr_lightning.codec.container import index as packet_index
from cvr_lightning.codec.errors import (
    BitstreamError,
    UnreadableVideoError,
    UnsupportedStreamError,
    VideoError,
)
from cvr_lightning.datamodules import Folder, MotionShapes, index_cache
from cvr_lightning.datamodules.errors import DatasetError
from cvr_lightning.datamodules.index_cache import IndexCache
from cvr_lightning.datamodules.index_store import DATABASE, TAG

NAMES = [f"{letter}/{number}.avi" for letter in "ab" for number in range(3)]
SMALL = {"segments": 2, "pframes": 2, "size": (64, 88), "crop": 64, "batch_size": 4}
ONE_SCENE = {"train_scenes": 1, "val_scenes": 1, "test_scenes": 1}


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> list[Path]:
    """Two videos of different length."""
    folder = tmp_path_factory.mktemp("clips")
    return [encode(folder / f"{frames}.avi", (64, 48), frames) for frames in (14, 20)]


@pytest.fixture
def root(clips, tmp_path) -> Path:
    """Six videos in two folders."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(clips[0], tmp_path / name)
    return tmp_path


@pytest.fixture
def indexed(monkeypatch) -> list[str]:
    """The files that have been indexed since the last look."""
    paths: list[str] = []
    real = index_cache.build_index
    monkeypatch.setattr(
        index_cache, "build_index", lambda demuxer: paths.append(demuxer.path) or real(demuxer)
    )
    return paths


def cache_of(root: Path) -> IndexCache:
    return IndexCache(root, root / ".cvr_index")


def updated(root: Path, names: list[str] = NAMES) -> IndexCache:
    cache = cache_of(root)
    cache.update(names)
    return cache


def same_index(left: PacketIndex | None, right: PacketIndex) -> bool:
    return left is not None and left.to_bytes() == right.to_bytes()


def true_index(path: Path) -> PacketIndex:
    with CompressedVideoReader(path) as video:
        return video.index


def test_a_cached_index_equals_that_of_the_reader(root):
    updated(root)
    cache = cache_of(root)
    assert len(cache) == 6
    assert all(same_index(cache.find(name), true_index(root / name)) for name in NAMES)
    assert cache.find("a/none.avi") is None
    assert cache_of(root / "a").find("0.avi") is None


def test_an_index_may_begin_with_any_byte(root, monkeypatch):
    for first in range(256):
        monkeypatch.setattr(packet_index, "_checksum", lambda data, first=first: bytes([first]) * 16)
        record = index_cache.make_record((root, NAMES[0]))
        assert same_index(index_cache._unpack(NAMES[0], record.data), true_index(root / NAMES[0]))


def test_only_what_is_new_or_changed_is_indexed(root, clips, indexed):
    updated(root, NAMES[:4] + NAMES[:2])
    assert indexed == [str(root / name) for name in NAMES[:4]]
    indexed.clear()
    shutil.copy(clips[1], root / NAMES[1])  # another size
    os.utime(root / NAMES[3], ns=(0, 1234567891))  # another time
    cache = updated(root)
    assert indexed == [str(root / NAMES[i]) for i in (1, 3, 4, 5)]
    assert same_index(cache.find(NAMES[1]), true_index(clips[1]))
    indexed.clear()
    before = {path: path.stat().st_mtime_ns for path in (root / ".cvr_index").iterdir()}
    updated(root)
    assert not indexed
    assert {path: path.stat().st_mtime_ns for path in (root / ".cvr_index").iterdir()} == before


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_is_read_as_it_is_now_and_named_once(root, clips, caplog, change):
    cache = updated(root)
    for name in NAMES[:2]:
        if change == "size":
            shutil.copy(clips[1], root / name)
        else:
            status = (root / name).stat()
            os.utime(root / name, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert cache.find(name) is None
    assert len(caplog.records) == 1
    assert f"{root / NAMES[0]} has changed" in caplog.text
    assert cache.find(NAMES[2]) is not None


def test_a_deleted_file_is_left_to_the_reader(root, indexed):
    (root / NAMES[0]).unlink()
    cache = updated(root)
    assert len(indexed) == len(cache) == 5
    (root / NAMES[1]).unlink()
    assert cache.find(NAMES[1]) is None
    updated(root)
    assert len(indexed) == 5


def in_a_process(work: Callable[[], None]) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def test_a_killed_build_resumes(root, monkeypatch, indexed):
    monkeypatch.setattr(index_cache, "CHUNK", 2)
    build = index_cache.build_index

    def die_at_the_sixth(demuxer):
        if demuxer.path.endswith("b/2.avi"):
            os._exit(9)
        return build(demuxer)

    with monkeypatch.context() as patch:
        patch.setattr(index_cache, "build_index", die_at_the_sixth)
        killed = in_a_process(lambda: updated(root))
        killed.join()
    assert killed.exitcode == 9
    cache = updated(root)
    assert indexed == [str(root / name) for name in NAMES[4:]]
    assert all(same_index(cache.find(name), true_index(root / name)) for name in NAMES)
    assert sorted(path.name for path in (root / ".cvr_index").iterdir()) == [TAG, DATABASE, "lock"]


def test_a_writer_killed_in_a_transaction_loses_nothing_else(root, indexed):
    store = updated(root)._store

    def die_while_writing() -> None:
        database = store._connect("rw")
        database.execute("PRAGMA cache_size=1")  # what is not committed reaches the disk
        database.execute("DELETE FROM videos")
        database.execute("INSERT INTO videos (data) SELECT zeroblob(99999) FROM sqlite_master, sqlite_master")
        os._exit(9)

    killed = in_a_process(die_while_writing)
    killed.join()
    assert killed.exitcode == 9
    assert (root / ".cvr_index" / f"{DATABASE}-journal").stat().st_size
    indexed.clear()
    cache = updated(root)
    assert not indexed
    assert all(same_index(cache.find(name), true_index(root / name)) for name in NAMES)


@pytest.mark.parametrize("crash", [signal.SIGSEGV, signal.SIGABRT])
def test_a_decoder_crash_only_affects_its_video(root, monkeypatch, caplog, indexed, crash):
    with monkeypatch.context() as patch:
        patch.setattr(index_cache, "make_record", partial(record_all_but, NAMES[2], crash))
        cache_of(root).update(NAMES, workers=2)
    assert f"{root / NAMES[2]}: FFmpeg crashed: its worker process was killed by {crash.name}" in caplog.text
    cache = updated(root)
    assert not indexed  # the crash is remembered, and not met again
    with pytest.raises(UnreadableVideoError, match=f"{NAMES[2]}: FFmpeg crashed"):
        cache.find(NAMES[2])
    for name in NAMES[:2] + NAMES[3:]:
        assert same_index(cache.find(name), true_index(root / name))


def test_a_worker_killed_from_outside_does_not_mark_its_video(root, monkeypatch, caplog, indexed):
    with monkeypatch.context() as patch:
        patch.setattr(index_cache, "make_record", partial(record_all_but, NAMES[2], signal.SIGKILL))
        cache_of(root).update(NAMES, workers=2)
    assert "probably out of memory" in caplog.text
    updated(root)
    assert indexed == [str(root / NAMES[2])]


def test_processes_that_start_at_once_index_each_video_once(root, monkeypatch):
    barrier = multiprocessing.get_context("fork").Barrier(3)
    real = index_cache.build_index

    def note(demuxer):
        with (root / "indexed.txt").open("a") as file:
            file.write(f"{demuxer.path}\n")
        return real(demuxer)

    def work() -> None:
        cache = cache_of(root)
        barrier.wait()
        cache.update(NAMES)
        assert all(same_index(cache.find(name), true_index(root / name)) for name in NAMES)

    monkeypatch.setattr(index_cache, "build_index", note)
    processes = [in_a_process(work) for _ in range(3)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert sorted((root / "indexed.txt").read_text().split()) == sorted(str(root / name) for name in NAMES)


def test_several_processes_give_the_same_as_one(root, clips):
    names = [f"{number}.avi" for number in range(70)]
    for number, name in enumerate(names):
        os.link(clips[number % 2], root / name)
    (root / names[3]).unlink()
    (root / names[3]).write_bytes(b"no video")
    state = torch.get_rng_state()
    cache = IndexCache(root, root / "many")
    cache.update(names, workers=2)
    assert torch.equal(torch.get_rng_state(), state)
    for name in names[:3] + names[4:]:
        assert same_index(cache.find(name), true_index(root / name))
    with pytest.raises(UnreadableVideoError):
        cache.find(names[3])


def cut(path: Path, size: int = -1) -> None:
    path.write_bytes(path.read_bytes()[:size])


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "harm",
    [
        lambda database: cut(database, 30),
        lambda database: cut(database, 4096),
        lambda database: flip(database, 1),
        lambda database: database.write_bytes(b"{}"),
        lambda database: execute(database, "DROP INDEX by_name"),
        lambda database: execute(database, "PRAGMA application_id=1"),
        lambda database: execute(
            database, "DROP TABLE videos", "CREATE VIEW videos AS SELECT 1 name, 1 size, 1 mtime"
        ),
    ],
)
def test_a_damaged_cache_is_rebuilt_with_a_warning(root, indexed, caplog, harm):
    updated(root)
    harm(root / ".cvr_index" / DATABASE)
    indexed.clear()
    cache = updated(root)
    assert len(indexed) == 6
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"the index in {root / '.cvr_index'} " in caplog.text
    assert "rebuilding it" in caplog.text
    assert all(same_index(cache.find(name), true_index(root / name)) for name in NAMES)


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        "data = zeroblob(length(data))",
        "data = (SELECT data FROM videos WHERE name = CAST('b/1.avi' AS BLOB))",
        "data = 'text'",
        "data = NULL",
        "data = zeroblob(100000000)",
        "digest = zeroblob(16)",
    ],
)
def test_a_damaged_record_is_not_used(root, caplog, clips, change):
    shutil.copy(clips[1], root / "b/1.avi")
    cache = updated(root)
    execute(
        root / ".cvr_index" / DATABASE, f"UPDATE videos SET {change} WHERE name = CAST('a/0.avi' AS BLOB)"
    )
    assert cache.find(NAMES[0]) is None
    assert f"{root / '.cvr_index'} is damaged (the record of {NAMES[0]} has a wrong checksum)" in caplog.text
    assert cache.find(NAMES[1]) is not None
    caplog.clear()
    writable = IndexCache(root, root / ".cvr_index", writable=True)
    for _ in range(2):
        assert same_index(writable.find(NAMES[0]), true_index(root / NAMES[0]))
    assert [record.getMessage() for record in caplog.records] == [
        f"the index in {root / '.cvr_index'}: the record of {NAMES[0]} has a wrong checksum: rebuilding it"
    ]
    caplog.clear()
    assert same_index(cache_of(root).find(NAMES[0]), true_index(root / NAMES[0]))
    assert not caplog.records


def test_a_record_under_another_name_or_state_is_not_used(root, clips, caplog):
    shutil.copy(clips[1], root / "b/1.avi")
    cache = updated(root)
    database = root / ".cvr_index" / DATABASE
    execute(
        database,
        "DELETE FROM videos WHERE name = CAST('a/0.avi' AS BLOB)",
        f"UPDATE videos SET name = CAST('a/0.avi' AS BLOB), size = {clips[0].stat().st_size}, "
        f"mtime = {(root / NAMES[0]).stat().st_mtime_ns} WHERE name = CAST('b/1.avi' AS BLOB)",
    )
    assert cache.find(NAMES[0]) is None
    assert "has a wrong checksum" in caplog.text


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["records-1999", "table", "lock", "notes.txt", DATABASE, TAG])
def test_a_folder_of_other_files_is_refused_and_left_unchanged(root, tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("accounts")
    (folder / name).write_text("years of work\n")
    before = snapshot(folder)
    with pytest.raises(DatasetError, match=f"holds {name} but no .* name a new or an empty folder"):
        IndexCache(root, folder).update(NAMES)
    assert snapshot(folder) == before


def test_a_database_of_another_program_is_refused_and_left_unchanged(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mail")
    execute(folder / DATABASE, "CREATE TABLE mail (text)", "INSERT INTO mail VALUES ('dear')")
    before = snapshot(folder)
    with pytest.raises(DatasetError, match="name a new or an empty folder"):
        IndexCache(root, folder).update(NAMES)
    assert snapshot(folder) == before


def test_it_is_read_where_it_cannot_be_written(root):
    updated(root)
    folder = root / ".cvr_index"
    before = snapshot(folder)
    try:
        folder.chmod(0o555)
        for path in folder.iterdir():
            path.chmod(0o444)
        cache = updated(root)
        assert all(same_index(cache.find(name), true_index(root / name)) for name in NAMES)
    finally:
        folder.chmod(0o755)
    assert snapshot(folder) == before


def test_a_cache_of_another_version_is_rebuilt_with_a_warning(root, indexed, caplog, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(index_cache, "INDEX_VERSION", index_cache.INDEX_VERSION + 1)
        updated(root)
    indexed.clear()
    updated(root)
    assert len(indexed) == 6
    assert len(caplog.records) == 1
    assert "was written by other versions" in caplog.text


def test_a_folder_that_cannot_be_written_is_named_with_a_solution(root, caplog):
    cache = IndexCache(root, root / NAMES[0] / "index")  # below a file
    cache.update(NAMES)
    assert cache.find(NAMES[0]) is None
    assert len(caplog.records) == 1
    assert f"{root / NAMES[0] / 'index'} cannot be written (Not a directory)" in caplog.text
    assert "--data.index_dir" in caplog.text


def test_an_unreadable_file_is_remembered_with_its_cause(root, clips, indexed, caplog, monkeypatch):
    (root / NAMES[2]).write_bytes(b"this is no video\n" * 100)
    (root / NAMES[4]).write_bytes(b"")
    updated(root)
    assert f"2 of 6 videos cannot be read, {NAMES[2]} first" in caplog.text
    with pytest.raises(UnreadableVideoError) as expected:
        CompressedVideoReader(root / NAMES[2])
    cache = cache_of(root)
    with pytest.raises(UnreadableVideoError) as remembered:
        cache.find(NAMES[2])
    assert str(remembered.value) == str(expected.value)
    with pytest.raises(UnreadableVideoError, match=r"b/1\.avi: the file is empty"):
        cache.find(NAMES[4])
    indexed.clear()
    updated(root)
    assert not indexed
    shutil.copy(clips[0], root / NAMES[2])
    assert same_index(updated(root).find(NAMES[2]), true_index(clips[0]))


@pytest.mark.parametrize("kind", [VideoError, UnreadableVideoError, UnsupportedStreamError, BitstreamError])
def test_every_kind_of_error_is_restored(root, monkeypatch, kind):
    def fail(demuxer):
        raise kind(demuxer.path, "cause", "remedy", 1, 2, 3, "alternative")

    monkeypatch.setattr(index_cache, "build_index", fail)
    cache = updated(root)
    with pytest.raises(VideoError) as remembered:
        cache.find(NAMES[0])
    assert type(remembered.value) is kind
    assert remembered.value.args == (str(root / NAMES[0]), "cause", "remedy", 1, 2, 3, "alternative")


def test_a_disk_error_is_not_recorded_as_an_error_of_the_file(root, monkeypatch):
    def fail(demuxer):
        raise demuxer.error("FFmpeg cannot open it") from PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(index_cache, "build_index", fail)
        assert len(updated(root)) == 0
    assert len(updated(root)) == 6


def test_a_pickle_contains_only_the_arguments(root):
    cache = updated(root)
    data = pickle.dumps(cache)
    assert len(data) < 500
    assert same_index(pickle.loads(data).find(NAMES[0]), true_index(root / NAMES[0]))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_clips_are_the_same_with_it_and_without(shapes_root, tmp_path, monkeypatch, num_workers):
    options = {**ONE_SCENE, **SMALL, "num_workers": num_workers}
    without = MotionShapes(shapes_root, **data_options(options, index_dir=None))
    expected = epoch(without)
    cached = MotionShapes(shapes_root, **data_options(options, index_dir=tmp_path / "index"))
    cached.prepare_data()
    assert (tmp_path / "index" / DATABASE).is_file()

    def refuse(demuxer):
        raise AssertionError(f"{demuxer.path} was indexed again")

    monkeypatch.setattr("cvr_lightning.codec.reader.build_index", refuse)
    assert same(epoch(cached), expected)


def test_it_is_beside_the_data_by_default(root, tmp_path_factory):
    options = {**SMALL, "num_workers": 0, "val_fraction": 0.3, "test_fraction": 0}
    for index_dir, folder in ((None, None), (elsewhere := tmp_path_factory.mktemp("index"), elsewhere)):
        data = Folder(root, **data_options(options, index_dir=index_dir))
        data.prepare_data()
        assert not (root / ".cvr_index").exists()
        assert folder is None or (folder / DATABASE).is_file()
    Folder(root, **data_options(options)).prepare_data()
    assert (root / ".cvr_index" / DATABASE).is_file()
    assert Folder(root, **data_options(options)).class_names == ["a", "b"]


def test_unreadable_files_are_skipped_and_named_without_reading_them_again(root, indexed, monkeypatch):
    (root / NAMES[0]).write_bytes(b"no video")
    data = Folder(
        root, **data_options(SMALL, num_workers=0, val_fraction=0.3, test_fraction=0, on_error="skip")
    )
    data.prepare_data()

    def refuse(*_: object):
        raise AssertionError("a file was opened for its index")

    monkeypatch.setattr("cvr_lightning.codec.reader.build_index", refuse)
    batches = epoch(data) + epoch(data, "val")
    errors = [error for batch in batches for error in batch.unreadable.values()]
    assert [error.file for error in errors] == [str(root / NAMES[0])]
    assert sum(len(batch) for batch in batches) == 5


def test_only_the_subsets_that_are_read_are_indexed(shapes_root, tmp_path, indexed):
    for function, subsets in (
        (TrainerFn.TESTING, {"test"}),
        (TrainerFn.VALIDATING, {"val"}),
        (TrainerFn.FITTING, {"train", "val"}),
    ):
        data = MotionShapes(
            shapes_root, **data_options(ONE_SCENE, SMALL, num_workers=0, index_dir=tmp_path / function)
        )
        data.trainer = SimpleNamespace(state=SimpleNamespace(fn=function))
        data.prepare_data()
        assert {Path(path).relative_to(shapes_root).parts[0] for path in indexed} == subsets
        indexed.clear()
