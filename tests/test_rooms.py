"""Imports between the folders of the package flow one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = [
    "errors",
    "files",
    "codec",
    "clip",
    "datamodules",
    "models",
    "energy",
    "evaluation",
    "training",
    "inference",
    "plots",
    "callbacks",
    "tools",
    "cli",
]
"""Each folder or module of the package, after all that it may import; nothing else lies in the root."""
FREE = {"__init__", "__main__", "configs"}
"""The package's face, the program, and a folder of YAML files."""


def sources(room: str) -> list[Path]:
    """Source files of a folder or module, through the links to the folders at the root."""
    module = ROOT / "cvr_lightning" / f"{room}.py"
    return [module] if module.exists() else sorted((ROOT / "cvr_lightning" / room).resolve().rglob("*.py"))


def imported_rooms(path: Path) -> Iterator[str]:
    """Folders and modules of the package that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, *rest = name.split(".")
            if package == "cvr_lightning" and rest and rest[0] in ORDER:
                yield rest[0]


@pytest.mark.parametrize("room", ORDER)
def test_a_folder_imports_only_those_before_it(room: str) -> None:
    allowed = ORDER[: ORDER.index(room) + 1]
    found = {str(path.relative_to(ROOT)): set(imported_rooms(path)) - set(allowed) for path in sources(room)}
    assert {path: rooms for path, rooms in found.items() if rooms} == {}


def test_nothing_else_lies_in_the_root_of_the_package() -> None:
    lying = {
        path.stem for path in (ROOT / "cvr_lightning").iterdir() if path.suffix == ".py" or path.is_dir()
    }
    assert lying - {"__pycache__"} == {*ORDER, *FREE}


CODEC_ORDER = ["container", "bitstream", "fields", "mpeg4", "h264", "ffmpeg", "prepared"]
"""The folders of the codec; its modules put them together."""


@pytest.mark.parametrize("room", CODEC_ORDER)
def test_a_folder_of_the_codec_imports_only_those_before_it(room: str) -> None:
    later = CODEC_ORDER[CODEC_ORDER.index(room) + 1 :]
    lines = {
        f"{path.relative_to(ROOT)}: {line}"
        for path in (ROOT / "cvr_lightning" / "codec" / room).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.lstrip().startswith(("from ", "import "))
    }
    assert {line for line in lines for name in later if f"cvr_lightning.codec.{name}" in line} == set()


def test_every_folder_of_the_codec_has_its_place() -> None:
    folders = (path for path in (ROOT / "cvr_lightning" / "codec").iterdir() if path.is_dir())
    assert {path.name for path in folders} - {"__pycache__"} == set(CODEC_ORDER)


def test_what_folders_take_of_the_package_itself_are_its_version_and_pictures() -> None:
    """Its lazy names would hide an import against the order."""
    taken = {
        alias.name
        for room in ORDER
        for path in sources(room)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "cvr_lightning"
        for alias in node.names
    }
    assert taken - {*ORDER, *FREE} == {
        "__version__",
        "plot_arrays",
        "plot_clip",
        "plot_reader",
        "plot_subset",
    }
