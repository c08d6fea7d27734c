"""What names videos: tar files, folders, globs, lists, web servers and buckets."""

from __future__ import annotations

import http.server
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from helpers.labels import read, run

from cvr_lightning.errors import RunError
from cvr_lightning.inference.labeling.sources import expand


@pytest.fixture
def archive(videos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("0.avi", "more/0.mpg"):
            tar.add(videos / name, arcname=name)
        tar.add(videos / "broken.mp4", arcname="notes.json")
    return path


def test_the_videos_in_a_tar_file(archive: Path, videos: Path, checkpoint: str, tmp_path: Path) -> None:
    assert run(archive, "--checkpoint", checkpoint, "--output", tmp_path / "a.csv") == 0
    rows = read(tmp_path / "a.csv")
    assert [row["file"] for row in rows] == [f"{archive}/0.avi", f"{archive}/more/0.mpg"]
    run(videos / "0.avi", videos / "more/0.mpg", "--checkpoint", checkpoint, "--output", tmp_path / "b.csv")
    assert [row["probability"] for row in rows] == [row["probability"] for row in read(tmp_path / "b.csv")]


def test_folders_globs_and_lists_name_videos(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{videos}/1.avi\r\n\n{videos}/0.avi\n")
    assert [entry.name for entry in expand([str(tmp_path / "list.txt")])] == [
        f"{videos}/1.avi",
        f"{videos}/0.avi",
    ]
    assert [entry.name for entry in expand([f"{videos}/**/*.mpg"])] == [
        f"{videos}/more/{number}.mpg" for number in range(3)
    ]
    everything = [str(path) for path in sorted(videos.rglob("*.*"))]
    for source in (f"{videos}", f"{videos}/*", f"{videos}/**"):
        assert sorted(entry.name for entry in expand([source])) == sorted(everything)
    with pytest.raises(RunError, match="names no videos"):
        list(expand([f"{tmp_path}/*.avi"]))
    with pytest.raises(RunError, match="the list cannot be read"):
        list(expand([f"{tmp_path}/nowhere.txt"]))


def test_what_a_folder_holds_beside_videos_is_told_once(
    videos: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.avi", "notes.doc", "more/README"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((videos / "0.avi").read_bytes())
    output = tmp_path / "labels.csv"
    assert run(tmp_path, "--checkpoint", checkpoint, "--output", output) == 0
    assert [row["file"] for row in read(output)] == [str(tmp_path / "a.avi")]
    out, err = capsys.readouterr()
    assert err.count(f"left out of {tmp_path}: 2 without a video suffix (more/README)") == 1
    assert "1 of 1 video labeled" in out


@pytest.fixture
def server(videos: Path, archive: Path) -> Iterator[str]:
    """A plain web server of the videos, without ranges."""
    (videos / "shard.tar").write_bytes(archive.read_bytes())
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(videos))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
    (videos / "shard.tar").unlink()


def test_videos_behind_a_web_server(server: str, videos: Path, checkpoint: str, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    sources = (f"{server}/0.avi?token=secret", f"{server}/nowhere.avi", f"{server}/more/")
    assert run(*sources, "--checkpoint", checkpoint, "--output", tmp_path / "a.csv") == 1
    rows = read(tmp_path / "a.csv")
    assert [row["file"] for row in rows] == [
        f"{server}/0.avi",
        f"{server}/nowhere.avi",
        *(f"{server}/more/{number}.mpg" for number in range(3)),
    ]
    assert "it cannot be fetched" in rows[1]["error"]
    assert "secret" not in (tmp_path / "a.csv").read_text()
    run(videos / "0.avi", "--checkpoint", checkpoint, "--output", tmp_path / "b.csv")
    assert rows[0]["probability"] == read(tmp_path / "b.csv")[0]["probability"]


def test_videos_in_a_bucket(
    videos: Path, archive: Path, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs, moto = pytest.importorskip("s3fs"), pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(name, value)
    store = s3fs.S3FileSystem()
    store.mkdir("films")
    store.put([str(videos / "0.avi"), str(videos / "1.avi")], ["films/in/0.avi", "films/in/1.avi"])
    store.put(str(archive), "films/shard.tar")
    sources = ("s3://films/in/", "s3://films/in/*.avi", "s3://films/shard.tar")
    assert run(*sources, "--checkpoint", checkpoint, "--output", tmp_path / "a.csv") == 0
    server.stop()
    rows = read(tmp_path / "a.csv")
    two = ["s3://films/in/0.avi", "s3://films/in/1.avi"]
    assert [row["file"] for row in rows] == [
        *two,
        *two,
        "s3://films/shard.tar/0.avi",
        "s3://films/shard.tar/more/0.mpg",
    ]
    assert rows[0]["probability"] == rows[2]["probability"] == rows[4]["probability"]
