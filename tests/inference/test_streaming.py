"""After every P-frame a stream's label is that of the batch model on the clip of the last segments."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.encoders import COARSE, encode

from cvr_lightning.clip import Sample, collate
from cvr_lightning.codec import CompressedVideoReader, Segment
from cvr_lightning.codec.container.packets import PacketStream, open_packets
from cvr_lightning.codec.stream import CompressedStream
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.inference.streaming import SegmentWindow, StreamingRecognizer, StreamPrediction
from cvr_lightning.models import CompressedVideoRecognizer

SAMPLING = ClipSampling(segments=3, pframes=3, size=(72, 104), crop=64, coefficients=(6, 2))
NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are then taken in the same order whatever the number of frames that are encoded at once."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[{}, {"levels": 1}], ids=str)
def recognizer(request: pytest.FixtureRequest) -> CompressedVideoRecognizer:
    """A model in which every part has a say: what starts at zero does not stay there."""
    torch.manual_seed(0)
    channels = SAMPLING.residual_channels
    recognizer = CompressedVideoRecognizer(len(NAMES), residual_channels=channels, **request.param)
    for parameter in recognizer.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return recognizer.eval()


def streaming(recognizer: CompressedVideoRecognizer, **options: int) -> StreamingRecognizer:
    return StreamingRecognizer(recognizer, NAMES, SAMPLING, **options)


def load(path: Path) -> PacketStream:
    with open_packets(path) as packets:
        return replace(packets, packets=list(packets.packets))


def segments_so_far(frame_types: str, stride: int) -> Iterator[list[Segment]]:
    """The segments of a stream after each of its P-frames, as the rule puts it, found the slow way."""
    found: list[Segment] = []
    gop: list[int] = []
    for number, kind in enumerate(frame_types):
        if kind == "I":
            gop = [number]
        elif kind == "P":
            gop.append(number)
            place = len(gop) - 2
            if place % stride == 0:
                found.append(Segment(gop[0], (number,)))
            elif place % stride < SAMPLING.pframes:
                found[-1] = Segment(gop[0], (*found[-1].pframes, number))
            yield found.copy()


def batch_probabilities(
    recognizer: CompressedVideoRecognizer, reader: CompressedVideoReader, segments: list[Segment]
) -> torch.Tensor:
    arrays = reader.read(
        segments, pframes=SAMPLING.pframes, size=SAMPLING.size, coefficients=SAMPLING.coefficients
    )
    clip = EvalTransform(SAMPLING)(collate([Sample(0, 0, -1, "", arrays)]))
    with torch.no_grad():
        probabilities: torch.Tensor = recognizer(clip).softmax(dim=-1)[0]
    return probabilities


@pytest.mark.parametrize(
    ("gop", "stride", "options"),
    [
        (12, 12, {}),  # a segment for each GOP
        (12, 5, {}),  # three for each, the last cut short by the I-frame
        (100, 4, {}),  # all under one I-frame
        (3, 3, {}),  # GOPs shorter than a segment
        (12, 3, {"bf": "2"}),
    ],
)
def test_every_prediction_is_that_of_the_batch_model(
    recognizer: CompressedVideoRecognizer, tmp_path: Path, gop: int, stride: int, options: dict[str, str]
) -> None:
    path = encode(tmp_path / "clip.avi", (112, 80), frames=42, gop=gop, options={**COARSE, **options})
    assert_labels_of_the_batch_model(recognizer, path, stride)


@pytest.mark.parametrize("params", ["bframes=0:ref=2", "bframes=3:b-adapt=0:b-pyramid=normal:ref=4"])
def test_predictions_on_h264_are_those_of_the_batch_model(
    recognizer: CompressedVideoRecognizer, tmp_path: Path, params: str
) -> None:
    options = {"x264-params": f"{params}:scenecut=0"}
    path = encode(tmp_path / "clip.mkv", (112, 80), 50, "libx264", gop=20, options=options)
    assert_labels_of_the_batch_model(recognizer, path, 4)


def assert_labels_of_the_batch_model(recognizer: CompressedVideoRecognizer, path: Path, stride: int) -> None:
    with CompressedVideoReader(path) as reader, open_packets(path) as packets:
        predictions = list(streaming(recognizer, stride=stride)(packets))
        windows = list(segments_so_far(reader.info.frame_types, stride))
        assert len(predictions) == len(windows) > 10
        for prediction, segments in zip(predictions, windows, strict=True):
            window = segments[-SAMPLING.segments :]
            expected = batch_probabilities(recognizer, reader, window)
            torch.testing.assert_close(prediction.probabilities, expected, rtol=0, atol=1e-6)
            assert prediction.segments == len(window)
            assert prediction.label == NAMES[int(expected.argmax())]
            assert prediction.probability == pytest.approx(float(expected.max()), abs=1e-6)
    assert len({prediction.probability for prediction in predictions}) == len(set(map(tuple, windows)))


def test_a_stream_may_start_and_break_anywhere(recognizer: CompressedVideoRecognizer, tmp_path: Path) -> None:
    """Damage empties no window: the sound segments stay, and the next one begins with the next I-frame."""
    path = encode(tmp_path / "clip.mp4", (112, 80), frames=40, gop=8, options=COARSE)
    packets = load(path)
    assert isinstance(packets.packets, list)
    broken = packets.packets.copy()
    broken[18] = broken[18]._replace(damaged=True)  # the second P-frame of a segment
    late = replace(packets, packets=broken[3:])
    predictions = list(streaming(recognizer, stride=8)(late, on_error="skip"))
    assert [prediction.seconds for prediction in predictions] == pytest.approx(
        [number / 25 for number in (*range(9, 16), 17, *range(25, 32), *range(33, 40))]
    )
    with CompressedVideoReader(path) as reader:
        segments = [Segment(16, (17,)), Segment(24, (25, 26, 27)), Segment(32, (33, 34, 35))]
        expected = batch_probabilities(recognizer, reader, segments)
    torch.testing.assert_close(predictions[-1].probabilities, expected, rtol=0, atol=1e-6)


def endless(packets: PacketStream, rounds: int) -> PacketStream:
    assert isinstance(packets.packets, list)
    return replace(packets, packets=itertools.chain.from_iterable(itertools.repeat(packets.packets, rounds)))


def test_the_state_of_a_stream_does_not_grow(recognizer: CompressedVideoRecognizer, tmp_path: Path) -> None:
    packets = load(encode(tmp_path / "clip.avi", (112, 80), frames=12, gop=6, options=COARSE))
    stream = CompressedStream(endless(packets, 40), 3, 5, SAMPLING.size, SAMPLING.coefficients)
    window = SegmentWindow(recognizer, SAMPLING.segments)
    transform = EvalTransform(SAMPLING)
    sizes = []
    for frame in stream:
        if frame.arrays is None:
            continue
        clip = transform(collate([Sample(0, 0, -1, "", frame.arrays)]))
        if frame.kind == "I":
            window.add_iframe(clip)
        else:
            window.add_pframe(clip, begins=frame.step == 0)
        sizes.append(window.nbytes)
    round_trip = 2 * (1 + 3)  # sampled frames of the file
    assert len(sizes) == 40 * round_trip
    assert len(window) == SAMPLING.segments
    assert sizes[0] < sizes[2 * round_trip] < 2**20
    assert sizes[2 * round_trip :] == 38 * sizes[2 * round_trip : 3 * round_trip]


def test_interleaved_streams_do_not_affect_each_other(
    recognizer: CompressedVideoRecognizer, tmp_path: Path
) -> None:
    first, second = (
        load(encode(tmp_path / f"{gop}.avi", (112, 80), frames=20, gop=gop, options=COARSE)) for gop in (7, 9)
    )
    both = streaming(recognizer)
    alone = [*both(first)], [*both(second)]
    pairs = [*zip(both(first), both(second), strict=False)]
    for turn, (one, two) in enumerate(pairs):
        assert torch.equal(one.probabilities, alone[0][turn].probabilities)
        assert torch.equal(two.probabilities, alone[1][turn].probabilities)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modalities": ("iframes",)}, "reads I-frames only"),
        ({"accumulate": True}, "accumulate=false"),
        ({"representation": "pixel"}, "representation=block"),
        ({"parser": "ffmpeg"}, "parser=auto"),
    ],
)
def test_models_that_cannot_follow_a_stream_are_refused(
    recognizer: CompressedVideoRecognizer, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingRecognizer(recognizer, NAMES, replace(SAMPLING, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"stride": 2}, {"segments": 0}])
def test_impossible_windows_are_refused(
    recognizer: CompressedVideoRecognizer, options: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        streaming(recognizer, **options)


def test_the_stride_is_that_of_a_prepared_gop_or_of_a_longer_segment(
    recognizer: CompressedVideoRecognizer,
) -> None:
    assert streaming(recognizer).stride == 12
    longer = replace(SAMPLING, pframes=16)
    assert StreamingRecognizer(recognizer, NAMES, longer).stride == 16


def test_predictions_between_segments_repeat_the_last(
    recognizer: CompressedVideoRecognizer, tmp_path: Path
) -> None:
    path = encode(tmp_path / "clip.avi", (112, 80), frames=12, options=COARSE)
    predictions: list[StreamPrediction] = list(streaming(recognizer)(load(path)))
    assert [prediction.frame for prediction in predictions] == list(range(1, 12))
    assert not torch.equal(predictions[1].probabilities, predictions[2].probabilities)
    for prediction in predictions[3:]:
        assert torch.equal(prediction.probabilities, predictions[2].probabilities)
