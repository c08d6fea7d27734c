"""Commands import nothing from the current directory, which may be a folder of downloads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.tiny_runs import TINY_CLIPS

import cvr_lightning
from cvr_lightning.cli.main import main

PACKAGE = Path(cvr_lightning.__file__).resolve().parents[1]
CONSOLE_SCRIPT = "import sys\nfrom cvr_lightning.cli.main import main\nsys.exit(main())\n"
MODULES = (
    *("org", "scipy", "dill", "yaml", "random", "socket", "pickle", "selectors", "difflib", "sitecustomize"),
    *("usercustomize", "sklearn", "pandas", "IPython", "apport_python_hook"),
)
FOLDERS = ("coverage", "triton", "torch", "decord", "av", "fsspec", "pynvml", "tqdm", "callbacks")
WORKERS = """
import multiprocessing, os, sys
import cvr_lightning.cli.import_path as path
path.leave_out_current_directory()
path.leave_it_out_of_children()
if sys.argv[1:] == ["3.10"]:
    del os.environ["PYTHONSAFEPATH"]
    path.sys = type("", (), {"version_info": (3, 10), "path": sys.path})
    path.leave_it_out_of_children()
    del os.environ["PYTHONSAFEPATH"]

def look(_):
    import random
    return random.__file__

if __name__ == "__main__":
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(*pool.map(look, [0]))
"""


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """A folder with files and folders that have the names of modules."""
    folder = tmp_path / "downloads"
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\n")
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["fit", "--help"], "--trainer.max_epochs"),
        (["inspect", "nothing.avi"], "no such file"),
        (["classify", "nothing.avi", "--checkpoint", "nothing.ckpt"], "no such checkpoint"),
    ],
    ids=["fit", "inspect", "classify"],
)
@pytest.mark.parametrize("start", ["module", "script"])
def test_nothing_in_the_current_directory_is_executed(
    start: str, command: list[str], message: str, downloads: Path, tmp_path: Path
) -> None:
    (tmp_path / "cvr").write_text(CONSOLE_SCRIPT)
    begin = ["-m", "cvr_lightning"] if start == "module" else [str(tmp_path / "cvr")]
    done = python(downloads, *begin, *command)
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("release", [[], ["3.10"]], ids=["safe path", "isolated"])
def test_processes_that_a_command_starts_do_not_look_there(
    release: list[str], downloads: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script" / "start.py"
    script.parent.mkdir()
    script.write_text(WORKERS)
    done = python(downloads, str(script), *release)
    assert done.returncode == 0, done.stderr
    assert [Path(line).name for line in done.stdout.split()] == ["random.py"] * 2
    assert str(downloads) not in done.stdout
    assert not (tmp_path / "executed").exists()


def test_a_process_of_a_run_finds_the_package_where_it_is_not_installed(tmp_path: Path) -> None:
    """The current directory stays, and comes last, where it holds the package."""
    done = python(PACKAGE, "-m", "cvr_lightning", "--version")
    assert done.stdout.strip() == cvr_lightning.__version__


DATA_SET = """
from cvr_lightning.datamodules import Folder

class Gestures(Folder):
    '''A data set of the user's own.'''
"""


def test_a_custom_data_set_is_imported_by_name(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gestures_of_a_test.py"
    file.write_text(DATA_SET)
    data = ["--data=gestures_of_a_test.Gestures", f"--data.root={shapes}"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.num_sanity_val_steps=0", "--run=own"]
    where = f"--trainer.default_root_dir={tmp_path}"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["fit", *data, where])  # the file lies in the current directory, which is not enough
    assert "--import" in capsys.readouterr().err
    fit = ["fit", "--trainer.max_epochs=1", *data, *TINY_CLIPS, *quiet, where]
    main([*fit, "--import", str(file)])
    test = ["test", "--ckpt_path=own/checkpoints/last.ckpt", "--trainer.enable_progress_bar=false"]
    with pytest.raises(SystemExit):
        main(test)
    assert "is not one of this package, and a checkpoint imports nothing" in capsys.readouterr().err
    main(["--import=gestures_of_a_test.py", *test, *data])
    assert '"dataset": "Gestures"' in (tmp_path / "own" / "results.json").read_text()
    assert '"segments": 2' in (tmp_path / "own" / "results.json").read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py", "no such file"),
        ("json.py", "'json' is another module's name"),
        ("no-name.py", "not an identifier"),
        ("no_such_module_anywhere", "no such module is installed"),
        ("", "needs a module or a .py file"),
    ],
)
def test_what_cannot_be_imported_is_named(
    name: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("json.py", "no-name.py"):
        (tmp_path / file).touch()
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--import", name])
    assert stop.value.code == 1
    assert message in capsys.readouterr().err
