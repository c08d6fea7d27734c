"""Videos labelled per second, file to label, beside two peers in the same process.

Sources are first re-encoded as the field prepares its data (340x256, MPEG-4 Part 2, GOP 12). Ours: 8 segments
x 3 P-frames, one view at the preset's crop, 101 classes, random weights. With reading means from the file's
name to its label, no index at hand, on so many reading threads beside the model; without, the batch lies in
memory. The peers get their input for nothing, so reading is on our side of the scales alone. Repetitions of
all rows are interleaved in changing order; medians and quartiles.

    python benchmarks/inference.py CLIP... [--presets tiny small base] [--repetitions 5] [--output report.md]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from machine import heading
from peers import X3D, CoViAR
from reading import interleave, prepare
from torch import nn

from cvr_lightning.classify import Classifier
from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.datamodules.dataset import read_view
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.models import PRESETS, CompressedVideoRecognizer, Preset

PACKAGES = ("torch", "av", "numpy", "numba")
BATCHES = {"cpu": (1, 16), "cuda": (1, 16, 64)}
CLASSES = 101
PEERS: dict[str, type[CoViAR] | type[X3D]] = {"CoViAR-shaped, 25 images each": CoViAR, "X3D-S, one view": X3D}
REFERENCE = ("small", "cpu", 16)
"""The row that the peers are compared with."""

Row = tuple[int, Callable[[], object]]
"""Videos, and what labels them."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument(
        "--threads", type=int, default=2, help="of the model, and as many that read (default: 2)"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, help="also append the report to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        clips = [prepare(clip, Path(folder) / f"{clip.stem}.mp4") for clip in options.clips]
        report = measure(clips, options.presets, options.threads, options.repetitions)
    print(report)
    if options.output:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(report + "\n")


def measure(clips: Sequence[Path], presets: Sequence[Preset], threads: int, repetitions: int) -> str:
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows: dict[str, Row] = {}
    for preset, device in itertools.product(presets, devices):
        for batch in BATCHES[device]:
            rows |= our_rows(clips, preset, device, batch, threads)
    for name, peer in PEERS.items():
        model = peer().eval()
        rows[name] = (1, partial(run_peer, model, model.inputs()))
    times = interleave({name: label for name, (_, label) in rows.items()}, repetitions)
    rates = {name: [videos / seconds for seconds in times[name]] for name, (videos, _) in rows.items()}
    protocol = f"{threads} threads, {repetitions} repetitions; {CLASSES} classes, random weights."
    lines = [heading("Inference, file to label", PACKAGES, protocol), ""]
    lines += [*rate_table(rates), "", *split_table(clips, presets, repetitions)]
    return "\n".join(lines)


def our_rows(clips: Sequence[Path], preset: Preset, device: str, batch: int, threads: int) -> dict[str, Row]:
    """A preset with reading and without, and without under bfloat16 autocast."""
    classifier, in_bf16 = build(preset, device), build(preset, device)
    in_bf16.dtype = torch.bfloat16
    paths = list(itertools.islice(itertools.cycle(clips), 3 * max(batch, 8)))
    held = cut(classifier, read_all(paths[:batch], classifier.sampling))
    model = classifier.recognizer
    rows: dict[str, Row] = {
        row_name(preset, device, batch, "with reading"): (
            len(paths),
            lambda: list(classifier.stream(paths, batch_size=batch, threads=threads)),
        ),
        row_name(preset, device, batch, "with reading, bf16"): (
            len(paths),
            lambda: list(in_bf16.stream(paths, batch_size=batch, threads=threads)),
        ),
        row_name(preset, device, batch, "model"): (batch, partial(run_model, model, held)),
        row_name(preset, device, batch, "model, bf16"): (
            batch,
            partial(run_model, model, held, torch.bfloat16),
        ),
    }
    return rows


def row_name(preset: str, device: str, batch: int, what: str) -> str:
    return f"{preset}, {device}, batch {batch}, {what}"


def build(preset: Preset, device: str = "cpu") -> Classifier:
    names = [str(number) for number in range(CLASSES)]
    model = CompressedVideoRecognizer(CLASSES, preset=preset)
    return Classifier(model, names, ClipSampling(crop=PRESETS[preset].crop), device=device)


def read_all(paths: Sequence[Path], sampling: ClipSampling) -> list[Sample]:
    samples = []
    for number, path in enumerate(paths):
        arrays = read_view(path, sampling, 0)
        assert isinstance(arrays, ClipArrays)
        samples.append(Sample(number, 0, -1, str(path), arrays))
    return samples


def cut(classifier: Classifier, samples: Sequence[Sample]) -> CompressedClip:
    """The batch as the model takes it: collated, moved and cropped."""
    clip = EvalTransform(classifier.sampling)(collate(samples).to(classifier.device))
    synchronise(classifier.device)
    return clip


@torch.inference_mode()
def run_model(model: nn.Module, clip: CompressedClip, dtype: torch.dtype | None = None) -> None:
    device = clip.mask.device.type
    with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
        model(clip)
    synchronise(device)


@torch.inference_mode()
def run_peer(model: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    model(*inputs)


def synchronise(device: torch.device | str) -> None:
    if str(device).startswith("cuda"):
        torch.cuda.synchronize()


def rate_table(rates: dict[str, list[float]]) -> list[str]:
    """Videos per second of each row; ours with reading over each peer without."""
    lines = ["| | videos/s | quartiles |", "|---|---|---|"]
    for name, values in rates.items():
        low, middle, high = statistics.quantiles(values, n=4)
        lines.append(f"| {name} | {middle:.3g} | {low:.3g} - {high:.3g} |")
    for what in ("with reading", "with reading, bf16"):
        ours = rates.get(row_name(*REFERENCE, what))
        if ours is None:
            continue
        lines += ["", f"| {row_name(*REFERENCE, what)} over | times |", "|---|---|"]
        for name in PEERS:
            # Repetition by repetition: a slow moment of the machine slows both.
            ratios = [our / its for our, its in zip(ours, rates[name], strict=True)]
            lines.append(f"| {name} | {statistics.median(ratios):.3g} |")
    return lines


def split_table(clips: Sequence[Path], presets: Sequence[Preset], repetitions: int) -> list[str]:
    """Milliseconds of one video in a batch of 16 on the CPU, one part after the other."""
    lines = [
        "| ms a video, batch 16, CPU | reading, 1 thread | collate and crop | model |",
        "|---|---|---|---|",
    ]
    paths = list(itertools.islice(itertools.cycle(clips), 16))
    for preset in presets:
        classifier = build(preset)
        samples = read_all(paths, classifier.sampling)
        clip = cut(classifier, samples)
        parts: dict[str, Callable[[], object]] = {
            "reading": partial(read_all, paths, classifier.sampling),
            "collate": partial(cut, classifier, samples),
            "model": partial(run_model, classifier.recognizer, clip),
        }
        seconds = interleave(parts, repetitions)
        cells = [f"{1e3 * statistics.median(times) / len(paths):.1f}" for times in seconds.values()]
        lines.append(f"| {preset} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
