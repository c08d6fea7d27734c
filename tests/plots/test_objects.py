"""What the package's objects say of themselves, and how they are drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.encoders import encode
from helpers.factories import make_clip, make_sample
from matplotlib.figure import Figure

from cvr_lightning import Classifier, CompressedVideoReader, VideoDataset
from cvr_lightning.clip import Sample, collate
from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.datamodules import Folder
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.models import CompressedVideoRecognizer

SAMPLING = ClipSampling(segments=2, pframes=2, size=(64, 88), crop=64)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for number in range(6):
        path = root / ("train" if number < 4 else "val") / ("jump", "r$u$n")[number % 2] / f"{number}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(path, (96, 80), frames=20)
    return root


def titles(figure: Figure) -> list[str]:
    """Titles of the figure and of its pictures, after it has been drawn."""
    figure.canvas.draw()
    own = figure.get_suptitle()
    return [own, *(axes.get_title() for axes in figure.axes if axes.get_title())]


def test_a_clip_has_a_short_repr_and_is_drawn_with_its_classes() -> None:
    clip = make_clip(batch=6)
    assert repr(clip) == (
        "CompressedClip(6 clips on cpu: iframes (6, 2, 3, 64, 64), motion (6, 3, 4, 2, 8, 8), "
        "residual (6, 3, 4, 6, 8, 8))"
    )
    drawn = titles(clip.plot(["a", "b", "c", "d", "e"]))
    assert drawn[0] == "4 of 6 clips"
    assert [title.split("\n")[0] for title in drawn[1::4]] == [
        "video 0: a",
        "video 1: b",
        "video 2: c",
        "video 3: d",
    ]
    with pytest.raises(ValueError, match="the batch is empty"):
        collate([Sample(0, 0, 0, "x", UnreadableVideoError("x", "it is empty"))]).plot()


def test_a_sample_has_a_short_repr_and_is_drawn_or_gives_its_error() -> None:
    sample = make_sample(3, label=1)
    assert repr(sample) == (
        "Sample('video_3.avi', label 1, view 0, ClipArrays(iframes (2, 3, 64, 64), motion (3, 4, 2, 8, 8), "
        "residual (3, 4, 6, 8, 8), 12 of 12 P-frames))"
    )
    assert titles(sample.plot(["a", "b"]))[0] == "video_3.avi: b"
    with pytest.raises(UnreadableVideoError, match="it is empty"):
        Sample(0, 0, 0, "x", UnreadableVideoError("x", "it is empty")).plot()


def test_what_is_drawn_is_the_last_pframe_of_the_middle_segment() -> None:
    sample = make_sample()
    axes = sample.plot().axes[0]
    arrays = sample.arrays
    assert not isinstance(arrays, UnreadableVideoError)
    image = np.asarray(axes.images[0].get_array())
    assert np.array_equal(image, arrays.iframes[arrays.iframe_index[1]].transpose(1, 2, 0))
    assert axes.get_title().endswith("segment 1, P-frame 3")


def test_a_reader_has_a_short_repr_and_draws_its_segments(videos: Path) -> None:
    with CompressedVideoReader(videos / "train" / "jump" / "0.avi") as reader:
        assert repr(reader).endswith("0.avi': mpeg4 in avi, 96x80, 20 frames, 2 I-frames, parser mpeg4)")
        drawn = titles(reader.plot())
    assert drawn[0] == "0.avi: mpeg4, 96x80, 20 frames"
    assert len(drawn) == 1 + 4 * 4
    assert drawn[1].startswith("frame 0, P-frame ")


def test_a_reader_without_pframes_draws_its_iframes(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.avi", (96, 80), frames=3, codec="mjpeg", pix_fmt="yuvj420p")
    with CompressedVideoReader(path) as reader:
        assert titles(reader.plot())[1].startswith("frame ")


def test_data_has_a_short_repr_and_draws_what_the_model_receives(videos: Path) -> None:
    data = Folder(videos, sampling=SAMPLING, num_workers=0)
    about = "2 segments x 2 P-frames, 64 px, batches of 8)"
    assert repr(data) == str(data) == f"Folder('{videos}': 2 classes, not set up, {about}"
    drawn = titles(data.plot(videos=3))
    assert drawn[0] == "Folder, train: 3 of 4 videos"
    assert data.plot("val").axes[0].images[0].get_array().shape == (64, 64, 3)  # type: ignore[union-attr]
    assert repr(data) == f"Folder('{videos}': 2 classes, 4 train, 2 val, 2 test, {about}"
    with pytest.raises(ValueError, match="0 in subset='none'"):
        data.plot("none")


def test_a_dataset_draws_a_sample_with_its_class(videos: Path) -> None:
    dataset = VideoDataset(videos / "train", SAMPLING)
    assert repr(dataset) == "VideoDataset(4 videos, 2 classes, 2 segments x 2 P-frames, 64 px)"
    assert titles(dataset.plot(dataset[3]))[0] == "r$u$n/3.avi: r$u$n"


def test_a_classifier_draws_its_prediction_beside_the_clip(videos: Path) -> None:
    classifier = Classifier(CompressedVideoRecognizer(2).eval(), ["jump", "run"], SAMPLING)
    assert repr(classifier) == (
        "Classifier(2 classes, CompressedVideoRecognizer of 0.31 M parameters, "
        "2 segments x 2 P-frames, 64 px, cpu)"
    )
    path = videos / "val" / "jump" / "4.avi"
    bars = [text.get_text() for text in classifier.plot(path).axes[4].texts]
    best = classifier(path, top=1)[0]
    assert bars[0] == f"{best.label}  {100 * best.probability:.0f} %"


def test_matplotlib_is_imported_on_first_use() -> None:
    program = "import sys; from cvr_lightning import VideoDataset; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
