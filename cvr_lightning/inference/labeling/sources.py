"""The videos that a command line names: files, folders, lists, globs, tar files and URLs."""

from __future__ import annotations

import glob
import http
import os
import tarfile
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple

import fsspec

from cvr_lightning.codec import VideoBytes
from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.errors import RunError
from cvr_lightning.files.bounds import VIDEO_BYTES, LimitError
from cvr_lightning.files.left_out import LeftOut
from cvr_lightning.files.printable import without_secrets
from cvr_lightning.files.regular import open_to_read
from cvr_lightning.files.video_files import OTHERS, is_video, visible_files

LISTS = (".txt", ".lst")
"""Suffixes of files that hold one source per line."""
TAR = ".tar"
WHOLE = -1
PROTOCOLS = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "hf")
"""Of fsspec's protocols those that only read; a list may be a stranger's, and others run code or write."""
MOST_CHARACTERS = 8192
"""Longest line of a list."""
_CHUNK = 1 << 20
_DEPTH = 16
"""Folders in one another on a web server, whose pages may refer to ever deeper ones."""


class Entry(NamedTuple):
    """A video.

    Attributes:
        name: Its name in the results.
        location: Path or URL of the file that holds it.
        offset: Byte at which it begins in a tar file, :data:`WHOLE` for a file of its own.
        size: Its bytes in a tar file.
    """

    name: str
    location: str
    offset: int = WHOLE
    size: int = 0

    def load(self) -> str | VideoBytes:
        """What a reader opens: a path, or the bytes.

        Raises:
            UnreadableVideoError: They cannot be fetched, or exceed the limit.
        """
        if self.offset == WHOLE and not is_url(self.location):
            return self.location
        try:
            data = _fetch(self)
        except LimitError as error:
            raise UnreadableVideoError(self.name, str(error), "or leave the video out") from error
        except Exception as error:  # each file system has errors of its own
            cause = f"it cannot be fetched ({without_secrets(repr(error))})"
            raise UnreadableVideoError(self.name, cause, "check the address, or run it again") from error
        return VideoBytes(self.name, data)


def _fetch(entry: Entry) -> bytes:
    VIDEO_BYTES.check(entry.size)
    if not is_url(entry.location):
        with open_to_read(Path(entry.location)) as file:
            file.seek(entry.offset)
            return file.read(entry.size)
    filesystem, path = _open(entry.location)
    span = None if entry.offset == WHOLE else (entry.offset, entry.offset + entry.size)
    if _is_http(entry.location):
        return _fetch_http(filesystem, path, span)
    data: bytes
    if span is None:
        VIDEO_BYTES.check(filesystem.size(path) or 0)
        data = filesystem.cat_file(path)
    else:
        data = filesystem.cat_file(path, start=span[0], end=span[1])  # s3fs has another order
    return data


def _fetch_http(filesystem: Any, path: str, span: tuple[int, int] | None) -> bytes:
    """Read a body in parts, since a server may declare any size, or none, and send without end."""
    headers = {} if span is None else {"headers": {"Range": f"bytes={span[0]}-{span[1] - 1}"}}
    data = bytearray()
    with filesystem.open(path, "rb", block_size=0, **headers) as body:
        if span is not None and body.r.status != http.HTTPStatus.PARTIAL_CONTENT:
            raise OSError("the server ignores ranges; download the tar file")
        while part := body.read(_CHUNK):
            data += part
            VIDEO_BYTES.check(len(data))
    return bytes(data)


def expand(sources: Iterable[str], left_out: LeftOut | None = None) -> Iterator[Entry]:
    """Yield the videos that sources name, each source's in sorted order; lists are read line by line.

    Args:
        sources: Files, folders, lists, globs, tar files or URLs.
        left_out: Records other files in folders.

    Raises:
        RunError: A source names no video, or its place cannot be listed.
    """
    left_out = LeftOut() if left_out is None else left_out
    for source in sources:
        empty = True
        for entry in _expand(source, left_out):
            empty = False
            yield entry
        if empty:
            raise RunError(f"{without_secrets(source)}: it names no videos; give files or folders of videos")


def is_url(source: str) -> bool:
    """Whether a source is a URL."""
    return "://" in source


def _expand(source: str, left_out: LeftOut) -> Iterator[Entry]:
    if is_url(source):
        yield from _expand_url(source)
    elif os.path.isdir(source):
        for name in sorted(_videos_in(source, left_out)):
            yield from _expand_file(os.path.join(source, name))
    elif source.lower().endswith(LISTS):
        yield from _expand_list(source)
    elif glob.has_magic(source) and not os.path.exists(source):
        for path in sorted(glob.glob(source, recursive=True)):
            if not ("**" in source and os.path.isdir(path)):  # its files are matched too
                yield from _expand(path, left_out)
    else:
        yield from _expand_file(source)


def _videos_in(folder: str, left_out: LeftOut) -> Iterator[str]:
    for name in visible_files(Path(folder), LeftOut()):
        if _holds_video(name):
            yield name
        else:
            left_out.add(folder, OTHERS, name)


def _expand_list(path: str) -> Iterator[Entry]:
    try:
        with TextIOWrapper(open_to_read(Path(path)), "utf-8", "surrogateescape") as lines:
            while line := lines.readline(MOST_CHARACTERS):
                if len(line) == MOST_CHARACTERS:
                    raise RunError(
                        f"{path}: a line of more than {MOST_CHARACTERS} characters; fetch it again"
                    )
                name = line.rstrip("\r\n")
                if name:
                    yield from _expand_url(name) if is_url(name) else _expand_file(name)
    except OSError as error:
        raise RunError(f"{path}: the list cannot be read ({error.strerror}); check the path") from error


def _expand_file(path: str) -> Iterator[Entry]:
    if not _is_tar(path):
        yield Entry(path, path)
        return
    try:
        with open_to_read(Path(path)) as file:
            yield from _members(path, path, file)
    except OSError as error:
        raise RunError(f"{path}: it cannot be read ({error.strerror}); check the path") from error


def _expand_url(url: str) -> Iterator[Entry]:
    name = without_secrets(url)
    try:
        filesystem, path = _open(url)
        if glob.has_magic(path) and "?" not in path:
            found = sorted(filesystem.glob(path))
        elif url.endswith("/") or not _holds_video(name):
            depth = {"maxdepth": _DEPTH} if _is_http(url) else {}
            found = sorted(place for place in filesystem.find(path, **depth) if _holds_video(place))
        elif _is_tar(name):
            with filesystem.open(path, "rb") as file:
                yield from _members(name, url, file)
            return
        else:
            yield Entry(name, url)
            return
        for place in found:
            full = filesystem.unstrip_protocol(place)
            yield from _expand_url(full) if _is_tar(full) else (Entry(full, full),)
    except RunError:
        raise
    except Exception as error:  # each file system has errors of its own
        missing = isinstance(error, ImportError)
        hint = "; pip install 'cvr-lightning[urls]'" if missing else "; check the address"
        raise RunError(f"{name}: it cannot be listed ({without_secrets(repr(error))}){hint}") from error


def _members(name: str, location: str, file: IO[bytes] | Any) -> Iterator[Entry]:
    """The videos in a tar file, in its order; nothing is extracted."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isreg() and is_video(member.name):
                    yield Entry(f"{name}/{member.name}", location, member.offset_data, member.size)
    except tarfile.TarError as error:
        raise RunError(f"{name}: not a readable tar file ({error}); fetch it again") from error


def _open(url: str) -> tuple[Any, str]:
    protocol = url.partition("://")[0]
    if protocol.lower() not in PROTOCOLS or "::" in url:
        raise RunError(
            f"{without_secrets(url)}: not a URL that videos are read from; give one of "
            f"{', '.join(f'{known}://' for known in PROTOCOLS)}, or a path"
        )
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, path


def _is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _is_tar(name: str) -> bool:
    return name.lower().endswith(TAR)


def _holds_video(name: str) -> bool:
    return is_video(name) or _is_tar(name)
