"""``cvr summarize``: parameters, operations and energy of a model per video."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.datamodules.clips import read_clip
from cvr_lightning.datamodules.motion_scenes import draw_shot
from cvr_lightning.datamodules.motion_video import write_video
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.energy.costs import CostTableName
from cvr_lightning.energy.counting import OperationReport, count_parameters
from cvr_lightning.energy.per_video import cost_results, count_clips
from cvr_lightning.energy.table import spikes_text
from cvr_lightning.files.printable import count_text, counted, printable
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.models import PRESETS, CompressedVideoRecognizer, Preset

_MOST = 10_000
"""Largest count that an option takes."""
_MOTIONS = ("left", "rotate_clockwise", "zoom_in")


def summary(recognizer: nn.Module, report: OperationReport, clips: int) -> dict[str, Any]:
    """The command's output, with the keys of results.json where they have the same meaning."""
    return {
        "parameters": count_parameters(recognizer),
        "gmac_by_part": {part: gmac * clips for part, gmac in report.gmac_by_part().items()},
        **cost_results(report, clips),
    }


def _text(about: str, result: dict[str, Any], steps: int) -> str:
    total, energy = result["gmac_per_video"], result["energy_j_per_video"]
    sparsity = result["activation_sparsity"]
    lines = [about, "", f"  {'part':<16} {'GMAC':>8} {'fraction':>8}"]
    lines += [f"  {part:<16} {g:8.3f} {100 * g / total:6.1f} %" for part, g in result["gmac_by_part"].items()]
    lines += [
        f"  {'all':<16} {total:8.3f}",
        "",
        f"  parameters            {count_text(result['parameters'])}",
        f"  effective MACs        {result['effective_gmac_per_video']:.3f} G",
        f"  effective ACs         {result['effective_gac_per_video']:.4f} G",
        f"  activation sparsity   {'-' if sparsity is None else f'{100 * sparsity:.1f} %'}",
        f"  mJ/video theoretical  {1e3 * energy['theoretical']:.2f}  ({energy['includes']})",
    ]
    layers, break_even = result["spikes_per_neuron"], result["break_even_spikes"]
    if layers:
        lines += ["", f"  spikes of a neuron in {counted(steps, 'step')}"]
    lines += [f"    {name:<40} {spikes_text(spikes, break_even)}" for name, spikes in layers.items()]
    return "\n".join(lines)


def _generated(folder: Path, groups: int) -> list[str]:
    """Generate videos with motions of MotionShapes and an I-frame for each segment."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{name}.mp4" for name in _MOTIONS]
    for path, name in zip(paths, _MOTIONS, strict=True):
        write_video(path, [draw_shot(rng) for _ in range(groups)], name)
    return [str(path) for path in paths]


def _batches(files: Sequence[str], sampling: ClipSampling) -> list[CompressedClip]:
    """The middle view of each file, its crops as one batch."""
    crop = EvalTransform(sampling)
    return [crop(collate([Sample(0, 0, -1, file, read_clip(file, sampling))])) for file in files]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cvr summarize",
        description="Parameters, operations by part and theoretical energy of a model, per video. "
        "Spikes are counted on the given videos, or on generated ones.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--preset", choices=get_args(Preset), help="a model with random weights")
    which.add_argument("--checkpoint", metavar="CKPT", help="checkpoint written by cvr fit")
    parser.add_argument("files", nargs="*", metavar="FILE", help="videos on which spikes are counted")
    parser.add_argument("--classes", type=int, default=400, metavar="N", help="of a preset (default: 400)")
    parser.add_argument("--segments", type=int, default=8, metavar="N", help="of a preset (default: 8)")
    parser.add_argument("--pframes", type=int, default=3, metavar="T", help="of a preset (default: 3)")
    parser.add_argument("--crop", type=int, metavar="PX", help="of a preset (default: its design crop)")
    parser.add_argument(
        "--costs", choices=get_args(CostTableName), default="45nm-fp32", help="energy of an operation"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with the keys of results.json")
    return parser


def _preset(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> tuple[CompressedVideoRecognizer, ClipSampling]:
    """A preset with random weights, and how its clips are read."""
    for name in ("classes", "segments", "pframes"):
        if not 1 <= getattr(options, name) <= _MOST:
            parser.error(f"--{name} {getattr(options, name)}: must be from 1 to {_MOST}")
    crop = PRESETS[options.preset].crop if options.crop is None else options.crop
    try:
        sampling = ClipSampling(segments=options.segments, pframes=options.pframes, crop=crop)
    except ValueError as error:
        parser.error(f"--crop {crop}: {error}")
    torch.manual_seed(0)
    return CompressedVideoRecognizer(options.classes, options.preset, sampling.residual_channels), sampling


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr summarize``."""
    parser = _parser()
    options = parser.parse_args(arguments)
    recognizer: nn.Module
    if options.checkpoint is not None:
        classifier = Classifier.from_checkpoint(options.checkpoint)
        recognizer, sampling, name = classifier.recognizer, classifier.sampling, options.checkpoint
    else:
        recognizer, sampling = _preset(parser, options)
        name = f"{options.preset}, random weights, {counted(options.classes, 'class', 'classes')}"
    with tempfile.TemporaryDirectory() as folder:
        files = options.files or _generated(Path(folder), sampling.segments)
        batches = _batches(files, sampling)
    recognizer.eval()
    clips = sampling.views * sampling.crops
    result = summary(recognizer, count_clips(recognizer, batches, options.costs), clips)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    videos = counted(len(files), f"{'given' if options.files else 'generated'} video")
    clip = (
        f"{sampling.views} x {sampling.crops} crops of {sampling.segments} segments x {sampling.pframes} "
        f"P-frames, {sampling.crop} px"
    )
    print(_text(f"{printable(name)}\n{clip}; spikes counted on {videos}", result, sampling.pframes))
