"""Lists, tar files and servers of strangers: nothing in them runs code, blocks, or takes endless memory."""

from __future__ import annotations

import http.server
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.errors import RunError
from cvr_lightning.inference.labeling import sources
from cvr_lightning.inference.labeling.sources import Entry, expand


def load(names: list[str]) -> None:
    for entry in expand(names):
        entry.load()


REFERENCE = {
    "version": 1,
    "templates": {"x": "{{ cycler.__init__.__globals__.os.system('touch executed') }}"},
    "refs": {"a.mp4": ["{{x}}"]},
}
"""A file system whose description holds a template; releases of fsspec before 2026 ran it."""


@pytest.mark.parametrize(
    "form", ["reference://x::file://{}", "filecache::file://{}", "file://{}", "ssh://a/{}"]
)
def test_a_line_of_a_list_names_no_other_file_system(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_text(json.dumps(REFERENCE))
    (tmp_path / "list.txt").write_text(form.format(tmp_path / "a.mp4") + "\n")
    with pytest.raises(RunError, match="not a URL that videos are read from"):
        load(["list.txt"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "list.txt"]


@pytest.mark.parametrize("name", ["list.txt", "a.tar"])
def test_a_source_that_is_a_pipe_or_a_device_is_refused(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    (tmp_path / f"device_{name}").symlink_to("/dev/zero")
    for path in (tmp_path / name, tmp_path / f"device_{name}"):
        with pytest.raises(RunError, match="cannot be read"):
            list(expand([str(path)]))


def test_a_list_without_line_breaks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("x" * 100_000)
    with pytest.raises(RunError, match="a line of more than 8192 characters"):
        list(expand([str(tmp_path / "list.txt")]))


def test_the_size_that_a_tar_file_declares_is_bounded(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.mp4")
    member.size = 1 << 50
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(UnreadableVideoError, match="set CVR_MAX_VIDEO_BYTES="):
        load([str(tmp_path / "a.tar")])


class Endless(http.server.BaseHTTPRequestHandler):
    """Declares no size, and sends until its client leaves; below ``/deep/`` are ever deeper folders."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path.startswith("/deep/"):
            self.wfile.write(b'<a href="deeper/">deeper</a>')
            return
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def endless() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()


def test_a_video_that_a_server_sends_without_end_is_refused(
    endless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("CVR_MAX_VIDEO_BYTES", str(8 << 20))
    (entry,) = expand([f"{endless}/a.mp4"])
    with pytest.raises(UnreadableVideoError, match="exceed the limit of 8,388,608"):
        entry.load()
    inside = Entry(f"{endless}/a.tar/a.mp4", f"{endless}/a.tar", 512, 1000)
    with pytest.raises(UnreadableVideoError, match="the server ignores ranges"):
        inside.load()


def test_folders_of_a_server_end_somewhere(endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(RunError, match="it names no videos"):
        list(expand([f"{endless}/deep/"]))


def test_names_in_a_tar_file_are_no_paths(tmp_path: Path) -> None:
    """They only name rows: a member is read from its place in the tar file."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("../../x.mp4", "/etc/x.mp4", "=cmd\n.mp4"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    found = list(expand([str(tmp_path / "a.tar")]))
    assert {entry.location for entry in found} == {str(tmp_path / "a.tar")}
    assert [entry.load().data for entry in found] == [b"", b"", b""]  # type: ignore[union-attr]
    assert sources.is_url(found[0].name) is False
