"""Examples in documents and docstrings run, and the messages that troubleshooting quotes are really given."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest
import torch
from helpers.factories import make_clip

from cvr_lightning.clip import BlockMode
from cvr_lightning.datamodules.errors import DatasetNotFoundError

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*ROOT.glob("cvr_lightning/**/*.py"), *ROOT.glob("datamodules/*.py"), *ROOT.glob("callbacks/*.py")]


def module_name(path: Path) -> str:
    """Import name of a source file."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name if name.startswith("cvr_lightning") else f"cvr_lightning.{name}"


def runs_here(line: str) -> bool:
    """Whether a line is an example that doctest runs."""
    return ">>> " in line and "+SKIP" not in line


def with_doctests() -> list[str]:
    """Modules whose docstrings hold an example that runs."""
    lines = {path: path.read_text().splitlines() for path in SOURCES}
    runs = [path for path, text in lines.items() if any(map(runs_here, text))]
    return sorted({module_name(path) for path in runs})


@pytest.mark.parametrize("module", with_doctests())
def test_docstring_examples(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def example(page: str, file: str) -> dict[str, object]:
    """What the example that is headed by a file's name defines."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if block.startswith(f"# {file}"))
    names: dict[str, object] = {"__name__": Path(file).stem}
    exec(code, names)
    return names


def test_example_of_a_data_set_lists_its_videos(tmp_path: Path) -> None:
    gestures = example("docs/extending.md", "gestures.py")["Gestures"]
    data = gestures(tmp_path, index_dir=None)  # type: ignore[operator]
    with pytest.raises(DatasetNotFoundError, match=r"no train\.csv"):
        data.setup()
    for part in ("train", "val", "test"):
        (tmp_path / f"{part}.csv").write_text(f"{part}/a.mp4,wave\n{part}/b.mp4,swipe\n")
    data.setup()
    assert list(data.videos["val"].names) == ["val/a.mp4", "val/b.mp4"]
    assert list(data.videos["val"].labels) == [1, 0]


def test_example_of_a_callback_logs_the_skipped_fraction() -> None:
    callback = example("docs/extending.md", "skipped.py")["SkippedBlocks"]()  # type: ignore[operator]
    clip = make_clip()
    clip.modes.fill_(BlockMode.INTER.value)
    clip.modes[..., :1, :] = BlockMode.SKIPPED.value
    logged: dict[str, torch.Tensor] = {}

    class Watched:
        log = staticmethod(logged.__setitem__)
        log_every_n_steps = 1

    callback.on_train_batch_start(Watched, Watched, clip, 0)
    assert logged["clips/skipped"].item() == pytest.approx(1 / clip.modes.shape[-2])


def test_examples_have_the_heading_that_the_site_shows_as_code() -> None:
    other = [str(path) for path in SOURCES if re.search(r"^ +Example:$", path.read_text(), re.MULTILINE)]
    assert other == []  # it is "Examples:", also of one


def test_no_heading_is_a_row_of_the_table_above_it() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    assert [str(page) for page in pages if re.search(r"^\|.*\n#", page.read_text(), re.MULTILINE)] == []


def quoted_messages() -> list[str]:
    """The first cell of every row that quotes a message."""
    page = (ROOT / "docs/troubleshooting.md").read_text().partition("## Symptoms without a message")[0]
    return re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)


def spoken() -> str:
    """All texts in the sources, the parts of each message joined."""
    texts = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_troubleshooting_quotes_messages_that_are_given() -> None:
    messages, texts = quoted_messages(), spoken()
    assert len(messages) > 20
    parts = {part.strip() for message in messages for part in message.split("...")}
    assert {part for part in parts if part not in texts} == set()
