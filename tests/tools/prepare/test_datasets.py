"""A published data set that was prepared is read by the same datamodule as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.tiny_datasets import Clips, write_hmdb51, write_kinetics, write_ssv2, write_ucf101

from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.datamodules import (
    HMDB51,
    UCF101,
    CompressedVideoDataModule,
    Kinetics400,
    SomethingSomethingV2,
)
from cvr_lightning.datamodules.files import stem
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.tools.prepare.run import prepare
from cvr_lightning.tools.prepare.tree import ArrayJob


def labeled(data: CompressedVideoDataModule) -> dict[str, list[tuple[str, int]]]:
    """Videos of each subset, whatever their container."""
    data.setup()
    return {
        subset: [
            (stem(name), label) for name, label in zip(videos.names, videos.labels.tolist(), strict=True)
        ]
        for subset, videos in data.videos.items()
    }


@pytest.mark.parametrize(
    ("write", "dataset", "broken"),
    [
        (write_ucf101, UCF101, []),
        (write_hmdb51, HMDB51, []),
        (write_kinetics, Kinetics400, ["abc0123DEFG_000040_000050"]),
        (lambda root, clips: write_ssv2(root, clips, suffix=".webm"), SomethingSomethingV2, []),
    ],
)
def test_the_same_videos_with_the_same_labels_are_found(
    write: Callable[[Path, Clips], Path],
    dataset: type[CompressedVideoDataModule],
    broken: list[str],
    tmp_path: Path,
    clips: Clips,
) -> None:
    source, destination = write(tmp_path / "src", clips), tmp_path / "dst"
    # As downloaded, some of the sets hold I-frames only: that is why they are prepared.
    before = labeled(dataset(source, sampling=ClipSampling(modalities=("iframes",))))
    rows, _ = prepare(source, destination, Recipe(size=(96, 80)), workers=1, job=ArrayJob())
    assert [stem(row.source) for row in rows if row.status == "failed"] == broken
    after = labeled(dataset(destination))
    for subset, videos in before.items():
        assert after[subset] == [video for video in videos if video[0] not in broken]
