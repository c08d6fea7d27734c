"""Labels for a video while it comes in: the model on the last segments of a stream, after every P-frame.

The batch model looks at N segments of T P-frames spread over a whole video. A stream has no whole: its window
is the last N segments, of which the newest is still growing. Every frame is encoded once, when it comes; what
the encoders left of past segments is kept, and the transformer, the mixer and the head run over it after each
P-frame. Each label is that of the batch model on the clip of these segments.
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
from cvr_lightning.models.encoders import IFrameFeatures, PFrameState
from cvr_lightning.training.architecture import own_recognizer

STRIDE = 12
"""P-frames from segment to segment unless asked otherwise: a GOP of prepared videos gives one segment."""


class StreamPrediction(NamedTuple):
    """What the model says after a P-frame.

    Attributes:
        frame: Place of the P-frame among the coded pictures of the stream, from 0.
        seconds: When it is shown, None where the stream does not say.
        label: The likeliest class.
        probability: Its share.
        probabilities: (classes,) float, on the CPU.
        segments: Segments in the window; N once the stream is long enough.
    """

    frame: int
    seconds: float | None
    label: str
    probability: float
    probabilities: Tensor
    segments: int


@dataclass
class _Segment:
    """What is kept of a segment.

    Attributes:
        iframe: (1, 1, C, H, W), features of its I-frame at stride 32; segments of one GOP share them.
        readout: (1, C, H, W), read-out of its P-frames so far.
    """

    iframe: Tensor
    readout: Tensor


class SegmentWindow:
    """The last segments of a stream as the dual encoder left them; its size does not grow.

    Args:
        recognizer: The model, in evaluation mode.
        segments: Segments N to keep.
    """

    def __init__(self, recognizer: CompressedVideoRecognizer, segments: int) -> None:
        self._recognizer = recognizer
        self._segments: deque[_Segment] = deque(maxlen=segments)
        self._iframe: IFrameFeatures | None = None
        self._state: PFrameState | None = None

    def __len__(self) -> int:
        """Segments in the window."""
        return len(self._segments)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors that are kept."""
        kept = [(segment.iframe, segment.readout) for segment in self._segments]
        storages = (tensor.untyped_storage() for tensor in _tensors((self._iframe, self._state, *kept)))
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    @torch.inference_mode()
    def add_iframe(self, clip: CompressedClip) -> None:
        """Encode the I-frame that is in force from now on.

        Args:
            clip: One clip (B = K = 1) that holds it.
        """
        self._iframe = self._recognizer.encode_iframes(clip.iframes)

    @torch.inference_mode()
    def add_pframe(self, clip: CompressedClip, begins: bool) -> Tensor:
        """Carry the newest segment on by a P-frame and score the window.

        Args:
            clip: One clip of one segment of one P-frame (B = N = T = 1).
            begins: The P-frame begins a segment, for which the oldest makes room.

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
        return self._recognizer.decide(torch.cat(iframes, dim=1), readout_BNCHW, index_BN, exists_BN)[0]


class StreamingRecognizer:
    """Labels streams of MPEG-4 Part 2 video, P-frame by P-frame.

    One recogniser serves any number of streams, also in turns: each call has a window of its own.

    Examples:
        >>> recognizer = StreamingRecognizer.from_checkpoint("last.ckpt")  # doctest: +SKIP
        >>> with open_packets("video.mp4") as packets:  # doctest: +SKIP
        ...     for prediction in recognizer(packets):
        ...         print(prediction.seconds, prediction.label, prediction.probability)

    Args:
        recognizer: The model, weights loaded.
        class_names: Name of each class.
        sampling: How clips are read: segments, P-frames, size, crop. A stream has the one view of the centre.
        stride: P-frames from the beginning of a segment to that of the next (see
            :class:`~cvr_lightning.codec.stream.CompressedStream`), best as in training: the P-frames of a
            training video divided by its segments. :data:`STRIDE` where None, or the segment's own length
            where that is more.
        segments: Segments N of the window; those of the sampling where None.
        device: Where the model runs.

    Raises:
        ValueError: A stream cannot be read as the training clips were.
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
            raise ValueError(f"cannot follow a stream: {cause}")
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
        """Build the recogniser from a checkpoint; nothing in the file is executed.

        Raises:
            CheckpointError: The file is missing, damaged or not a checkpoint of this package, or its model
                cannot follow a stream as asked.
        """
        model = Classifier.from_checkpoint(path, device)
        try:
            recognizer = own_recognizer(model.recognizer, "streaming")
            return cls(recognizer, model.class_names, model.sampling, stride, segments, device)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def __call__(self, packets: PacketStream, on_error: OnError = "raise") -> Iterator[StreamPrediction]:
        """Label a stream, as its packets come.

        Args:
            packets: The stream.
            on_error: What a damaged packet does, see :class:`~cvr_lightning.codec.stream.CompressedStream`.

        Yields:
            A prediction after every P-frame behind the first I-frame. One between two segments says nothing
            new: its prediction is the last one again.

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
    """The tensors in nested tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _tensors(item)


def _unstreamed(sampling: ClipSampling) -> str:
    """Why a stream cannot be read as these clips are; empty where it can."""
    if not {"motion", "residual"} & set(sampling.modalities):
        return "the model reads I-frames alone, so its P-frames say nothing"
    if sampling.accumulate:
        return "the model reads fields that are traced back to the I-frame; train it with accumulate=false"
    if sampling.representation != "block":
        return "the model reads the pixel representation; train it with representation=block"
    if sampling.parser == "ffmpeg":
        return "the model reads through FFmpeg; train it with parser=auto on MPEG-4 Part 2 video"
    return ""
