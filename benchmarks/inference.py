"""Videos labeled per second, from file to label and model only, compared with two other models.

Clips are first re-encoded as is usual (340x256, MPEG-4 Part 2, GOP 12). Ours: 8 segments x 3 P-frames, one
view at the crop of the preset, 101 classes, random weights. File to label starts from the file name without
an index, with reading threads; for model only, the batch is in memory. X3D-S reads its frames with each
installed reader, on as many threads. CoViAR's loader needs its own build of FFmpeg, so its input preparation
is not counted. Repetitions of all rows are interleaved in changing order; medians and quartiles.

    python benchmarks/bench.py --sections inference,memory CLIP...
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from machine import installed, why_absent
from measured import ALONE, FILE, Measured
from peers import X3D, X3D_INPUT, CoViAR
from reading import in_fresh_process, interleave, memory_added
from rgb_frames import FRAME_READERS
from torch import Tensor, nn
from torch.nn import functional as F

from cvr_lightning.clip import CompressedClip, Sample, collate
from cvr_lightning.codec.arrays import ClipArrays
from cvr_lightning.datamodules.clips import read_view
from cvr_lightning.datamodules.pipelines import EvalTransform
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.inference.export import INPUTS, OUTPUT, WindowModel, random_inputs
from cvr_lightning.inference.memory import keep_freed_memory
from cvr_lightning.models import PRESETS, CompressedVideoRecognizer, Preset

BATCHES = {"cpu": (1, 16), "cuda": (1, 16, 64)}
CLASSES = 101
COVIAR, X3D_S = "CoViAR-shaped, 25 images each", "X3D-S, one view"
PEERS: dict[str, type[CoViAR] | type[X3D]] = {COVIAR: CoViAR, X3D_S: X3D}
PROTOCOL = f"{{threads}} threads, {{repetitions}} repetitions; {CLASSES} classes, random weights."
COVIAR_ABSENT = "its loader needs its own build of FFmpeg: input preparation is not counted"


@dataclass(frozen=True)
class Row:
    """A call to time.

    Attributes:
        what: Model and device.
        group: File to label, or model alone.
        batch: Videos per batch of the model.
        videos: Videos that one call labels.
        label: The call.
    """

    what: str
    group: str
    batch: int
    videos: int
    label: Callable[[], object]


def measure(
    clips: Sequence[Path],
    presets: Sequence[Preset],
    threads: int,
    repetitions: int,
    batches: Sequence[int] | None = None,
) -> list[Measured]:
    """Videos per second of the presets and the other models."""
    keep_freed_memory()  # as the commands do
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows: list[Row] = []
    for preset, device in itertools.product(presets, devices):
        for batch in batches or BATCHES[device]:
            rows += our_rows(clips, preset, device, batch, threads)
    rows += exported_rows(clips, presets, threads) if installed("onnxruntime") else []
    rows += peer_rows(clips, threads)
    times = interleave({number: row.label for number, row in enumerate(rows)}, repetitions)
    found = [
        Measured(row.what, "videos/s", tuple(row.videos / s for s in times[number]), row.group, row.batch)
        for number, row in enumerate(rows)
    ]
    without_input = [
        replace(row, group=FILE, what=f"{COVIAR}, excluding input") for row in found if row.what == COVIAR
    ]
    return sorted(found + without_input, key=lambda row: row.group)


def absences() -> dict[str, str]:
    """Libraries that are measured in part or not at all, and why."""
    packages = (*FRAME_READERS, "onnxruntime")
    reasons = {name: reason for name in packages if (reason := why_absent(name)) is not None}
    return {"CoViAR, file to label": COVIAR_ABSENT, **reasons}


def our_rows(clips: Sequence[Path], preset: Preset, device: str, batch: int, threads: int) -> list[Row]:
    """A preset from file to label and the model alone, both also under bfloat16 autocast."""
    what = preset if device == "cpu" else f"{preset}, {device}"
    paths = list(itertools.islice(itertools.cycle(clips), max(2 * batch, 8)))
    held = cut(build(preset, device), read_all(paths[:batch], build(preset).sampling))
    rows = []
    for suffix, dtype in (("", torch.float32), (", bf16", torch.bfloat16)):
        classifier = build(preset, device)
        classifier.dtype = dtype
        stream = partial(label_all, classifier, paths, batch, threads)
        alone = partial(run_model, classifier.recognizer, held, dtype)
        rows.append(Row(what, FILE + suffix, batch, len(paths), stream))
        rows.append(Row(what, ALONE + suffix, batch, batch, alone))
    return rows


def label_all(classifier: Classifier, paths: Sequence[Path], batch: int, threads: int) -> None:
    for _ in classifier.stream(paths, batch_size=batch, threads=threads):
        pass


def exported_rows(clips: Sequence[Path], presets: Sequence[Preset], threads: int) -> Iterator[Row]:
    """The presets in ONNX Runtime, one clip at a time."""
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # messages for developers of torch
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    for preset in presets:
        classifier = build(preset)
        held = cut(classifier, read_all(clips[:1], classifier.sampling))
        tensors = tuple(getattr(held, name) for name in INPUTS)
        model = WindowModel(classifier.recognizer).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = {"input_names": INPUTS, "output_names": [OUTPUT]}
            program = torch.onnx.export(model, tensors, dynamo=True, verbose=False, **names)
        graph = program.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
        feeds = {name: tensor.numpy() for name, tensor in zip(INPUTS, tensors, strict=True)}
        yield Row(f"{preset}, ONNX Runtime", ALONE, 1, 1, partial(session.run, [OUTPUT], feeds))


def peer_rows(clips: Sequence[Path], threads: int) -> Iterator[Row]:
    """The other models alone, and X3D-S with each reader of frames."""
    for name, peer in PEERS.items():
        model = peer().eval()
        yield Row(name, ALONE, 1, 1, partial(run_peer, model, model.inputs()))
    x3d, paths = X3D().eval(), list(itertools.islice(itertools.cycle(clips), 8))
    for package, read in FRAME_READERS.items():
        if installed(package):
            label = partial(label_frames, x3d, paths, read, threads)
            yield Row(f"X3D-S, {package}", FILE, 1, len(paths), label)


@torch.inference_mode()
def label_frames(
    model: nn.Module, paths: Sequence[Path], read: Callable[[Path, int], Tensor], threads: int
) -> None:
    """Label videos one at a time while threads read ahead, as our classifier does."""
    _, frames, side, _ = X3D_INPUT
    with ThreadPoolExecutor(threads) as pool:
        for pictures in pool.map(lambda path: read(path, frames), paths):
            scaled = F.interpolate(pictures.float() / 255, size=(side, side), mode="bilinear")
            model(scaled.transpose(0, 1)[None]).softmax(dim=-1).topk(5)


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
    """Collate, move and crop a batch."""
    clip = EvalTransform(classifier.sampling)(collate(samples).to(classifier.device))
    synchronize(classifier.device)
    return clip


@torch.inference_mode()
def run_model(model: nn.Module, clip: CompressedClip, dtype: torch.dtype = torch.float32) -> None:
    device = clip.mask.device.type
    with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
        model(clip)
    synchronize(device)


@torch.inference_mode()
def run_peer(model: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    model(*inputs)


def synchronize(device: torch.device | str) -> None:
    if str(device).startswith("cuda"):
        torch.cuda.synchronize()


def measure_parts(clips: Sequence[Path], presets: Sequence[Preset], repetitions: int) -> list[Measured]:
    """Milliseconds per video in a batch of 16 on the CPU, by stage."""
    paths = list(itertools.islice(itertools.cycle(clips), 16))
    rows = []
    for preset in presets:
        classifier = build(preset)
        samples = read_all(paths, classifier.sampling)
        clip = cut(classifier, samples)
        parts: dict[str, Callable[[], object]] = {
            "reading, 1 thread": partial(read_all, paths, classifier.sampling),
            "collate and crop": partial(cut, classifier, samples),
            "model": partial(run_model, classifier.recognizer, clip),
        }
        for name, seconds in interleave(parts, repetitions).items():
            each = tuple(1e3 * s / len(paths) for s in seconds)
            rows.append(Measured(name, "ms", each, f"{preset}, one video of 16"))
    return rows


def measure_memory(presets: Sequence[Preset]) -> list[Measured]:
    """MiB that each model and its first forward pass of one video add to a new process."""
    return [
        Measured(name, "MiB added", (in_fresh_process("inference", "report_memory", name),), ALONE)
        for name in (*presets, *PEERS)
    ]


def report_memory(name: str) -> None:
    torch.set_num_threads(1)
    print(memory_added(partial(run_once, name)))


def run_once(name: str) -> None:
    if name in PEERS:
        peer = PEERS[name]().eval()
        run_peer(peer, peer.inputs())
    else:
        classifier = build(name)  # type: ignore[arg-type]
        with torch.inference_mode():
            WindowModel(classifier.recognizer)(*random_inputs(classifier.sampling, clips=1))
