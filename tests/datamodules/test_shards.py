"""A data set in tar files: the same batches as from its own files, wherever the shards lie."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import webdataset
from helpers.batches import epoch, same
from helpers.factories import data_options
from helpers.range_server import RangeHandler
from helpers.tiny_datasets import Clips, write_ucf101
from helpers.worker_imports import modules_of_a_worker

from cvr_lightning.cli.main import main
from cvr_lightning.codec import reader
from cvr_lightning.datamodules import UCF101, MotionShapes, Shards, video_sampler
from cvr_lightning.datamodules import shard_files as files
from cvr_lightning.datamodules.shard_index import ShardIndex
from cvr_lightning.errors import ShardError
from cvr_lightning.tools.pack.writer import pack

ONE_SCENE = {"train_scenes": 1, "val_scenes": 1, "test_scenes": 1}
SMALL = {"segments": 2, "pframes": 2, "size": (64, 88), "crop": 64, "batch_size": 4}
SHARD_BYTES = 500_000


def pack_shapes(shapes_root: Path, destination: Path) -> ShardIndex:
    shapes = MotionShapes(shapes_root, **data_options(ONE_SCENE, num_workers=0))
    shapes.prepare_data()
    return pack(shapes, destination, SHARD_BYTES)


@pytest.fixture(scope="module")
def packed(shapes_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty MotionShapes in shards of a few videos each."""
    destination = tmp_path_factory.mktemp("packed") / "shards"
    pack_shapes(shapes_root, destination)
    return destination


def index_of(folder: Path) -> ShardIndex:
    return ShardIndex.load(files.ShardFiles(str(folder)))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_video_is_stored_once_where_the_index_says(shapes_root: Path, packed: Path) -> None:
    index = index_of(packed)
    assert set(index.shards) | {"index.json", ".lock"} == {path.name for path in packed.iterdir()}
    for subset in index.subsets.values():
        for name, shard, offset, size in zip(
            subset.names, subset.shards, subset.offsets, subset.sizes, strict=True
        ):
            video = (shapes_root / name).read_bytes()
            assert (packed / index.shards[shard]).read_bytes()[offset : offset + size] == video
    members = []
    for name in index.shards:
        with tarfile.open(packed / name) as tar:
            members += tar.getnames()
    assert len(members) == len(set(members)) == 3 * 30  # the video, its index, what is known of it


def test_a_spawned_worker_of_shards_does_not_import_lightning(packed: Path) -> None:
    assert modules_of_a_worker(Shards(str(packed), **data_options(SMALL, num_workers=0))).isdisjoint(
        {"lightning", "torchmetrics"}
    )


def test_counts_of_missing_videos_are_kept(clips: Clips, tmp_path: Path) -> None:
    data = UCF101(write_ucf101(tmp_path / "ucf", clips), num_workers=0)
    data.prepare_data()
    pack(data, tmp_path / "shards", SHARD_BYTES)
    assert Shards(str(tmp_path / "shards")).missing_counts == {"train": 0, "val": 0, "test": 1}


def test_shards_keep_to_their_size(packed: Path) -> None:
    sizes = [path.stat().st_size for path in packed.glob("*.tar")]
    assert len(sizes) > 6
    assert max(sizes) <= SHARD_BYTES + 2 * tarfile.RECORDSIZE


def test_webdataset_reads_them(shapes_root: Path, packed: Path) -> None:
    urls = sorted(str(path) for path in packed.glob("train-*.tar"))
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert len(samples) == 10
    for sample in samples:
        assert sample["mp4"] == (shapes_root / sample["json"]["name"]).read_bytes()
        assert sample["json"]["class"] == sample["json"]["name"].split("/")[1]
    labels = [sample["json"]["label"] for sample in samples]
    assert sorted(labels) == list(range(10))
    assert labels != sorted(labels)  # who reads from end to end meets the classes mixed


def test_an_interrupted_run_is_resumed(shapes_root: Path, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "shards")
    (tmp_path / "shards" / "index.json").unlink()
    (tmp_path / "shards" / "train-000001.tar").unlink()
    (tmp_path / "shards" / "val-000000.tar").write_bytes(b"as after a power cut")
    (tmp_path / "shards" / ".test-000000.tar.12.part").write_bytes(b"half a shard")
    first = tmp_path / "shards" / "train-000000.tar"
    untouched = first.stat()
    pack_shapes(shapes_root, tmp_path / "shards")
    found, expected = contents(tmp_path / "shards"), contents(packed)
    assert found.pop(".lock").startswith(b"pid ")
    assert expected.pop(".lock").startswith(b"pid ")
    assert found == expected
    # Not the whole status: reading a file changes the time of its last access.
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (untouched.st_ino, untouched.st_mtime_ns)


def test_other_files_in_the_destination_are_named(shapes_root: Path, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="is packed already"):
        pack_shapes(shapes_root, packed)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ShardError, match=r"holds thesis\.tex, which is not a shard"):
        pack_shapes(shapes_root, tmp_path)


def test_a_video_that_changes_while_packing_is_named(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "getsize", lambda path: Path(path).stat().st_size - 1)
    with pytest.raises(ShardError, match=r"\.mp4 has changed while it was packed; run it again"):
        pack_shapes(shapes_root, tmp_path / "shards")
    assert not (tmp_path / "shards" / "index.json").exists()


@pytest.mark.parametrize("subset", ["train", "val", "test"])
def test_batches_are_those_of_the_files(subset: str, shapes_root: Path, packed: Path) -> None:
    from_files = MotionShapes(shapes_root, **data_options(ONE_SCENE, SMALL, num_workers=0))
    from_shards = Shards(str(packed), **data_options(SMALL, num_workers=2))
    for number in (0, 3):
        assert same(epoch(from_files, subset, number), epoch(from_shards, subset, number))
    assert from_shards.names == from_files.names
    assert from_shards.class_names == from_files.class_names
    assert from_shards.protocol == from_files.protocol


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
def test_each_video_is_read_once_over_all_ranks_and_workers(
    world: int, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    steps = []
    for rank in range(world):
        monkeypatch.setattr(video_sampler, "_rank_and_world", lambda rank=rank: (rank, world))
        data = Shards(
            str(packed), **data_options(SMALL | {"batch_size": 1}, modalities=("iframes",), num_workers=2)
        )
        batches = epoch(data, number=5)
        steps.append(len(batches))
        read.update(data.names["train"][video] for batch in batches for video in batch.video.tolist())
    assert set(read.values()) == {1}
    assert set(steps) == {10 // world}  # no rank waits for another at the end of an epoch
    assert len(read) == 10 - 10 % world


def test_videos_are_not_scanned_again(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("scanned")

    expected = epoch(Shards(str(packed), **data_options(SMALL, num_workers=0)))
    monkeypatch.setattr(reader, "build_index", refuse)
    assert same(epoch(Shards(str(packed), **data_options(SMALL, num_workers=0))), expected)


def with_checksum(index: dict[str, Any]) -> str:
    """The text of an index, as whoever writes one by hand would make it."""
    values = {name: value for name, value in index.items() if name not in ("version", "checksum")}
    checksum = hashlib.blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()
    return json.dumps({"version": index["version"], "checksum": checksum, **values})


def test_a_changed_index_of_shards_is_refused(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "shards")
    index = json.loads((packed / "index.json").read_text())
    offsets = index["subsets"]["train"]["offsets"]
    offsets[0], offsets[1] = offsets[1], offsets[0]
    (tmp_path / "shards" / "index.json").write_text(json.dumps(index))
    with pytest.raises(ShardError, match="wrong checksum"):
        Shards(str(tmp_path / "shards"))


def test_indexes_of_another_release_are_not_used(
    packed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(packed, tmp_path / "shards")
    index = json.loads((packed / "index.json").read_text())
    index["index_versions"]["index"] = 0
    (tmp_path / "shards" / "index.json").write_text(with_checksum(index))
    old = Shards(str(tmp_path / "shards"), **data_options(SMALL, num_workers=0))
    assert "was packed by another release: reading takes longer; pack it again" in caplog.text
    assert same(epoch(old), epoch(Shards(str(packed), **data_options(SMALL, num_workers=0))))


def test_mirroring_is_that_of_the_data_set(packed: Path) -> None:
    data = Shards(str(packed), **data_options(flip=True))
    assert not data.mirrorable  # left and right are classes of MotionShapes
    assert not data.augmentation.flip


@pytest.fixture
def url(packed: Path) -> Iterator[str]:
    """The shards behind HTTP."""

    def handler(*arguments: object) -> RangeHandler:
        return RangeHandler(*arguments, directory=str(packed))  # type: ignore[arg-type]

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_shards_behind_a_url_give_the_same_batches_and_send_no_more_than_their_videos(
    shapes_root: Path, packed: Path, url: str
) -> None:
    remote = Shards(url, **data_options(SMALL, num_workers=2))
    RangeHandler.sent.clear()
    local = MotionShapes(shapes_root, **data_options(ONE_SCENE, SMALL, num_workers=0))
    assert same(epoch(remote), epoch(local))
    train = index_of(packed).subsets["train"]
    lead = 2 * tarfile.BLOCKSIZE  # a packet index and the header of the video behind it
    assert sum(RangeHandler.sent) == sum(train.sizes) + lead * len(train.sizes)


def test_temporary_network_errors_are_retried(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(files.time, "sleep", waited.append)
    shards = files.ShardFiles(str(packed))
    answers = iter([ConnectionError("gone"), ConnectionError("gone"), b"back"])

    class Moody:
        def cat_file(self, *_: object, **__: object) -> bytes:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(shards, "_open", lambda: (Moody(), ""))
    assert shards.read("train-000000.tar") == b"back"
    assert waited == [1, 2]
    answers = iter([ConnectionError("gone")] * files.ATTEMPTS)
    with pytest.raises(ShardError, match=r"train-000000\.tar: cannot be read \(ConnectionError\('gone'\)\)"):
        shards.read("train-000000.tar")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cut_shard_stops_the_run_even_where_videos_are_skipped(
    workers: int, packed: Path, tmp_path: Path
) -> None:
    shutil.copytree(packed, tmp_path / "shards")
    cut = tmp_path / "shards" / "val-000000.tar"
    cut.write_bytes(cut.read_bytes()[:2000])
    data = Shards(str(tmp_path / "shards"), **data_options(SMALL, num_workers=workers, on_error="skip"))
    with pytest.raises(ShardError, match=r"^/.*/val-000000\.tar: \d+ bytes instead of \d+ .* truncated"):
        epoch(data, "val")


def test_a_damaged_video_in_a_sound_shard_is_skipped_and_named(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "shards")
    subset, shards = index_of(packed).subsets["val"], index_of(packed).shards
    with (tmp_path / "shards" / shards[subset.shards[0]]).open("r+b") as file:
        file.seek(subset.offsets[0])
        file.write(bytes(subset.sizes[0]))
    data = Shards(str(tmp_path / "shards"), **data_options(SMALL, num_workers=0, on_error="skip"))
    batches = epoch(data, "val")
    assert [video for batch in batches for video in batch.unreadable] == [0]
    assert sum(len(batch.label) for batch in batches) == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "no such file; give the folder or the URL that cvr pack wrote to"),
        ("{", "index.json: damaged"),
        ({"version": 1}, "version 1, but this release reads version 3"),
        ({"shards": []}, "shards of train are not numbers from 0 to -1"),
        ({"class_names": ["a"]}, "labels of train are not numbers from -1 to 0"),
        ({"flip": "no"}, "damaged"),
        ({"shards": ["../../etc/passwd"] * 99}, "a shard lies in another folder"),
        ({"flop": 1}, "damaged"),
    ],
)
def test_what_is_not_a_folder_of_shards_is_refused(
    change: str | dict[str, object] | None, message: str, packed: Path
) -> None:
    memory = fsspec.filesystem("memory")
    index = (packed / "index.json").read_text()
    if change is not None:
        text = change if isinstance(change, str) else with_checksum(json.loads(index) | change)
        memory.pipe("/shards/index.json", text.encode())
    try:
        with pytest.raises(ShardError, match=message):
            Shards("memory://shards")
    finally:
        memory.store.clear()


def test_pack_and_fit_as_a_user_types_them(
    shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = str(tmp_path / "shards")
    scenes = [f"--data.{name}={count}" for name, count in ONE_SCENE.items()]
    main(["pack", shards, "--data=MotionShapes", f"--data.root={shapes_root}", *scenes, "--shard-size=1MB"])
    assert f"{shards}: " in capsys.readouterr().out
    small = ["--data.batch_size=4", "--data.sampling.segments=2", "--data.sampling.pframes=2"]
    small += ["--data.sampling.size=[64,88]", "--data.sampling.crop=64"]
    main(
        [
            "fit",
            "--data=Shards",
            f"--data.root={shards}",
            *small,
            "--data.num_workers=0",
            "--trainer.max_epochs=1",
            "--trainer.enable_progress_bar=false",
            f"--trainer.default_root_dir={tmp_path}",
            "--run=r",
        ]
    )
    assert (tmp_path / "r" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--data=Folder", "--data.root=nowhere"], "set --data.root to"),
        (["x", "--data=MotionShape"], "Did you mean 'MotionShapes'?"),
        (["x", "--data=MotionShapes", "--shard-size=1TB"], "write a number and MB or GB, such as 500MB"),
        (["x", "--data=Shards", "--data.root=nowhere"], "nowhere/index.json: no such file"),
    ],
)
def test_errors_say_what_to_do(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["pack", *arguments])
    assert stop.value.code in (1, 2)
    assert message in capsys.readouterr().err
