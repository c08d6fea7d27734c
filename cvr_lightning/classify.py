"""Labels for video files from a checkpoint alone: the Python API and ``cvr classify``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cvr_lightning.checkpoint import CHECKPOINT_KEY, load_checkpoint, recognizer_weights
from cvr_lightning.clip import Sample, collate
from cvr_lightning.codec.errors import VideoError
from cvr_lightning.datamodules.dataset import read_view
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.video_table import Averaging


class Prediction(NamedTuple):
    """A class name and its probability."""

    label: str
    probability: float


class Classifier:
    """Labels videos as the checkpoint's training run read them.

    Example:
        >>> classifier = Classifier.from_checkpoint("runs/demo/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> classifier("video.mp4")[0]  # doctest: +SKIP
        Prediction(label='rotate_left', probability=0.97)

    Args:
        recognizer: The model, weights loaded.
        class_names: Name of each class.
        sampling: How a file becomes a clip.
        averaging: What is averaged over the views of a video.
        device: Where the model runs.
    """

    def __init__(
        self,
        recognizer: CompressedVideoRecognizer,
        class_names: Sequence[str],
        sampling: ClipSampling,
        averaging: Averaging = "softmax",
        device: torch.device | str = "cpu",
    ) -> None:
        self.recognizer = recognizer.to(device).eval()
        self.class_names = tuple(class_names)
        self.sampling = sampling
        self.averaging = averaging
        self.device = device
        self._cut = EvalTransform(sampling)

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Classifier:
        """Build the classifier from a checkpoint; nothing in the file is executed.

        Raises:
            CheckpointError: Where the file is missing, damaged or not a checkpoint of this package.
        """
        checkpoint = load_checkpoint(path)
        about = checkpoint[CHECKPOINT_KEY]
        recognizer = CompressedVideoRecognizer(**about["architecture"])
        recognizer.load_state_dict(recognizer_weights(checkpoint))
        sampling = ClipSampling.from_dict(about["sampling"])
        return cls(recognizer, about["class_names"], sampling, about["averaging"], device)

    @torch.inference_mode()
    def __call__(self, path: str | os.PathLike[str], top: int = 5) -> list[Prediction]:
        """The likeliest classes of a video, its views averaged.

        Args:
            path: The video.
            top: Number of classes to return.

        Raises:
            VideoError: Where the video cannot be read.
        """
        logits = torch.cat([self._score(os.fspath(path), view) for view in range(self.sampling.views)])
        by_softmax = self.averaging == "softmax"
        probabilities = logits.softmax(-1).mean(0) if by_softmax else logits.mean(0).softmax(-1)
        best = probabilities.topk(min(top, len(self.class_names)))
        return [
            Prediction(self.class_names[index], share)
            for share, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def _score(self, path: str, view: int) -> Tensor:
        """Logits (crops, classes) of one temporal view; no rows where it repeats an earlier one."""
        arrays = read_view(path, self.sampling, view)
        if arrays is None:
            return torch.zeros(0, len(self.class_names), device=self.device)
        clip = collate([Sample(0, view, -1, path, arrays)]).to(self.device)
        logits: Tensor = self.recognizer(self._cut(clip))
        return logits.float()


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr classify``."""
    parser = argparse.ArgumentParser(
        prog="cvr classify", description="Label video files with a trained model."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="video files")
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="checkpoint written by cvr fit")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes per file (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line instead of text")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps (default: cpu)")
    options = parser.parse_args(arguments)
    if options.top < 1:
        parser.error("--top must be at least 1")
    classifier = Classifier.from_checkpoint(options.checkpoint, options.device)
    failed = 0
    for path in options.files:
        try:
            predictions = classifier(path, options.top)
        except VideoError as error:
            failed += 1
            print(f"cvr classify: {error}", file=sys.stderr)
            if options.json:
                print(json.dumps({"file": path, "error": str(error)}))
            continue
        print(_as_json(path, predictions) if options.json else _as_text(path, predictions), flush=True)
    if failed:
        print(f"cvr classify: {failed} of {len(options.files)} files have no label", file=sys.stderr)
        raise SystemExit(1)


def _as_json(path: str, predictions: Sequence[Prediction]) -> str:
    return json.dumps({"file": path, "predictions": [item._asdict() for item in predictions]})


def _as_text(path: str, predictions: Sequence[Prediction]) -> str:
    lines = [f"  {100 * item.probability:5.1f} %  {item.label}" for item in predictions]
    return "\n".join([path, *lines])
