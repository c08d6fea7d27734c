"""Top-1 and speed of a trained model in float32, bfloat16, float16 and int8.

The test subset is read once; all precisions score the same clips, alternating by batch. ``int8`` quantizes
the linear layers dynamically (weights int8, activations at run time). One thread by default.

    python benchmarks/bench.py --sections precision CKPT --root data/motion_shapes/test [--limit 200]

ROOT has one folder per class, named like the classes of the checkpoint.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from page import arguments, publish
from torch import Tensor, nn

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.datamodules.clips import read_view
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.inference.classify import Classifier

BATCH = 10
Run = Callable[[CompressedClip], Tensor]


def main(given: list[str]) -> None:
    parser = arguments("precision", __doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--root", type=Path, required=True, help="test videos, one folder per class")
    parser.add_argument("--limit", type=int, help="videos to score (default: all)")
    parser.add_argument("--rows", nargs="+", help="precisions to score beside float32 (default: all)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    classifier = Classifier.from_checkpoint(options.checkpoint)
    batches = read(classifier, options.root, options.limit)
    protocol = (
        f"{options.threads} threads, batches of {BATCH}, {sum(map(len, batches))} videos, reading excluded."
    )
    rows = precisions(classifier.recognizer)
    if options.rows:
        rows = {name: rows[name] for name in ("float32", *options.rows)}
    publish(options.output, "Precision", ("torch",), protocol, table(rows, batches))


def read(classifier: Classifier, root: Path, limit: int | None) -> list[CompressedClip]:
    videos = sorted(
        (video.name, label, video)
        for label, name in enumerate(classifier.class_names)
        for video in (root / name).iterdir()
    )[:limit]  # by file name first, so that a part of them holds all classes
    samples = []
    for number, (_, label, path) in enumerate(videos):
        arrays = read_view(path, classifier.sampling, 0)
        assert isinstance(arrays, ClipArrays)
        samples.append(Sample(number, 0, label, str(path), arrays))
    transform = EvalTransform(classifier.sampling)
    return [transform(collate(samples[i : i + BATCH])) for i in range(0, len(samples), BATCH)]


def precisions(model: nn.Module) -> dict[str, Run]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces another package for this
        int8 = torch.ao.quantization.quantize_dynamic(deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    return {
        "float32": model,
        "bf16 autocast": autocast(model, torch.bfloat16),
        "fp16 autocast": autocast(model, torch.float16),
        "bf16 weights": deepcopy(model).bfloat16(),
        "int8 linear layers": int8,
    }


def autocast(model: nn.Module, dtype: torch.dtype) -> Run:
    def run(clip: CompressedClip) -> Tensor:
        with torch.autocast("cpu", dtype=dtype):
            logits: Tensor = model(clip)
        return logits

    return run


@torch.inference_mode()
def table(rows: dict[str, Run], batches: list[CompressedClip]) -> list[str]:
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    logits: dict[str, list[Tensor]] = {name: [] for name in rows}
    for run in rows.values():
        run(batches[0])
    for clip in batches:
        for name, run in rows.items():
            start = time.perf_counter()
            scores = run(clip)
            seconds[name].append((time.perf_counter() - start) / len(clip))
            logits[name].append(scores.float())
    labels = torch.cat([clip.label for clip in batches])
    scored = {name: torch.cat(parts) for name, parts in logits.items()}
    lines = ["| | top-1 | same label as float32 | videos/s | x float32 |", "|---|---|---|---|---|"]
    for name, scores in scored.items():
        best = scores.argmax(-1)
        same = (best == scored["float32"].argmax(-1)).float().mean()
        ratios = [a / b for a, b in zip(seconds["float32"], seconds[name], strict=True)]
        lines.append(
            f"| {name} | {100 * (best == labels).float().mean():.2f} % | {100 * same:.2f} % | "
            f"{1 / statistics.median(seconds[name]):.1f} | {statistics.median(ratios):.2f} |"
        )
    return lines
