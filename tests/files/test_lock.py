"""One process at a time writes to a folder, and another one learns which that is."""

import os
import socket
from pathlib import Path

import pytest
from helpers.disks import held_elsewhere

from cvr_lightning.errors import InUseError
from cvr_lightning.files.lock import hold


def test_the_holder_is_named(tmp_path: Path) -> None:
    with (
        held_elsewhere(tmp_path) as pid,
        pytest.raises(InUseError, match=rf"\(pid {pid} on {socket.gethostname()} since \d{{4}}-"),
        hold(tmp_path),
    ):
        pass


def test_a_folder_is_free_once_its_holder_has_ended(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path):
        pass
    with hold(tmp_path):
        assert f"pid {os.getpid()} on" in (tmp_path / ".lock").read_text()


def test_a_process_forked_by_the_holder_does_not_hold_on(tmp_path: Path) -> None:
    with hold(tmp_path):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent closes its end
            os._exit(0)
    with held_elsewhere(tmp_path):
        pass
    os.close(writing)
    os.waitpid(child, 0)


def test_shared_holders_exclude_an_exclusive_one(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path), pytest.raises(InUseError), hold(tmp_path, shared=True):
        pass
