"""What strangers chose is shown without control codes; what is secret is neither stored nor shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cvr_lightning.cli.main import main
from cvr_lightning.files.printable import all_without_secrets, count_text, counted, without_secrets


@pytest.mark.parametrize(("count", "shown"), [(253698, "0.25 M"), (5000, "0.01 M"), (1346, "1,346")])
def test_small_models_have_a_size_too(count: int, shown: str) -> None:
    assert count_text(count) == shown


def test_one_thing_is_singular() -> None:
    assert [counted(n, "video") for n in range(3)] == ["0 videos", "1 video", "2 videos"]
    assert [counted(n, "class", "classes") for n in (1, 7)] == ["1 class", "7 classes"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@host/a?token=secret", "https://host/a"),
        ("filecache::s3://key:secret@bucket/a", "filecache::s3://bucket/a"),
        ("no https://host/a?x=secret, nor 'http://u:secret@h'", "no https://host/a nor 'http://h'"),
        ("videos/a?b@c", "videos/a?b@c"),
    ],
)
def test_credentials_are_cut_out_of_addresses(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert all_without_secrets({"a": [text, 1, None]}) == {"a": [shown, 1, None]}


def test_the_password_of_an_address_is_not_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--data=Shards", f"--data.root=file://me:secret@{tmp_path}/none?token=secret"])
    assert "secret" not in capsys.readouterr().err


def changed(run: Path, path: Path, *, name: str | None = None, weight: float | None = None) -> str:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    if name is not None:
        checkpoint["cvr_lightning"]["class_names"] = [f"{name}{i}" for i in range(10)]
    if weight is not None:
        next(iter(checkpoint["state_dict"].values())).view(-1)[0] = weight
    torch.save(checkpoint, path)
    return str(path)


def test_control_codes_in_class_names_do_not_reach_the_terminal(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = changed(run, tmp_path / "x.ckpt", name="\x1b]0;title\x07\x1b[2J\n")
    video = str(next(shapes.glob("test/left/*.mp4")))
    for command in ("classify", "watch"):
        main([command, video, "--checkpoint", checkpoint])
        captured = capsys.readouterr()
        assert "\x1b" not in captured.out.replace("\x1b[K", "")
        assert r"\x1b]0;title\x07" in captured.out


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused(
    weight: float, run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = changed(run, tmp_path / "x.ckpt", weight=weight)
    video = str(next(shapes.glob("test/left/*.mp4")))
    for command in (["classify", video, "--checkpoint", checkpoint], ["test", f"--ckpt_path={checkpoint}"]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 1
        assert "contains NaN or infinity" in capsys.readouterr().err


def test_scores_that_are_not_numbers_are_refused(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = changed(run, tmp_path / "x.ckpt", weight=None)
    stored = torch.load(checkpoint, weights_only=True)
    for name, tensor in stored["state_dict"].items():
        if "head" in name and tensor.ndim == 2:
            tensor.fill_(3e38)
    torch.save(stored, checkpoint)
    with pytest.raises(SystemExit) as stop:
        main(["classify", str(next(shapes.glob("test/left/*.mp4"))), "--checkpoint", checkpoint])
    assert stop.value.code == 1
    assert "scores contain NaN or infinity" in capsys.readouterr().err
