"""A folder given to ``cvr classify``."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvr_lightning.cli.classify import _files
from cvr_lightning.errors import RunError


def test_a_folder_gives_its_videos_and_other_files_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    for name in ("2.AVI", "a/1.mp4", "a/notes.txt", "._2.AVI"):
        (tmp_path / name).touch()
    assert _files(str(tmp_path)) == [str(tmp_path / "2.AVI"), str(tmp_path / "a" / "1.mp4")]
    error = capsys.readouterr().err
    assert "left out of the root: 1 hidden (._2.AVI); of a: 1 without a video suffix (notes.txt)" in error
    assert _files("video.avi") == ["video.avi"]


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="it contains no videos"):
        _files(str(tmp_path))
