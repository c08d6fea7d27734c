"""Prepares one video: links it if it already has the format, otherwise encodes and checks it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from cvr_lightning.codec import CompressedVideoReader, Segment
from cvr_lightning.codec.errors import UnreadableVideoError, VideoError
from cvr_lightning.codec.prepared.recipe import SUFFIX, Recipe
from cvr_lightning.errors import OutputError
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.tools.prepare.encode import encode
from cvr_lightning.tools.prepare.row import Job, Row, file_size
from cvr_lightning.tools.prepare.source import Source

INTERLACED = "interlaced source: its fields are encoded as one picture"


def prepare_video(job: Job) -> Row:
    """Link or encode a video; errors of the video are recorded in the row.

    Raises:
        OutputError: The destination cannot be written to.
    """
    path = job.source / job.name
    failed = Row(job.name, source_bytes=file_size(path))
    try:
        row = _link_if_fit(job, failed)
        return row if row is not None else _encode(job, failed)
    except VideoError as error:
        return replace(failed, error=str(type(error)(job.name, *error.args[1:])))
    except OutputError:
        raise
    except Exception as error:  # an unexpected error of one file must not stop the others
        reason = getattr(error, "strerror", None) or str(error)
        return replace(failed, error=f"{job.name}: {type(error).__name__}: {reason}")


def _link_if_fit(job: Job, row: Row) -> Row | None:
    """Link a source that already has the format; returns None for others."""
    path = str(job.source / job.name)
    with Source(path) as source:
        if source.codec != "mpeg4":
            return None
        try:
            with CompressedVideoReader(path) as video:
                if job.recipe.misfit(video):
                    return None
            frames = sum(1 for _ in source.frames())
            row = _checked(replace(row, codec=source.codec, frames=frames), path, job.recipe)
        except VideoError:
            return None  # encoding it works, or reports the error
    with atomic_path(job.destination / job.name) as unfinished:
        linked = _link_or_copy(path, unfinished)
    return replace(row, target=job.name, status="linked" if linked else "copied")


def _link_or_copy(source: str, target: Path) -> bool:
    """Hard-link a file, or copy it where linking is not possible; returns whether it was linked."""
    try:
        os.link(os.path.realpath(source), target)
        return True
    except OSError:
        shutil.copyfile(source, target)
        return False


def _encode(job: Job, row: Row) -> Row:
    name = Path(job.name).with_suffix(SUFFIX)
    with (
        Source(str(job.source / job.name)) as source,
        atomic_path(job.destination / name) as unfinished,
    ):
        frames, interlaced = encode(source, unfinished, job.recipe)
        row = replace(row, codec=source.codec, frames=frames, note=INTERLACED if interlaced else "")
        row = _checked(row, str(unfinished), job.recipe)
    return replace(row, target=name.as_posix(), status="encoded")


def _checked(row: Row, path: str, recipe: Recipe) -> Row:
    """Read a prepared file as training does, and complete its row.

    Raises:
        VideoError: Format or frame count are wrong, or the file cannot be parsed.
    """
    with CompressedVideoReader(path) as video:
        info = video.info
        cause = recipe.misfit(video)
        if not cause and info.num_frames != row.frames:
            cause = f"{info.num_frames} frames instead of {row.frames}"
        if cause:
            raise UnreadableVideoError(path, f"what was written failed its check: {cause}", "report it")
        video.read(_first_and_last_gop(info.frame_types))
    return replace(
        row, gop=max(info.gop_lengths), width=info.width, height=info.height, bytes=os.path.getsize(path)
    )


def _first_and_last_gop(frame_types: str) -> list[Segment]:
    """All frames of the first and the last GOP, as segments."""
    last = frame_types.rindex("I")
    ends = (frame_types.find("I", 1) if last else len(frame_types), len(frame_types))
    return [Segment(first, tuple(range(first + 1, end))) for first, end in zip((0, last), ends, strict=True)]
