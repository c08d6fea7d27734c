"""Reads a file in the form that a model expects: as it is stored, or prepared."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, TypeVar

from cvr_lightning.codec.choice import ParserName
from cvr_lightning.codec.container.demux import VideoBytes
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import UnsupportedStreamError
from cvr_lightning.codec.prepared.reader import PreparedVideoReader
from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.codec.reader import CompressedVideoReader

Form = Literal["stored", "auto", "prepared"]
"""``stored``: read as it is, or refused. ``auto``: read as it is, or prepared in memory where it would be
refused. ``prepared``: prepared in memory unless it has that form."""
VideoReader = CompressedVideoReader | PreparedVideoReader
T = TypeVar("T")


def read_in_form(
    path: str | os.PathLike[str] | VideoBytes,
    read: Callable[[VideoReader], T],
    form: Form,
    recipe: Recipe,
    parser: ParserName = "auto",
    index: PacketIndex | None = None,
) -> T:
    """Read a file in a form.

    Args:
        path: The video, or one in memory.
        read: Reads what is wanted; called again with a :class:`PreparedVideoReader` if the file lacks it.
        form: The form.
        recipe: The recipe of preparation.
        parser: The parser of the file as it is.
        index: The file's packet index, if known.

    Returns:
        What ``read`` returned.

    Raises:
        VideoError: The file cannot be read; an :class:`UnsupportedStreamError` only if ``form`` is
            ``stored``, or if the file cannot be prepared either.
    """
    with CompressedVideoReader(path, parser=parser, index=index) as video:
        if form != "prepared" or not recipe.misfit(video):
            try:
                return read(video)
            except UnsupportedStreamError:
                if form == "stored":
                    raise
        return read(PreparedVideoReader(video, recipe))
