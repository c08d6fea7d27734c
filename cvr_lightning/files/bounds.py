"""Limits on the memory that a file can make a process allocate, and readers that enforce them.

Each limit can be raised with the environment variable named in its message.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cvr_lightning.errors import RunError
from cvr_lightning.files.regular import open_to_read


class LimitError(ValueError):
    """A file contains, or would expand to, more than a limit allows."""


@dataclass(frozen=True)
class Limit:
    """An upper bound.

    Attributes:
        variable: Environment variable that overrides it.
        default: The bound if the variable is not set.
        unit: Unit of the bound, for messages.
    """

    variable: str
    default: int
    unit: str

    @property
    def value(self) -> int:
        """The effective bound.

        Raises:
            RunError: The variable is not a positive whole number.
        """
        text = os.environ.get(self.variable, str(self.default))
        if not text.isascii() or not text.isdigit() or not int(text[:18]):
            raise RunError(f"{self.variable}={text!r}: must be a positive whole number of {self.unit}")
        return int(text[:18])

    def check(self, amount: int) -> None:
        """Refuse a larger amount.

        Raises:
            LimitError: The amount is larger; the message says how to raise the limit.
        """
        if amount > self.value:
            raise LimitError(
                f"{amount:,} {self.unit} exceed the limit of {self.value:,}; "
                f"set {self.variable}={amount} to allow them"
            )


CLASSES = Limit("CVR_MAX_CLASSES", 100_000, "classes")
CLIP_PIXELS = Limit("CVR_MAX_CLIP_PIXELS", 1 << 27, "pixels of a clip's P-frames")
"""Requested by a checkpoint; 64 windows of 12 P-frames of 340x256 take half of it."""
PREPARED_PIXELS = Limit("CVR_MAX_PREPARED_PIXELS", 1 << 31, "pixels of a clip's prepared frames")
"""Requested by a checkpoint; 16 GOPs of 250 frames of 340x256 take a sixth of it."""
VIDEO_BYTES = Limit("CVR_MAX_VIDEO_BYTES", 4 << 30, "bytes of a video in a shard")
TEXT_BYTES = Limit("CVR_MAX_TEXT_BYTES", 128 << 20, "bytes of text")
"""Of a list of videos, a table of results, the index of shards: half a million videos take some 80 MB."""
INDEX_BYTES = Limit("CVR_MAX_INDEX_BYTES", 32 << 20, "bytes of a packet index")
"""Uncompressed, of one video; at 20 bytes per frame, 32 MB hold 7 hours at 60 fps."""
ARRAY_BYTES = Limit("CVR_MAX_ARRAY_BYTES", 256 << 20, "bytes of arrays")
"""For an npz file that expands to more than its size."""
PICKLE_BYTES = Limit("CVR_MAX_PICKLE_BYTES", 8 << 20, "bytes of a checkpoint's values")
"""For everything in a checkpoint except the weights."""


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a text file.

    Raises:
        ValueError: The file is too long, or not text.
        OSError: It cannot be read.
    """
    with open_to_read(path) as file:
        TEXT_BYTES.check(os.fstat(file.fileno()).st_size)
        return file.read(TEXT_BYTES.value).decode(encoding)


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: The text is too long, nested too deeply, or not JSON.
    """
    TEXT_BYTES.check(len(text))
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def decompress(data: bytes, limit: Limit) -> bytes:
    """The inverse of ``zlib.compress``.

    Raises:
        ValueError: The data are damaged, or expand beyond the limit.
    """
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(data, limit.value)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if inflate.unconsumed_tail:
        limit.check(limit.value + 1)
    if not inflate.eof or inflate.unused_data:
        raise ValueError("truncated or followed by other data")
    return content


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an npz file without unpickling.

    Raises:
        ValueError: The arrays are damaged, or expand beyond the limit.
        OSError: It cannot be read.
    """
    try:
        with open_to_read(path) as opened, zipfile.ZipFile(opened) as file:
            members = file.infolist()
            declared = sum(member.file_size for member in members)
            if declared > os.fstat(opened.fileno()).st_size:  # np.savez does not compress
                ARRAY_BYTES.check(declared)
            return {member.filename.removesuffix(".npy"): _read_array(file, member) for member in members}
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError) as error:
        raise ValueError(str(error) or "the file is truncated") from error


def _read_array(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Read an array in npy format whose header matches its number of bytes."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} uses a compression that numpy does not write")
    with file.open(member) as content:
        if np.lib.format.read_magic(content) != (1, 0):
            raise ValueError(f"{member.filename} is of another version of the npy format")
        try:
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(content)
        except Exception as error:  # evaluating the header's literal can raise many errors
            raise ValueError(f"{member.filename} has a damaged header") from error
        left = member.file_size - content.tell()
        if dtype.hasobject or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left:
            raise ValueError(f"{member.filename}: {left} bytes where its header says {shape} of {dtype}")
        array: npt.NDArray[Any] = np.ndarray(shape, dtype, content.read(), order="F" if is_fortran else "C")
        return np.array(array)
