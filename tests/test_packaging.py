"""What a user installs is what lies in the tree: the wheel, the links, the declared requirements."""

import ast
import configparser
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import cvr_lightning

tomllib = pytest.importorskip("tomllib", reason="tomllib is in the standard library from Python 3.11 on")

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("callbacks", "configs", "datamodules")  # folders at the root that become cvr_lightning.NAME
BUNDLED_SUFFIXES = (".py", ".yaml", ".npz", ".html")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def tree_files() -> list[Path]:
    """Files that git does not ignore, relative to the root; links are listed, not followed."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the tree is unknown")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted({Path(name) for name in listed.split("\0") if name and os.path.lexists(ROOT / name)})


@pytest.fixture(scope="module")
def wheel(tree_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built, without a network, from a copy of the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in tree_files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", build, str(out)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


def requirements(*lists: list[str]) -> list[Requirement]:
    """Parsed requirements that apply here; an extra that names this project's own extras is not one."""
    parsed = [Requirement(line) for lines in lists for line in lines]
    own = canonicalize_name(PYPROJECT["project"]["name"])
    return [
        r for r in parsed if canonicalize_name(r.name) != own and (r.marker is None or r.marker.evaluate())
    ]


def pins() -> dict[str, Version]:
    """The releases of constraints.txt by canonical name."""
    found: dict[str, Version] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, version = line.partition("==")
        assert version, f"not pinned: {line!r}"
        assert canonicalize_name(name) not in found, f"pinned twice: {name}"
        found[canonicalize_name(name)] = Version(version)
    return found


def test_wheel_holds_each_file_of_the_tree_once(wheel: Path, tree_files: list[Path]) -> None:
    names = [n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n]
    expected = {"cvr_lightning/py.typed"}
    for name in tree_files:
        if name.suffix in BUNDLED_SUFFIXES and name.parts[0] in (*MAPPED, "cvr_lightning"):
            prefix = "cvr_lightning/" if name.parts[0] in MAPPED else ""
            expected.add(prefix + name.as_posix())
    assert set(names) == expected
    assert len(names) == len(set(names))


def test_wheel_imports_away_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    modules = ", ".join(f"cvr_lightning.{name}" for name in MAPPED)
    script = f"import {modules} as last; print(last.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == site / "cvr_lightning" / MAPPED[-1] / "__init__.py"


def test_wheel_carries_console_script_and_license(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [n for n in archive.namelist() if n.endswith(".dist-info/entry_points.txt")]
    parser = configparser.ConfigParser()
    parser.read_string(archive.read(entry_points).decode())
    assert dict(parser["console_scripts"]) == {"cvr": "cvr_lightning.cli.main:main"}
    (license,) = [n for n in archive.namelist() if n.endswith("/LICENSE")]
    assert b"END OF TERMS AND CONDITIONS" in archive.read(license)


def test_console_script_names_a_function() -> None:
    module, _, attribute = PYPROJECT["project"]["scripts"]["cvr"].partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))


def test_every_package_folder_is_listed(tree_files: list[Path]) -> None:
    folders = [name.parent for name in tree_files if name.name == "__init__.py"]
    found = {".".join(("cvr_lightning", *f.parts) if f.parts[0] in MAPPED else f.parts) for f in folders}
    found = {name for name in found if name.partition(".")[0] == "cvr_lightning"}
    assert found == set(PYPROJECT["tool"]["setuptools"]["packages"])


def test_no_module_lies_in_a_folder_that_is_not_a_package(tree_files: list[Path]) -> None:
    modules = [n for n in tree_files if n.suffix == ".py" and n.parts[0] in (*MAPPED, "cvr_lightning")]
    assert [str(n) for n in modules if n.parent / "__init__.py" not in tree_files] == []


def test_links_are_relative_and_stay_inside(tree_files: list[Path]) -> None:
    links = [name for name in tree_files if (ROOT / name).is_symlink()]
    assert {Path("cvr_lightning", name) for name in MAPPED} <= set(links)
    for name in links:
        assert not Path(os.readlink(ROOT / name)).is_absolute(), name
        assert (ROOT / name).resolve(strict=True).is_relative_to(ROOT), name


@pytest.mark.parametrize("name", MAPPED)
def test_root_folder_and_subpackage_are_one_module(name: str) -> None:
    module = importlib.import_module(f"cvr_lightning.{name}")
    assert module.__file__ is not None
    assert Path(module.__file__).samefile(ROOT / name / "__init__.py")
    assert name not in sys.modules, f"something imported the bare {name!r}"


@pytest.mark.parametrize(
    ("code", "banned"),
    [
        ("import datamodules\n", True),
        ("from datamodules.base import Thing\n", True),
        ("from callbacks import Thing\n", True),
        ("import configs\n", True),
        ("import cvr_lightning.datamodules\n", False),
        ("from cvr_lightning.callbacks import Thing\n", False),
    ],
)
def test_linter_bans_the_bare_import(code: str, banned: bool) -> None:
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    command += ["--stdin-filename", str(ROOT / "snippet.py"), "-"]
    done = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert ("TID251" in done.stdout) == banned, done.stdout


def test_constraints_satisfy_every_declared_range() -> None:
    pinned = pins()
    build = PYPROJECT["build-system"]["requires"]
    extras = [EXTRAS[name] for name in ("test", "docs", "dev", "export")]
    declared = requirements(PYPROJECT["project"]["dependencies"], *extras, build)
    assert {r.name for r in declared if canonicalize_name(r.name) not in pinned} == set()
    assert {str(r) for r in declared if not r.specifier.contains(pinned[canonicalize_name(r.name)])} == set()


def test_the_lock_has_the_pins_of_the_constraints_with_hashes_and_leaves_torch_to_the_machine() -> None:
    entries = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    locked = {}
    for entry in entries:
        pin, *hashes = entry.split()
        assert hashes, pin
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", item) for item in hashes), pin
        name, _, version = pin.partition("==")
        locked[canonicalize_name(name)] = version
    assert "torch" not in locked
    assert locked.items() <= {name: str(version) for name, version in pins().items()}.items()
    needed = requirements(PYPROJECT["project"]["dependencies"], EXTRAS["dev"], EXTRAS["docs"], EXTRAS["test"])
    assert {canonicalize_name(item.name) for item in needed} - {"torch"} <= set(locked)


def test_constraints_name_no_local_build() -> None:
    assert [name for name, version in pins().items() if version.local] == []


def test_every_declared_requirement_has_a_lower_bound() -> None:
    declared = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
    assert [r.name for r in declared if not any(s.operator == ">=" for s in r.specifier)] == []


def test_version_stands_in_one_place() -> None:
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cvr_lightning.__version__"}
    citation = (ROOT / "CITATION.cff").read_text()
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {cvr_lightning.__version__}\n" in citation
    assert f"\n## [{cvr_lightning.__version__}]" in changes


def test_lowest_constraints_are_the_bounds_of_pyproject() -> None:
    script = [sys.executable, str(ROOT / ".ci" / "lowest.py")]
    done = subprocess.run(script, check=True, capture_output=True, text=True)
    lowest = dict(line.split("==") for line in done.stdout.splitlines())
    assert lowest.pop("torch") == str(pins()["torch"])
    bounds = {
        requirement.name: part.version
        for requirement in requirements(
            PYPROJECT["project"]["dependencies"], EXTRAS["test"], EXTRAS["weights"]
        )
        for part in requirement.specifier
        if part.operator == ">=" and requirement.name != "torch"
    }
    assert lowest == bounds


def test_every_imported_distribution_is_declared(tree_files: list[Path]) -> None:
    imported: dict[str, str] = {}
    for name in tree_files:
        if name.suffix != ".py" or name.parts[0] not in (*MAPPED, "cvr_lightning"):
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            imported.update({module.partition(".")[0]: str(name) for module in modules})
    for_users = [EXTRAS[name] for name in EXTRAS.keys() - {"test", "dev"}]
    declared = requirements(PYPROJECT["project"]["dependencies"], *for_users)
    allowed = {canonicalize_name(r.name) for r in declared}
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        module: where
        for module, where in imported.items()
        if module not in sys.stdlib_module_names
        and module != "cvr_lightning"
        and not {canonicalize_name(d) for d in providers.get(module, [module])} & allowed
    }
    assert undeclared == {}
