"""Protocols by name, and numbers that contradict them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.datamodules.protocols import PROTOCOLS, Protocol, ProtocolName, choose_protocol


def test_a_name_gives_its_numbers_and_may_be_repeated_by_them():
    assert choose_protocol("10x3", 1, 1) == Protocol(views=10, crops=3)
    assert choose_protocol("10x3", 10, 3) == Protocol(views=10, crops=3)
    assert choose_protocol("coviar", 1, 10) == Protocol(views=1, crops=10, segments=25)


def test_numbers_alone_make_a_protocol_and_nothing_is_one_center_crop():
    assert choose_protocol(None, 7, 5) == Protocol(views=7, crops=5)
    assert choose_protocol(None, 1, 1) == Protocol(views=1, crops=1)


def test_names_of_protocols_agree_with_their_numbers():
    assert list(PROTOCOLS) == list(get_args(ProtocolName))
    for name, protocol in PROTOCOLS.items():
        if name != "coviar":
            assert name == f"{protocol.views}x{protocol.crops}"
            assert protocol.segments is None


@pytest.mark.parametrize(("views", "crops"), [(5, 1), (1, 5), (5, 3)])
def test_contradictions_are_refused(views, crops):
    with pytest.raises(ValueError, match=r"contradicting .*: leave (views|crops) out"):
        choose_protocol("10x3", views, crops)


def test_help_and_documentation_name_every_protocol():
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    for name in PROTOCOLS:
        assert f"``{name}``" in re.sub(r"\s+", " ", str(CompressedVideoDataModule.__doc__))
        assert f"`{name}`" in text
