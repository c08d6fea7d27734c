"""What docs/api/README.md calls public is there, and documents and examples use nothing else."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "cvr_lightning/models/README.md"]
PAGES += sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "benchmarks")
ROW = re.compile(r"^\| `(cvr_lightning[\w.]*)` \| (.+?) \|", re.MULTILINE)


def public() -> dict[str, set[str]]:
    """The public names of each module, from the table."""
    table = ROW.findall((ROOT / "docs/api/README.md").read_text())
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in table}


def examples() -> Iterator[tuple[Path, str]]:
    """The Python blocks of the pages."""
    for page in PAGES:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            yield page.relative_to(ROOT), block


def test_there_is_a_table_and_there_are_examples() -> None:
    assert len(public()) > 20
    assert len(list(examples())) > 5


@pytest.mark.parametrize("module", public())
def test_every_public_name_can_be_imported(module: str) -> None:
    imported = importlib.import_module(module)
    assert [name for name in public()[module] if not hasattr(imported, name)] == []


@pytest.mark.parametrize("name", ["callbacks", "codec", "datamodules", "models"])
def test_what_a_package_exports_is_public(name: str) -> None:
    module = f"cvr_lightning.{name}"
    assert set(importlib.import_module(module).__all__) == public()[module]


def test_examples_import_public_names_alone() -> None:
    private = []
    for page, code in examples():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cvr_lightning"):
                known = public().get(node.module or "", set())
                private += [f"{page}: {node.module}.{a.name}" for a in node.names if a.name not in known]
    assert private == []


def test_the_reference_documents_every_public_name() -> None:
    reference = "".join(page.read_text() for page in (ROOT / "docs/api").glob("[!R]*.md"))
    missing = {
        f"{module}.{name}"
        for module, names in public().items()
        for name in names - {"errors", "MODALITIES"}
        if not re.search(rf"\b{name}\b", reference) and module != "cvr_lightning.errors"
    }
    assert missing == set()
