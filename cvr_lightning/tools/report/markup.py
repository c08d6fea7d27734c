"""HTML and SVG from Python, in which every text is escaped unless it is markup already."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from cvr_lightning.files.printable import printable


class Markup(str):
    """Text that is markup already; only this module makes it out of text."""


def escaped(text: str) -> Markup:
    """Text as markup: names of files and classes may hold anything."""
    if isinstance(text, Markup):
        return text
    lines = (printable(line) for line in text.split("\n"))
    return Markup(html.escape("\n".join(lines)))


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """An element.

    Args:
        name: Its name.
        children: What it holds: markup, or text, which is escaped.
        attributes: Its attributes; a trailing ``_`` falls away (``class_``) and other ``_`` become ``-``.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(str(_number(value)))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{shown}>{''.join(map(escaped, children))}</{name}>")


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def joined(parts: Iterable[str]) -> Markup:
    """Parts behind each other."""
    return Markup("".join(map(escaped, parts)))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], **attributes: str) -> Markup:
    """A table; the first cell of each row names the row."""
    header = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
    )
    content = element("table", element("thead", header), element("tbody", *body), **attributes)
    return element("div", content, class_="wide")


def picture(png: bytes, about: str) -> Markup:
    """A PNG inside the page.

    Args:
        png: The bytes of the file.
        about: What it shows, for those who cannot see it.
    """
    data = base64.b64encode(png).decode("ascii")
    return Markup(f'<img src="data:image/png;base64,{data}" alt="{escaped(str(about))}">')


def missing(what: str) -> Markup:
    """A note that a part of the report is not there, and why."""
    return element("p", f"Missing: {what}", class_="missing")
