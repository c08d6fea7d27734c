"""Labels for a video stream: runs the model on the latest segments after every P-frame.

The batch model reads N segments of T P-frames spread over a whole video. The window of a stream is its last N
segments, the newest still growing. Each frame is encoded once on arrival, and the features of past segments
are kept; transformer, mixer and head run on the window after each P-frame. Each label equals that of the
batch model on the clip of these segments.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.codec.container.packets import PacketStream
from cvr_lightning.codec.stream import CompressedStream, OnError
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.errors import CheckpointError
from cvr_lightning.evaluation.video_table import require_finite
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.models.iframe_encoder import IFrameFeatures
from cvr_lightning.models.pframe_encoder import PFrameState
from cvr_lightning.training.architecture import own_recognizer

STRIDE = 12
"""Default number of P-frames between segments: one segment per GOP of prepared videos."""


class StreamPrediction(NamedTuple):
    """The prediction after a P-frame.

    Attributes:
        frame: Index of the P-frame in the stream, see
            :class:`~cvr_lightning.codec.stream.StreamFrame`.
        seconds: Presentation time; None if the stream has none.
        label: The most likely class.
        probability: Its softmax probability.
        probabilities: (classes,) float, on the CPU.
        segments: Segments in the window; N in a long enough stream.
    """

    frame: int
    seconds: float | None
    label: str
    probability: float
    probabilities: Tensor
    segments: int


@dataclass
class _Segment:
    """Features kept of a segment.

    Attributes:
        iframe: (1, 1, C, H, W) features of its I-frame at stride 32, shared by the segments of a GOP.
        readout: (1, C, H, W) readout of its P-frames so far.
    """

    iframe: Tensor
    readout: Tensor


class SegmentWindow:
    """Features of the last segments of a stream; its size is bounded.

    Args:
        recognizer: The model, in evaluation mode.
        segments: Number N of segments to keep.
    """

    def __init__(self, recognizer: CompressedVideoRecognizer, segments: int) -> None:
        self._recognizer = recognizer
        self._segments: deque[_Segment] = deque(maxlen=segments)
        self._iframe: IFrameFeatures | None = None
        self._state: PFrameState | None = None

    def __len__(self) -> int:
        """Number of segments in the window."""
        return len(self._segments)

    @property
    def nbytes(self) -> int:
        """Bytes of all kept tensors."""
        kept = [(segment.iframe, segment.readout) for segment in self._segments]
        storages = (tensor.untyped_storage() for tensor in _tensors((self._iframe, self._state, *kept)))
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    @torch.inference_mode()
    def add_iframe(self, clip: CompressedClip) -> None:
        """Encode the current I-frame.

        Args:
            clip: One clip (B = K = 1) with the I-frame.
        """
        self._iframe = self._recognizer.encode_iframes(clip.iframes)

    @torch.inference_mode()
    def add_pframe(self, clip: CompressedClip, begins: bool) -> Tensor:
        """Add a P-frame to the newest segment and score the window.

        Args:
            clip: One clip of one segment of one P-frame (B = N = T = 1).
            begins: The P-frame begins a new segment, which drops the oldest.

        Returns:
            (classes,) logits.
        """
        assert self._iframe is not None, "a stream begins with an I-frame"
        pframes = self._recognizer.pframes(clip)
        state = None if begins else self._state
        in_force = IFrameFeatures(*(feature.flatten(0, 1) for feature in self._iframe))
        features = self._recognizer.pframe_encoder(pframes, in_force, state)
        self._state = features.state
        if begins:
            self._segments.append(_Segment(self._iframe.stride32, features.readout))
        self._segments[-1].readout = features.readout
        return self._score()

    def _score(self) -> Tensor:
        iframes: list[Tensor] = []
        index = []
        for segment in self._segments:
            if not iframes or iframes[-1] is not segment.iframe:
                iframes.append(segment.iframe)
            index.append(len(iframes) - 1)
        readout_BNCHW = torch.cat([segment.readout for segment in self._segments])[None]
        index_BN = torch.tensor([index], device=readout_BNCHW.device)
        exists_BN = torch.ones_like(index_BN, dtype=torch.bool)
        features = self._recognizer.fuse(torch.cat(iframes, dim=1), readout_BNCHW, index_BN, exists_BN)
        return self._recognizer.classify(features).mean()[0]


class StreamingRecognizer:
    """Labels MPEG-4 Part 2 and H.264 streams P-frame by P-frame.

    One recognizer serves any number of streams, even interleaved: each call has its own window.

    Examples:
        >>> recognizer = StreamingRecognizer.from_checkpoint("last.ckpt")  # doctest: +SKIP
        >>> with open_packets("video.mp4") as packets:  # doctest: +SKIP
        ...     for prediction in recognizer(packets):
        ...         print(prediction.seconds, prediction.label, prediction.probability)

    Args:
        recognizer: The model with its weights.
        class_names: Name of each class.
        sampling: Segments, P-frames, size and crop of a clip. A stream has one view, the center crop.
        stride: P-frames between the starts of segments (see
            :class:`~cvr_lightning.codec.stream.CompressedStream`), ideally as in training: the P-frames of a
            training video divided by its segments. :data:`STRIDE` if None, or the segment length if that is
            more.
        segments: Number N of segments in the window; that of the sampling if None.
        device: Device of the model.

    Raises:
        ValueError: Streams cannot be read in the way of the training clips.
    """

    def __init__(
        self,
        recognizer: CompressedVideoRecognizer,
        class_names: Sequence[str],
        sampling: ClipSampling,
        stride: int | None = None,
        segments: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        cause = _unstreamed(sampling)
        if cause:
            raise ValueError(f"cannot label streams: {cause}")
        self.recognizer = recognizer.to(device).eval()
        self.class_names = tuple(class_names)
        self.sampling = sampling
        self.stride = max(STRIDE, sampling.pframes) if stride is None else stride
        self.segments = sampling.segments if segments is None else segments
        if self.stride < sampling.pframes or self.segments < 1:
            raise ValueError(
                f"stride={self.stride} must be at least the {sampling.pframes} P-frames of a segment, "
                f"segments={self.segments} at least 1"
            )
        self.device = device
        self._crop = EvalTransform(replace(sampling, crops=1))

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        stride: int | None = None,
        segments: int | None = None,
        device: torch.device | str = "cpu",
    ) -> StreamingRecognizer:
        """Load the recognizer from a checkpoint, without executing anything in the file.

        Raises:
            CheckpointError: The file is missing, damaged or not a checkpoint of this package, or its model
                cannot label streams.
        """
        model = Classifier.from_checkpoint(path, device)
        try:
            recognizer = own_recognizer(model.recognizer, "streaming")
            return cls(recognizer, model.class_names, model.sampling, stride, segments, device)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def __call__(self, packets: PacketStream, on_error: OnError = "raise") -> Iterator[StreamPrediction]:
        """Label a stream as its packets arrive.

        Args:
            packets: The stream.
            on_error: What to do about a damaged packet, see
                :class:`~cvr_lightning.codec.stream.CompressedStream`.

        Yields:
            A prediction after every P-frame that follows the first I-frame. P-frames between segments repeat
            the last prediction.

        Raises:
            VideoError: The stream cannot be read.
        """
        sampling = self.sampling
        stream = CompressedStream(
            packets,
            sampling.pframes,
            self.stride,
            sampling.size,
            sampling.coefficients,
            sampling.modalities,
            on_error,
        )
        window = SegmentWindow(self.recognizer, self.segments)
        probabilities = torch.empty(0)
        for frame in stream:
            if frame.kind == "I" and frame.arrays is not None:
                window.add_iframe(self._clip(frame.arrays))
                continue
            if frame.arrays is not None:
                logits = window.add_pframe(self._clip(frame.arrays), begins=frame.step == 0)
                require_finite(logits.isfinite().all())
                probabilities = logits.float().softmax(dim=-1).cpu()
            best = int(probabilities.argmax())
            yield StreamPrediction(
                frame.number,
                frame.seconds,
                self.class_names[best],
                float(probabilities[best]),
                probabilities,
                len(window),
            )

    def _clip(self, arrays: ClipArrays) -> CompressedClip:
        return self._crop(collate([Sample(0, 0, -1, "", arrays)]).to(self.device))


def _tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _tensors(item)


def _unstreamed(sampling: ClipSampling) -> str:
    """Why streams cannot be read like these clips; empty if they can."""
    if not {"motion", "residual"} & set(sampling.modalities):
        return "the model reads I-frames only"
    if sampling.accumulate:
        return "the model reads fields accumulated back to the I-frame; train it with accumulate=false"
    if sampling.representation != "block":
        return "the model reads the pixel representation; train it with representation=block"
    if sampling.parser == "ffmpeg":
        return "the model reads through FFmpeg; train it with parser=auto on MPEG-4 Part 2 or H.264 video"
    return ""
