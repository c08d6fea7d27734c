"""Tables of results as text, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cvr_lightning.files.printable import align, csv_text, printable

Format = Literal["table", "csv", "latex", "json"]

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        **{letter: f"\\{letter}" for letter in "{}$&#%_"},
    }
)


@dataclass(frozen=True)
class Table:
    """Results of some runs in the forms that the formats need.

    Attributes:
        text: Rows of cells for a terminal.
        article: Rows of cells for an article, the headings first and a row for each run.
        records: One for each run, numbers with all their digits.
        document: All that was computed.
    """

    text: Sequence[Sequence[str]]
    article: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, Any]]
    document: Any

    def render(self, form: Format) -> str:
        """The table in a format, without a newline at its end."""
        if form == "json":
            return json.dumps(self.document, indent=2)
        if form == "csv":
            return as_csv(self.records)
        if form == "latex":
            return as_latex(self.article)
        return align(self.text)


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Records under a row of their keys; an absent value is an empty cell."""
    names = list(dict.fromkeys(name for record in records for name in record))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        cells = record.items()
        writer.writerow(
            {k: csv_text(printable(cell)) if isinstance(cell, str) else cell for k, cell in cells}
        )
    return file.getvalue().rstrip("\n")


def as_latex(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the headings first, as a ``tabular`` of the package booktabs."""
    heading, *body = (" & ".join(map(latex_escaped, row)) + r" \\" for row in rows)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}",
            r"\toprule",
            heading,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def latex_escaped(text: str) -> str:
    """Escape the characters that are special in LaTeX."""
    return printable(text).translate(_LATEX)
