"""Top-1 and speed of a trained model under other precisions: float32, bfloat16, float16, int8.

The test subset is read once; every precision then scores the same clips, batch by batch in turn, so that a
slow moment of the machine hits all alike. ``int8`` quantises the linear layers dynamically (weights int8,
activations at run time). One thread unless asked otherwise.

    python benchmarks/precision.py CKPT --root data/motion_shapes/test [--limit 200] [--output report.md]

ROOT holds one folder per class, named as the checkpoint's classes.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from machine import heading
from torch import Tensor, nn

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.datamodules.dataset import read_view
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.inference.classify import Classifier

BATCH = 10
Run = Callable[[CompressedClip], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--root", type=Path, required=True, help="test videos, one folder per class")
    parser.add_argument("--limit", type=int, help="videos to score (default: all)")
    parser.add_argument("--rows", nargs="+", help="precisions to score beside float32 (default: all)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="also append the report to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    classifier = Classifier.from_checkpoint(options.checkpoint)
    batches = read(classifier, options.root, options.limit)
    protocol = (
        f"{options.threads} threads, batches of {BATCH}, {sum(map(len, batches))} videos, reading excluded."
    )
    rows = precisions(classifier.recognizer)
    if options.rows:
        rows = {name: rows[name] for name in ("float32", *options.rows)}
    report = "\n".join([heading("Precision", ("torch",), protocol), "", *table(rows, batches)])
    print(report)
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(report + "\n")


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


if __name__ == "__main__":
    main()
