"""Formats a survey as text and as JSON values."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

from cvr_lightning.codec.arrays import BlockMode
from cvr_lightning.files.printable import counted, printable
from cvr_lightning.tools.inspect.survey import Survey

MODE_NAMES = {
    BlockMode.SKIPPED: "skipped",
    BlockMode.INTER: "inter",
    BlockMode.INTER4V: "inter-4MV",
    BlockMode.INTRA: "intra",
    BlockMode.INTRA_PREDICTED: "intra, predicted",
}
_MODALITY_NAMES = {"iframes": "I-frames", "motion": "motion vectors", "residual": "residuals"}
_DAMAGES_SHOWN = 3


def as_text(survey: Survey) -> str:
    """Format a survey as aligned lines."""
    rows = [
        ("codec", codec_text(survey)),
        ("size", size_text(survey)),
        ("frames", frames_text(survey)),
        ("GOPs", gops_text(survey.info.gop_lengths)),
        ("bitrate", bitrate_text(survey)),
        ("blocks", blocks_text(survey)),
        ("vectors", vectors_text(survey)),
        ("parser", f"{survey.parser}: {survey.reason}"),
        ("readable", readable_text(survey)),
        *(("damage", text) for text in _damage(survey)),
        ("prepare", f"{survey.advice.verdict}: {survey.advice.why}"),
        *(("", command) for command in survey.advice.commands),
    ]
    return "\n".join([printable(survey.path), *(f"  {name:<9} {printable(text)}" for name, text in rows)])


def as_dict(survey: Survey) -> dict[str, Any]:
    """Convert a survey to plain values; unknown ones are None."""
    info, statistics_ = survey.info, survey.pframes
    return {
        "file": survey.path,
        "file_bytes": survey.file_bytes,
        "container": survey.container,
        "codec": info.codec,
        "profile": info.profile or None,
        "pixel_format": info.pixel_format,
        "width": info.width,
        "height": info.height,
        "rotation": info.rotation,
        "fps": info.fps or None,
        "duration_s": info.duration or None,
        "frames": info.num_frames,
        "frame_types": info.frame_types,
        "gop_lengths": list(info.gop_lengths),
        "bitrate_bit_per_s": info.bit_rate or None,
        "bits_of_frames": survey.bits.tolist(),
        "pframes_read": 0 if statistics_ is None else len(statistics_.frames),
        "blocks": {MODE_NAMES[mode]: survey.fraction(mode) for mode in survey.modes},
        "vector_mean_px": None if statistics_ is None else float(statistics_.mean_px.mean()),
        "vector_longest_px": None if statistics_ is None else float(statistics_.longest_px.max()),
        "parser": survey.parser,
        "reason": survey.reason,
        "readable": list(survey.readable),
        "refusal": survey.refusal or None,
        "damage": list(survey.damage),
        "prepare": {
            "verdict": survey.advice.verdict,
            "why": survey.advice.why,
            "commands": list(survey.advice.commands),
        },
    }


def codec_text(survey: Survey) -> str:
    """Codec, profile, pixel format and container."""
    info = survey.info
    profile = f" ({info.profile})" if info.profile else " (no profile stated)"
    return f"{info.codec}{profile}, {info.pixel_format or 'pixel format unknown'}, in {survey.container}"


def size_text(survey: Survey) -> str:
    """Display size and file size."""
    info = survey.info
    turned = f", turned by {info.rotation} degrees for display" if info.rotation else ""
    return f"{info.width}x{info.height} pixels{turned}; file {survey.file_bytes:,} bytes"


def frames_text(survey: Survey) -> str:
    """Number of frames of each type, rate and duration."""
    info = survey.info
    rate = f"{info.fps:.2f} frames/s" if info.fps else "frame rate unknown"
    duration = f"{info.duration:.2f} s" if info.duration else "duration unknown"
    types = Counter(info.frame_types)
    counts = [f"{types.pop(kind, 0)} {kind}" for kind in "IPB"]
    counts += [f"{types.pop('?')} of unread type"] if "?" in types else []
    counts += [f"{count} {kind}" for kind, count in sorted(types.items())]
    return f"{info.num_frames} ({', '.join(counts)}), {rate}, {duration}"


def gops_text(lengths: tuple[int, ...]) -> str:
    """Number and lengths of GOPs, in frames."""
    if not lengths:
        return "none: no I-frame"
    if len(lengths) <= 6:
        return f"{len(lengths)} of {', '.join(map(str, lengths))} frames"
    low, high = min(lengths), max(lengths)
    span = (
        f"{low} frames" if low == high else f"{low} to {high} frames, median {statistics.median(lengths):g}"
    )
    return f"{len(lengths)} of {span}"


def bitrate_text(survey: Survey) -> str:
    """Bit rate, and mean size of a frame of each type."""
    info = survey.info
    rate = f"{info.bit_rate / 1000:.1f} kbit/s" if info.bit_rate else "unknown, since the duration is unknown"
    means = []
    for kind in "IPB":
        bits = [int(n) for n, of in zip(survey.bits, info.frame_types, strict=True) if of == kind]
        means += [f"{kind} {statistics.fmean(bits) / 1000:.1f}"] if bits else []
    return f"{rate}; mean of a frame in kbit: {', '.join(means)}" if means else rate


def blocks_text(survey: Survey) -> str:
    """Block modes of the P-frames."""
    if survey.pframes is None:
        return "unknown: no P-frame can be read"
    fractions = ((survey.mode_name(mode, MODE_NAMES[mode]), survey.fraction(mode)) for mode in survey.modes)
    parts = ", ".join(
        f"{name} {100 * fraction:.1f} %" for name, fraction in fractions if fraction is not None
    )
    total = survey.info.frame_types.count("P")
    return f"{parts} (8x8 blocks of {len(survey.pframes.frames)} of {total} P-frames)"


def vectors_text(survey: Survey) -> str:
    """Mean and maximum length of the motion vectors."""
    if survey.pframes is None:
        return "unknown: no P-frame can be read"
    return f"mean {survey.pframes.mean_px.mean():.2f} px, longest {survey.pframes.longest_px.max():.1f} px"


def readable_text(survey: Survey) -> str:
    """Fields that the reader delivers."""
    names = ", ".join(_MODALITY_NAMES[modality] for modality in survey.readable) or "nothing"
    return f"{names}; not more: {survey.refusal}" if survey.refusal else names


def _damage(survey: Survey) -> list[str]:
    if not survey.damage:
        return ["none found in what was read"]
    more = len(survey.damage) - _DAMAGES_SHOWN
    return [*survey.damage[:_DAMAGES_SHOWN], *([f"and {counted(more, 'more frame')}"] if more > 0 else [])]
