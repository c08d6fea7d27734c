"""Docstrings name things as ``:class:`~package.Name``` does; the site shows the name as code."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|meth|func|mod|data|attr):`(~?)([\w.]+)`")


class DocstringRoles(griffe.Extension):
    """Turns the roles of docstrings into code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of whatever was collected."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(_plain, obj.docstring.value)


def _plain(role: re.Match[str]) -> str:
    shortened, name = role.groups()
    label = name.rpartition(".")[2] if shortened else name.removeprefix(".")
    return f"`{label}`"
