"""Labels for video files from a trained model alone."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor, nn

from cvr_lightning.clip import Sample, collate
from cvr_lightning.codec import ClipArrays
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.datamodules.clips import read_clip, read_views
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.evaluation.provenance import versions
from cvr_lightning.evaluation.video_table import Averaging, require_finite
from cvr_lightning.files.printable import count_text, counted
from cvr_lightning.inference.average import Scores, average, features_and_logits
from cvr_lightning.inference.inputs import Video, Videos, opened, small_video, views_or_error
from cvr_lightning.inference.memory import keep_freed_memory
from cvr_lightning.inference.pretrained import read_folder, write_folder
from cvr_lightning.training.architecture import architecture_of
from cvr_lightning.training.checkpoint import CHECKPOINT_KEY, load_checkpoint
from cvr_lightning.training.checkpoint_model import build_model, stored_sampling
from cvr_lightning.training.checkpoint_schema import FORMAT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


class Prediction(NamedTuple):
    """A class name and its probability."""

    label: str
    probability: float


class Classifier:
    """Labels videos, reading them as in training.

    Examples:
        >>> classifier = Classifier.from_checkpoint("runs/demo/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> classifier("video.mp4")[0]  # doctest: +SKIP
        Prediction(label='rotate_left', probability=0.97)

    Args:
        recognizer: The model with its weights: any module that takes a clip and returns logits.
        class_names: Name of each class.
        sampling: How files are read into clips.
        averaging: What is averaged over the views of a video.
        device: Device of the model.

    Attributes:
        dtype: Autocast dtype of matrix products and convolutions, float32 by default. bfloat16 is faster on
            GPUs and on CPUs that support it in hardware.
    """

    def __init__(
        self,
        recognizer: nn.Module,
        class_names: Sequence[str],
        sampling: ClipSampling,
        averaging: Averaging = "softmax",
        device: torch.device | str = "cpu",
    ) -> None:
        keep_freed_memory()
        self.recognizer = recognizer.to(device).eval()
        self.class_names = tuple(class_names)
        self.sampling = sampling
        self.averaging = averaging
        self.device = device
        self.dtype = torch.float32
        self._cut = EvalTransform(sampling)
        self._has_reported = False

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        device: torch.device | str = "cpu",
        model: nn.Module | None = None,
    ) -> Classifier:
        """Build the classifier from a checkpoint; nothing in the file is executed.

        Args:
            path: Checkpoint written by ``cvr fit``.
            device: Device of the model.
            model: The custom model, if the weights are of one; a checkpoint does not import classes.

        Raises:
            CheckpointError: The file is missing, damaged or not a checkpoint of this package, or its weights
                are of another model.
        """
        return cls._build(str(path), load_checkpoint(path), device, model)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        device: torch.device | str = "cpu",
        model: nn.Module | None = None,
    ) -> Classifier:
        """Build the classifier from a folder of :meth:`save_pretrained`; nothing in it is executed.

        Args:
            source: The folder, or a repository of the Hugging Face hub: ``hub:OWNER/NAME[@REVISION]``.
            device: Device of the model.
            model: The custom model, if the weights are of one.

        Raises:
            CheckpointError: The folder is missing or damaged, or its weights are of another model.
            WeightsError: Its weights cannot be read or downloaded.
        """
        return cls._build(os.fspath(source), read_folder(source), device, model)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the weights as ``model.safetensors`` and the rest as ``config.json``; needs safetensors.

        Args:
            folder: The folder; created if necessary. Existing files of these names are replaced.

        Raises:
            CheckpointError: safetensors is not installed.
            OutputError: The files cannot be written.
        """
        about = {
            "format": FORMAT,
            "class_names": list(self.class_names),
            "architecture": architecture_of(self.recognizer, len(self.class_names)),
            "sampling": self.sampling.to_dict(),
            "averaging": self.averaging,
            "versions": versions(),
        }
        write_folder(folder, self.recognizer, about)

    @classmethod
    def _build(
        cls, source: str, checkpoint: dict[str, Any], device: torch.device | str, model: nn.Module | None
    ) -> Classifier:
        about = checkpoint[CHECKPOINT_KEY]
        trained = build_model(source, checkpoint, model)
        return cls(trained, about["class_names"], stored_sampling(source, about), about["averaging"], device)

    def to(self, device: torch.device | str) -> Classifier:
        """Move the model to a device."""
        self.recognizer.to(device)
        self.device = device
        return self

    def __repr__(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.recognizer.parameters())
        classes = counted(len(self.class_names), "class", "classes")
        return (
            f"Classifier({classes}, {type(self.recognizer).__qualname__} of "
            f"{count_text(parameters)} parameters, {self.sampling.summary()}, {self.device})"
        )

    def plot(self, path: str | os.PathLike[str]) -> Figure:
        """Draw a P-frame of a video and its most likely classes.

        Raises:
            VideoError: The video cannot be read.
        """
        from cvr_lightning import plot_arrays

        found = dict(self(path, top=len(self.class_names)))
        probabilities = np.array([found[name] for name in self.class_names], np.float32)
        arrays = read_clip(os.fspath(path), self.sampling)
        return plot_arrays(arrays, os.path.basename(path), -1, self.class_names, probabilities)

    @overload
    def __call__(self, videos: Video, top: int = 5) -> list[Prediction]: ...

    @overload
    def __call__(self, videos: Videos, top: int = 5) -> list[list[Prediction]]: ...

    def __call__(self, videos: Video | Videos, top: int = 5) -> list[Prediction] | list[list[Prediction]]:
        """Return the most likely classes of a video, averaged over its views; of a list, those of each.

        May be called from several threads at once.

        Args:
            videos: A path, the bytes of a file, or an open binary file; or a list of these, scored together.
            top: Number of classes to return.

        Raises:
            VideoError: A video cannot be read.
        """
        if isinstance(videos, list | tuple):
            read = [read_views(opened(video), self.sampling) for video in videos]
            return [self.best(scores, top) for scores in self.score(read)]
        (scores,) = self.score([read_views(opened(videos), self.sampling)])
        return self.best(scores, top)

    def warm_up(self) -> None:
        """Load kernels and memory with one small video, so that the first call takes as long as others."""
        clip = read_views(small_video(self.sampling.pframes + 1), replace(self.sampling, form="stored"))
        self.score([clip])

    def stream(
        self,
        videos: Iterable[Video],
        top: int = 5,
        batch_size: int = 8,
        threads: int | None = None,
    ) -> Iterator[list[Prediction] | VideoError]:
        """Label many videos: threads read ahead while the model runs on batches.

        Args:
            videos: Paths, bytes or open binary files.
            top: Number of classes to return.
            batch_size: Videos per batch.
            threads: Reading threads; one per CPU core by default.

        Yields:
            Each video's predictions in turn, or the error of an unreadable one.
        """
        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            waiting = iter(videos)
            reading: deque[Future[list[ClipArrays] | VideoError]] = deque()
            while True:
                for video in islice(waiting, 2 * batch_size - len(reading)):
                    reading.append(pool.submit(views_or_error, video, self.sampling))
                if not reading:
                    return
                batch = [reading.popleft().result() for _ in range(min(batch_size, len(reading)))]
                readable = [views for views in batch if not isinstance(views, VideoError)]
                self._report_prepared(readable)
                scores = iter(self.score(readable, batch_size=batch_size))
                for views in batch:
                    yield views if isinstance(views, VideoError) else self.best(next(scores), top)

    def _report_prepared(self, videos: Sequence[Sequence[ClipArrays]]) -> None:
        """Log once that videos are prepared in memory."""
        if not self._has_reported and any(clip.prepared for views in videos for clip in views):
            self._has_reported = True
            log.warning(
                "videos in another form than the model saw are prepared in memory: %s", self.sampling.recipe
            )

    def best(self, scores: Scores, top: int = 5) -> list[Prediction]:
        """The most likely classes."""
        best = scores.probabilities.topk(min(top, len(self.class_names)))
        return [
            Prediction(self.class_names[index], probability)
            for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def score(
        self, videos: Sequence[Sequence[ClipArrays]], embeddings: bool = False, batch_size: int = 8
    ) -> list[Scores]:
        """Score videos together, in batches of ``max(batch_size, crops)`` clips.

        Args:
            videos: The distinct temporal views of each video.
            embeddings: Return the features before the head too.
            batch_size: Clips per batch.

        Raises:
            CheckpointError: The model has no common features.
        """
        samples = [
            Sample(number, view, -1, "", arrays)
            for number, views in enumerate(videos)
            for view, arrays in enumerate(views)
        ]
        if not samples:
            return []
        step = max(1, batch_size // self.sampling.crops)
        parts = [
            self._score(samples[start : start + step], embeddings) for start in range(0, len(samples), step)
        ]
        logits, features = (torch.cat(part) for part in zip(*parts, strict=True))
        sizes = [len(views) * self.sampling.crops for views in videos]
        return average(logits, features, sizes, self.averaging)

    @torch.inference_mode()
    def _score(self, samples: Sequence[Sample], embeddings: bool) -> tuple[Tensor, Tensor]:
        """Logits (samples x crops, classes) and features (samples x crops, D), empty unless requested."""
        clip = self._cut(collate(samples).to(self.device))
        device = clip.mask.device.type
        with torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32):
            if embeddings:
                features, logits = features_and_logits(self.recognizer, clip)
            else:
                logits = self.recognizer(clip)
                features = logits.new_empty(len(logits), 0)
        require_finite(logits.isfinite().all())
        return logits.float().cpu(), features.float().cpu()
