"""The notebooks of the documentation: executed without an error, with code that still runs."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    """The Python of a cell, without the commands of the notebook."""
    lines = "".join(cell["source"]).splitlines()
    return "\n".join(line for line in lines if not line.startswith("%"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_was_executed_without_an_error(notebook: Path) -> None:
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert {output["output_type"] for cell in cells for output in cell["outputs"]} <= {
        "stream",
        "display_data",
        "execute_result",
    }


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_names_that_are_imported_exist(notebook: Path) -> None:
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cvr_lightning"):
                module = importlib.import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_code_runs_with_little_data(notebook: Path, tmp_path: Path) -> None:
    code = "\n".join(map(source, code_cells(notebook)))
    for full, little in (
        ("train_scenes=30, val_scenes=3", "train_scenes=2, val_scenes=1"),
        ("epochs=8", "epochs=1"),
    ):
        code = code.replace(full, little)
    assert "train_scenes=30" not in code
    assert "epochs=8" not in code
    environment = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_notebook_is_in_the_documentation() -> None:
    index = (FOLDER.parent / "index.md").read_text(encoding="utf-8")
    assert NOTEBOOKS
    assert [path.stem for path in NOTEBOOKS if f"tutorials/{path.stem}" not in index] == []
