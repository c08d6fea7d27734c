"""Mutated files of every format that is read back: read or refused, nothing else."""

from __future__ import annotations

import pytest
from helpers import formats_fuzz

INPUTS = 150


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, formats_fuzz.Format]:
    return formats_fuzz.formats(tmp_path_factory.mktemp("formats"))


@pytest.mark.parametrize(
    "kind",
    [
        "record",
        "database",
        "shards",
        "classes",
        "list",
        "csv",
        "json",
        "scores",
        "results",
        "journal",
        "recipe",
        "labels",
        "checkpoint",
        "config",
        "weights",
    ],
)
def test_a_mutated_file_is_read_or_refused(forms: dict[str, formats_fuzz.Format], kind: str) -> None:
    verdicts = formats_fuzz.run(INPUTS, 0, kind, forms[kind])
    assert sum(verdicts.values()) == INPUTS
    assert kind == "journal" or verdicts["refused"]  # a journal's torn lines are passed over
