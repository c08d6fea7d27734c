"""Print the lower bounds of pyproject.toml as constraints for pip: ``python .ci/lowest.py > lowest.txt``.

torch is the exception and keeps its pin of constraints.txt: of an older one pip would take the build with the
CUDA libraries.
"""

import sys
from pathlib import Path

import tomllib
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("test", "weights")  # what `make test-lowest` installs besides the package itself


def lowest() -> dict[str, str]:
    """Each declared requirement's lower bound by the distribution's name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for name in EXTRAS for line in project["optional-dependencies"][name]]
    bounds = {}
    for requirement in map(Requirement, project["dependencies"] + extras):
        (bound,) = (part.version for part in requirement.specifier if part.operator == ">=")
        bounds[requirement.name] = bound
    bounds["torch"] = pinned("torch")
    return bounds


def pinned(name: str) -> str:
    """The release of a distribution that constraints.txt names."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    (version,) = (line.partition("==")[2] for line in lines if line.startswith(f"{name}=="))
    return version


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(lowest().items()))
