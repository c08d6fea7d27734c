"""Errors in a user's own classes: a bug keeps its traceback, a refused value is one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.tiny_runs import write_two_classes

from cvr_lightning.cli.main import main

SOURCE = """
from cvr_lightning.datamodules import Folder

class Gestures(Folder):
    def __init__(self, root: str, joints: int = 0, **options):
        {init}
        super().__init__(root, **options)

    def setup(self, stage=None):
        {setup}
        super().setup(stage)
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_two_classes(root, frames=10)
    return root


def fit_with(
    videos: Path, folder: Path, capsys: pytest.CaptureFixture[str], name: str, *more: str, **bodies: str
) -> tuple[int, str]:
    """Train with a data set of ones own; gives the exit status and what it says."""
    path = folder / f"{name}.py"
    path.write_text(SOURCE.format(**{"init": "pass", "setup": "pass"} | bodies))
    with pytest.raises(SystemExit) as stop:
        main(
            [
                *("fit", "--import", str(path), f"--data={name}.Gestures", f"--data.root={videos}"),
                *(f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=1", *more),
            ]
        )
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize("place", ["init", "setup"])
@pytest.mark.parametrize("error", ["AttributeError", "KeyError", "AssertionError", "TypeError"])
def test_a_bug_in_a_data_set_keeps_its_traceback(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, error: str
) -> None:
    name = f"own_{place}_{error.lower()}"
    status, message = fit_with(videos, tmp_path, capsys, name, **{place: f"raise {error}('in it')"})
    assert status == 1
    assert f'{name}.py", line' in message
    assert f"{error}: " in message
    assert f"this is a bug in {name}, which --import names" in message
    assert "cvr_lightning; please report" not in message


def test_a_value_that_a_data_set_refuses_is_one_message(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = "if joints > 9: raise ValueError(f'joints={joints} must be at most 9')"
    status, message = fit_with(videos, tmp_path, capsys, "own_value", "--data.joints=10", init=check)
    assert (status, message.splitlines()[-1]) == (2, "cvr: joints=10 must be at most 9")
    assert "Traceback" not in message


def test_null_is_refused_where_a_data_set_of_the_user_takes_none(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, message = fit_with(videos, tmp_path, capsys, "own_null", "--data.joints=null")
    assert (status, "--data.joints null: " in message) == (2, True)
