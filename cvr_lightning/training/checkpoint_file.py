"""Validation of a checkpoint file's declared sizes before torch reads it.

torch trusts the sizes that a checkpoint declares for zip entries, storages, tensor views and buffers. Here
each must fit into the bytes of the file.
"""

from __future__ import annotations

import math
import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from cvr_lightning.files.bounds import PICKLE_BYTES, LimitError

_STORAGES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage"), 1),
}
"""Bytes per element of each storage type."""

_DAMAGE = (
    *(pickle.UnpicklingError, zlib.error, struct.error, ArithmeticError, LookupError, AttributeError),
    *(EOFError, MemoryError, RuntimeError, TypeError, ValueError),
)
"""Errors that the unpickler raises on damaged data."""
MOST_VALUES = 1_000_000
"""Limit for values (numbers, strings, containers), counted at every reference."""


class CheckpointFileError(ValueError):
    """The file is not a torch checkpoint, or declares more bytes than it holds."""


@dataclass(frozen=True)
class _Storage:
    """Placeholder of a tensor's storage."""

    item_bytes: int
    nbytes: int


def check_checkpoint_file(path: str | os.PathLike[str]) -> None:
    """Refuse a checkpoint whose tensors would take more memory than the file.

    Raises:
        CheckpointFileError: It would, or it is not a torch checkpoint.
        LimitError: Its pickle exceeds :data:`cvr_lightning.files.bounds.PICKLE_BYTES`.
        OSError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = _members(file, os.path.getsize(path))
            values = next((name for name in members if name.endswith("/data.pkl")), None)
            if values is None:
                raise CheckpointFileError("it was not written by torch")
            PICKLE_BYTES.check(members[values])
            with file.open(values) as content:
                _check_size(_Declarations(content, values.removesuffix("data.pkl"), members).load())
    except (CheckpointFileError, LimitError, OSError):
        raise
    except zipfile.BadZipFile as error:
        raise CheckpointFileError("it was not written by torch, or is truncated") from error
    except _DAMAGE as error:
        raise CheckpointFileError(f"damaged: {error}") from error


def _members(file: zipfile.ZipFile, size: int) -> dict[str, int]:
    """Size of each member by name. torch stores members uncompressed and without overlap."""
    infos = file.infolist()
    members = {info.filename: info.file_size for info in infos}
    compressed = any(info.compress_type != zipfile.ZIP_STORED for info in infos)
    if compressed or len(members) < len(infos) or sum(members.values()) > size:
        raise CheckpointFileError("its members declare more bytes than the file has")
    return members


def _check_size(values: Any) -> None:
    """Refuse values whose mutual references expand beyond the limit."""
    waiting, count = [values], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        if count + len(waiting) > MOST_VALUES:
            raise CheckpointFileError(f"more than {MOST_VALUES:,} values")


class _Declarations(pickle.Unpickler):
    """Reads the pickle without creating tensors; refuses any other global."""

    def __init__(self, content: Any, folder: str, members: dict[str, int]) -> None:
        super().__init__(content)
        self._folder = folder
        self._members = members
        self._left = 2 * sum(members.values())  # tied weights share a storage

    def find_class(self, module: str, name: str) -> Any:
        """Return the placeholder of a global that torch's weights may name."""
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._check_tensor,
            ("torch._utils", "_rebuild_parameter"): _pass_on,
            ("torch", "Size"): tuple,
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in known:
            raise CheckpointFileError(f"it holds more than weights and plain values: {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Return a storage placeholder, checking that its bytes exist."""
        kind, item_bytes, key, _, count = pid
        stored = self._members.get(f"{self._folder}data/{key}")
        if kind != "storage" or type(item_bytes) is not int or type(count) is not int or stored is None:
            raise CheckpointFileError("a tensor without its data")
        if not 0 <= item_bytes * count <= stored:
            raise CheckpointFileError(f"a tensor of {count} numbers in {stored} bytes")
        return _Storage(item_bytes, stored)

    def _check_tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> None:
        """Refuse a tensor larger than its storage, such as an expanded one."""
        if not isinstance(storage, _Storage) or min(size, default=0) < 0:
            raise CheckpointFileError("a tensor without its data")
        nbytes = storage.item_bytes * math.prod(size)
        self._left -= nbytes
        if nbytes > storage.nbytes or self._left < 0:
            raise CheckpointFileError(f"a tensor of shape {tuple(size)} in {storage.nbytes} bytes")


def _pass_on(data: Any, *_: Any) -> Any:
    return data
