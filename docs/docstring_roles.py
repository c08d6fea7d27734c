"""Docstrings name things as ``:class:`~package.Name``` does; the site links the name to its place."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|meth|func|mod|data|attr):`(~?)([\w.]+)`")


class DocstringRoles(griffe.Extension):
    """Turns the roles of docstrings into links; what has no place in the reference is left as code."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite all docstrings of a package that was loaded, when every name can be looked up."""
        _rewrite(pkg)


def _rewrite(obj: griffe.Object) -> None:
    if obj.docstring is not None:
        obj.docstring.value = ROLE.sub(lambda role: _link(role, obj), obj.docstring.value)
    for member in obj.members.values():
        if isinstance(member, griffe.Object):  # an alias shows the docstring of what it stands for
            _rewrite(member)


def _link(role: re.Match[str], obj: griffe.Object) -> str:
    shortened, name = role.groups()
    label = name.rpartition(".")[2] if shortened else name.removeprefix(".")
    # Optional: no error where the name is private, or of another package.
    return f'<autoref identifier="{_path(name, obj)}" optional>`{label}`</autoref>'


def _path(name: str, obj: griffe.Object) -> str:
    """Full path of a name as it is seen from where the docstring stands."""
    if name.startswith("."):
        module = obj.module
        return f"{module.path if module.is_init_module else module.path.rpartition('.')[0]}{name}"
    head, dot, tail = name.partition(".")
    try:
        return f"{obj.resolve(head)}{dot}{tail}"
    except griffe.NameResolutionError:
        return name
