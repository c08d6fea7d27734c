"""Reads a file in the form that a model expects: as it is stored, or prepared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class FileInForm:
    """An opened file that is read in a form.

    Args:
        source: The file as it is.
        form: The form.
        recipe: The recipe of preparation.

    Attributes:
        video: The reader in use.
    """

    def __init__(self, source: CompressedVideoReader, form: Form, recipe: Recipe) -> None:
        self._source = source
        self._form = form
        self._recipe = recipe
        prepare = form == "prepared" and bool(recipe.misfit(source))
        self.video: VideoReader = PreparedVideoReader(source, recipe) if prepare else source

    def read(self, read: Callable[[VideoReader], T]) -> T:
        """Return what a function reads; it is called again with a prepared reader if the file lacks it.

        Raises:
            VideoError: It cannot be read; an :class:`UnsupportedStreamError` only if ``form`` is ``stored``,
                or if the file cannot be prepared either.
        """
        try:
            return read(self.video)
        except UnsupportedStreamError:
            if self._form == "stored" or isinstance(self.video, PreparedVideoReader):
                raise
        self.video = PreparedVideoReader(self._source, self._recipe)
        return read(self.video)


@contextmanager
def open_in_form(
    path: str | os.PathLike[str] | VideoBytes,
    form: Form,
    recipe: Recipe,
    parser: ParserName = "auto",
    index: PacketIndex | None = None,
) -> Iterator[FileInForm]:
    """Open a file to read it in a form.

    Args:
        path: The video, or one in memory.
        form: The form.
        recipe: The recipe of preparation.
        parser: The parser of the file as it is.
        index: The file's packet index, if known.

    Raises:
        VideoError: The file cannot be read.
    """
    with CompressedVideoReader(path, parser=parser, index=index) as source:
        yield FileInForm(source, form, recipe)
