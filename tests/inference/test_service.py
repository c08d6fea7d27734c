"""A classifier within another program."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from helpers.encoders import encode

from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.inference.classify import Classifier, Prediction
from cvr_lightning.models import CompressedVideoRecognizer

SAMPLING = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64, coefficients=(4, 1), form="auto")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    model = CompressedVideoRecognizer(3, residual_channels=SAMPLING.residual_channels)
    return Classifier(model, ["jump", "run", "wave"], SAMPLING)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("videos")
    return [encode(root / f"{number}.avi", (96, 64), 12 + number) for number in range(6)]


def close(one: list[Prediction], other: list[Prediction]) -> bool:
    same = [left.label == right.label for left, right in zip(one, other, strict=True)]
    gaps = [abs(left.probability - right.probability) for left, right in zip(one, other, strict=True)]
    return all(same) and max(gaps) < 1e-5


def test_paths_bytes_and_open_files_give_the_same(classifier: Classifier, videos: list[Path]) -> None:
    expected = classifier(videos[0])
    assert classifier(str(videos[0])) == classifier(videos[0].read_bytes()) == expected
    with videos[0].open("rb") as file:
        assert classifier(file) == expected
    assert classifier(io.BytesIO(videos[0].read_bytes())) == expected


def test_a_list_gives_a_list(classifier: Classifier, videos: list[Path]) -> None:
    found = classifier([videos[0], videos[1].read_bytes(), str(videos[2])], top=2)
    assert all(close(one, classifier(video, top=2)) for one, video in zip(found, videos[:3], strict=True))
    assert classifier([]) == []


def test_a_stream_yields_errors_in_place(classifier: Classifier, videos: list[Path]) -> None:
    found = list(classifier.stream([videos[0], b"no video", videos[1]], batch_size=2))
    assert isinstance(found[1], UnreadableVideoError)
    assert found[1].file == "video in memory"
    assert close(found[0], classifier(videos[0]))  # type: ignore[arg-type]
    assert close(found[2], classifier(videos[1]))  # type: ignore[arg-type]


def test_threads_share_a_classifier(classifier: Classifier, videos: list[Path]) -> None:
    expected = [classifier(video) for video in videos]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(classifier, videos * 3)) == expected * 3


def test_warming_up_changes_nothing(classifier: Classifier, videos: list[Path]) -> None:
    expected = classifier(videos[0])
    classifier.warm_up()
    assert classifier(videos[0]) == expected


def test_what_is_prepared_is_logged_once(
    videos: list[Path], classifier: Classifier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = encode(tmp_path / "a.mpg", (96, 64), 12, "mpeg1video")
    fresh = Classifier(classifier.recognizer, classifier.class_names, SAMPLING)
    assert len(list(fresh.stream([path, videos[0], path], batch_size=1))) == 3
    told = [record for record in caplog.records if "are prepared in memory" in record.message]
    assert len(told) == 1
