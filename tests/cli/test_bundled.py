"""Configurations by name: what a user of the wheel, who has no clone, gives to --config."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvr_lightning.cli.bundled import FOLDER, config_path, names, with_bundled_configs
from cvr_lightning.errors import RunError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "configs/demo.yaml"])
def test_a_bundled_configuration_is_found_and_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert config_path(name) == str(FOLDER / "demo.yaml")
    assert f"--config {name}: bundled with the package, {FOLDER}" in capsys.readouterr().err


def test_a_file_of_the_user_takes_precedence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("configs").mkdir()
    Path("configs/demo.yaml").write_text("seed_everything: 1\n")
    assert config_path("configs/demo.yaml") == "configs/demo.yaml"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ['{"run": "a"}', "https://example.org/a.yaml"])
def test_text_and_urls_are_left_to_the_parser(text: str) -> None:
    assert config_path(text) == text


def test_an_unknown_configuration_is_refused_with_a_list() -> None:
    with pytest.raises(RunError, match=r"--config dmeo: no such file.*callbacks/energy.*demo"):
        config_path("dmeo")


def test_names_are_those_of_the_tree() -> None:
    assert {"demo", "folder", "ucf101", "callbacks/energy"} <= set(names())


def test_every_form_of_the_option_is_resolved() -> None:
    given = ["fit", "--config", "demo", "--config=ddp", "-c", "callbacks/energy", "--run", "demo"]
    paths = [str(FOLDER / f"{name}.yaml") for name in ("demo", "ddp", "callbacks/energy")]
    expected = ["fit", "--config", paths[0], f"--config={paths[1]}", "-c", paths[2], "--run", "demo"]
    assert with_bundled_configs(given) == expected
