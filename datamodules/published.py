"""Published data sets, defined by annotation files."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from lightning_utilities.core.rank_zero import rank_zero_info, rank_zero_only

from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.datamodules.annotations import Listed
from cvr_lightning.datamodules.base import CompressedVideoDataModule
from cvr_lightning.datamodules.clips import read_clip
from cvr_lightning.datamodules.dataset import VideoList
from cvr_lightning.datamodules.errors import DatasetNotFoundError
from cvr_lightning.datamodules.files import VideoFiles
from cvr_lightning.datamodules.sampling import check_choice
from cvr_lightning.files.atomic import atomic_path

log = logging.getLogger(__name__)

OnMissing = Literal["warn", "raise"]


class PublishedDataModule(CompressedVideoDataModule):
    """Finds the videos that annotation files list, and reports missing ones.

    Subclasses read their annotations in :meth:`listed_videos`. Videos are found by name, in any container,
    since preparation may change it. The log has a line per subset, such as ``9537 of 9537 videos``; missing
    names are written to ``missing_<subset>.txt`` in the run directory.

    Args:
        root: Folder of the data set.
        class_names: Class names by index.
        sources: Annotated subset of each of ``train``, ``val`` and ``test``.
        on_missing: ``warn`` logs missing videos and continues, ``raise`` stops.
        **options: Options of :class:`CompressedVideoDataModule`.

    Attributes:
        missing: Names of missing videos of each annotated subset, after ``setup``.

    Raises:
        DatasetNotFoundError: All listed videos are missing, or one is missing and ``on_missing`` is
        ``raise``.
        UnsupportedStreamError: The first video's codec does not provide the requested fields.
    """

    layout: ClassVar[str]
    """Expected contents of the root, for messages."""

    def __init__(
        self,
        root: str | Path,
        class_names: list[str],
        sources: Mapping[str, str],
        on_missing: OnMissing = "warn",
        **options: Any,
    ) -> None:
        super().__init__(root=root, class_names=class_names, **options)
        check_choice("on_missing", on_missing, get_args(OnMissing))
        self.on_missing = on_missing
        self.missing: dict[str, list[str]] = {}
        self._sources = sources

    @property
    def protocol(self) -> dict[str, Any]:
        """How the test subset is evaluated; ``subset`` names the annotated subset actually tested."""
        return super().protocol | {"subset": self._sources["test"]}

    @property
    def missing_counts(self) -> dict[str, int]:
        """Number of missing videos per subset."""
        return {subset: len(self.missing.get(source, ())) for subset, source in self._sources.items()}

    @abstractmethod
    def listed_videos(self) -> Mapping[str, Sequence[Listed]]:
        """The videos of each annotated subset in ``sources``."""

    @abstractmethod
    def video_folders(self, subset: str) -> Sequence[str]:
        """Candidate folders of a subset's videos under the root; the first existing one is used."""

    def scan(self) -> Mapping[str, VideoList]:
        """Find the listed videos."""
        if not self.root.is_dir():
            raise self._not_found("the folder does not exist")
        listings: dict[str, VideoFiles] = {}
        found: dict[str, VideoList] = {}
        for subset, listed in self.listed_videos().items():
            folder = self._video_folder(subset)
            if folder not in listings:
                listings[folder] = VideoFiles(self.root, folder)
            found[subset], self.missing[subset] = _locate(listed, listings[folder])
            self._report(subset, folder, len(listed), len(found[subset]))
        self._refuse_other_root(found)
        self._refuse_unprepared(found)
        return {subset: found[source] for subset, source in self._sources.items()}

    def _video_folder(self, subset: str) -> str:
        return next((name for name in self.video_folders(subset) if (self.root / name).is_dir()), "")

    @rank_zero_only
    def _report(self, subset: str, folder: str, listed: int, found: int) -> None:
        """Log a line about a subset, and write missing names to a file."""
        missing = self.missing[subset]
        total = found + len(missing)
        line = f"{type(self).__name__} {subset}: {found} of {total} videos in {self.root / folder}"
        if listed > total:
            line += f"; {listed - total} duplicate lines ignored"
        if not missing:
            rank_zero_info(line)
            return
        line += f"; missing: {', '.join(missing[:3])}" + (", ..." if len(missing) > 3 else "")
        file = self._write_missing(subset)
        log.warning(line + (f" (all names: {file})" if file else ""))

    def _write_missing(self, subset: str) -> Path | None:
        """Write missing names to the run directory, if it is writable."""
        if self.trainer is None:
            return None
        file = Path(self.trainer.default_root_dir) / f"missing_{subset}.txt"
        try:
            with atomic_path(file) as unfinished:
                text = "".join(f"{name}\n" for name in self.missing[subset])
                unfinished.write_text(text, encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
        return file

    def _refuse_other_root(self, found: Mapping[str, VideoList]) -> None:
        missing = {subset: names for subset, names in self.missing.items() if names}
        total = sum(map(len, self.missing.values()))
        if not any(map(len, found.values())):
            problem = f"none of the {total} listed videos was found"
        elif missing and self.on_missing == "raise":
            subset, names = next(iter(missing.items()))
            problem = (
                f"{total} of the listed videos are missing, first of {subset}: {', '.join(names[:3])}; "
                "--data.on_missing warn continues without them"
            )
        else:
            return
        raise self._not_found(problem)

    def _not_found(self, problem: str) -> DatasetNotFoundError:
        return DatasetNotFoundError.describe(type(self).__name__, self.root, problem, self.layout)

    def _refuse_unprepared(self, found: Mapping[str, VideoList]) -> None:
        """Read the first video, since ``on_error=skip`` would skip all videos of an unprepared data set."""
        name = next(videos.names[0] for videos in found.values() if len(videos))
        evaluates = self.trainer is not None and self.trainer.state.fn in ("test", "predict")
        try:
            read_clip(self.root / name, self.test_sampling if evaluates else self.sampling)
        except UnreadableVideoError as error:
            # Damage concerns that file only; the loaders handle it.
            log.debug("%s", error)


def _locate(listed: Sequence[Listed], files: VideoFiles) -> tuple[VideoList, list[str]]:
    """The found videos, each (name, label) once, and the missing names."""
    names, labels, missing = [], [], []
    for video in dict.fromkeys(listed):
        name = files.find(video.name)
        if name is None:
            missing.append(video.name)
        else:
            names.append(name)
            labels.append(video.label)
    return VideoList(tuple(names), tuple(labels)), missing
