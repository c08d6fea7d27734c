"""A checkpoint's model as a ``torch.export`` or ONNX graph."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from cvr_lightning.clip import CompressedClip
from cvr_lightning.codec.arrays import BLOCK, BlockMode
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.errors import UserError
from cvr_lightning.evaluation.provenance import versions
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.inference.classify import Classifier

INPUTS = ("iframes", "iframe_index", "motion", "residual", "modes", "mask")
"""Input names of the graph: cropped fields of :class:`~cvr_lightning.clip.CompressedClip`."""
OUTPUT = "logits"
TOLERANCE = 1e-4
"""Largest allowed difference between a logit of the model and of the graph."""
METADATA_FILE = "cvr_lightning.json"
"""Name of the metadata in a .pt2 archive."""
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Run = Callable[..., Tensor]


class ExportError(UserError):
    """A model cannot be exported as requested."""


class WindowModel(nn.Module):
    """The recognizer as a function of tensors.

    Args:
        recognizer: The model.
    """

    def __init__(self, recognizer: nn.Module) -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(
        self,
        iframes: Tensor,
        iframe_index: Tensor,
        motion: Tensor,
        residual: Tensor,
        modes: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """Logits (B, classes); shapes, types and units as in :class:`~cvr_lightning.clip.CompressedClip`."""
        unused = iframe_index[:, 0]  # label, video, view and age are not used
        fields = (iframes, iframe_index, motion, residual, modes, mask, mask.long())
        clip = CompressedClip(*fields, unused, unused, unused)
        logits: Tensor = self.recognizer(clip)
        return logits


def export_model(checkpoint: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Export a checkpoint's model, with its metadata as JSON next to it.

    The numbers of clips B and I-frames K are dynamic; N segments, T P-frames and the crop are those of the
    checkpoint's sampling. The graph is compared with the model on random clips before the file is put in
    place.

    Args:
        checkpoint: Checkpoint of ``cvr fit``.
        output: File to write, ``.pt2`` for ``torch.export`` or ``.onnx`` for ONNX.

    Returns:
        Path of the metadata.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or not of this package.
        ExportError: The suffix is unknown, a package is missing, the model is of the pixel representation, or
            the graph gives other results.
    """
    output = Path(output)
    write = {".onnx": _write_onnx, ".pt2": _write_pt2}.get(output.suffix)
    if write is None:
        raise ExportError(f"{output}: unknown suffix {output.suffix!r}; use .onnx or .pt2")
    if output.suffix == ".onnx":
        _require_onnx(output)
    loaded = Classifier.from_checkpoint(checkpoint)
    if loaded.sampling.representation == "pixel":
        raise ExportError(f"{checkpoint}: models of the pixel representation cannot be exported")
    model = WindowModel(loaded.recognizer).eval()
    about = metadata(loaded)
    description = output.with_name(output.name + ".json")
    with torch.no_grad(), atomic_path(output) as model_path, atomic_path(description) as metadata_path:
        run = write(model, loaded.sampling, about, model_path)
        _compare(run, model, random_inputs(loaded.sampling, clips=3), output)
        metadata_path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return description


def metadata(model: Classifier) -> dict[str, Any]:
    """What using the graph without the checkpoint needs, as plain numbers, strings and lists."""
    sampling = model.sampling
    free = {"iframes": ["clips", "iframes"]}
    inputs = {
        name: {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": [*(first := free.get(name, ["clips"])), *tensor.shape[len(first) :]],
        }
        for name, tensor in zip(INPUTS, random_inputs(sampling, clips=1), strict=True)
    }
    return {
        "class_names": list(model.class_names),
        "sampling": sampling.to_dict(),
        "inputs": inputs,
        "output": {"name": OUTPUT, "dtype": "float32", "shape": ["clips", len(model.class_names)]},
        "versions": versions(),
    }


def random_inputs(sampling: ClipSampling, clips: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Valid random inputs of the graph for B clips of N I-frames each."""
    draw = torch.Generator().manual_seed(seed)
    n, t, side = sampling.segments, sampling.pframes, sampling.crop
    grid = (side // BLOCK, side // BLOCK)
    modes = torch.randint(0, BlockMode.OUTSIDE, (clips, n, t, *grid), generator=draw, dtype=torch.uint8)
    coded = (modes != BlockMode.SKIPPED)[:, :, :, None]
    motion = 3 * torch.randn(clips, n, t, 2, *grid, generator=draw) * coded
    residual = 20 * torch.randn(clips, n, t, sampling.residual_channels, *grid, generator=draw) * coded
    iframes = torch.randint(0, 256, (clips, n, 3, side, side), generator=draw, dtype=torch.uint8)
    index = torch.randint(0, n, (clips, n), generator=draw).sort().values
    return iframes, index, motion, residual, modes, torch.ones(clips, n, t, dtype=torch.bool)


def _dynamic_shapes(sampling: ClipSampling) -> dict[str, dict[int, Any]]:
    clips = Dim("clips")
    shapes: dict[str, dict[int, Any]] = {name: {0: clips} for name in INPUTS}
    if sampling.segments > 1:  # a dimension of size 1 cannot be dynamic
        shapes["iframes"][1] = Dim("iframes")
    return shapes


def _export(model: WindowModel, sampling: ClipSampling) -> ExportedProgram:
    inputs = random_inputs(sampling, clips=2)
    program = torch.export.export(model, inputs, dynamic_shapes=_dynamic_shapes(sampling))
    program.example_inputs = None  # saving them would take more space than the weights
    return program


def _write_pt2(model: WindowModel, sampling: ClipSampling, about: dict[str, Any], path: Path) -> Run:
    with open(path, "wb") as file:  # given a path, torch would insist on its suffix
        torch.export.save(_export(model, sampling), file, extra_files={METADATA_FILE: json.dumps(about)})
    with open(path, "rb") as file:
        run: Run = torch.export.load(file).module()
    return run


def _write_onnx(model: WindowModel, sampling: ClipSampling, about: dict[str, Any], path: Path) -> Run:
    import onnxruntime

    with _quiet():
        program = torch.onnx.export(
            _export(model, sampling),
            input_names=INPUTS,
            output_names=[OUTPUT],
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        for name, value in about.items():
            program.model.metadata_props[name] = json.dumps(value)
        program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> Tensor:
        feeds = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
        return torch.from_numpy(session.run([OUTPUT], feeds)[0])

    return run


def _compare(run: Run, model: WindowModel, inputs: Sequence[Tensor], output: Path) -> None:
    """Refuse a graph whose results differ from the model's.

    Two of three clips must agree: another order of summation may change the spike of a neuron right at its
    threshold.
    """
    differences = (run(*inputs) - model(*inputs)).abs().amax(dim=1)
    if not float(differences.median()) <= TOLERANCE:  # also true for NaN
        raise ExportError(
            f"{output}: not written: its logits differ from the model's by {differences.tolist()}; try "
            "the versions in constraints.txt, or the other format"
        )


def _require_onnx(output: Path) -> None:
    missing = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"{output}: ONNX needs {', '.join(missing)}: pip install 'cvr-lightning[export]', or write a .pt2"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress torch's diagnostics during export."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
