"""Half precision, compilation and memory layout: what stays float32, and that nothing is compiled twice."""

from collections.abc import Callable

import torch
from helpers.factories import make_clip
from torch import Tensor, fx

from cvr_lightning.clip import CompressedClip
from cvr_lightning.models import CompressedVideoRecognizer


def test_membranes_stay_in_float32(recognizer: CompressedVideoRecognizer, clip: CompressedClip) -> None:
    def states(model: CompressedVideoRecognizer) -> list[Tensor]:
        features = model.encode_iframes(clip.iframes[:, :1].expand(-1, 3, -1, -1, -1))
        in_force = type(features)(*(feature.flatten(0, 1) for feature in features))
        state = model.pframe_encoder(model.pframes(clip), in_force).state
        return [tensor for stage in state for tensor in (*stage.neurons, stage.readout)]

    with torch.no_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = states(recognizer)
        whole = states(recognizer.bfloat16())
    assert {tensor.dtype for tensor in (*mixed, *whole)} == {torch.float32}


def test_a_whole_model_in_bfloat16_agrees_with_float32(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    with torch.no_grad():
        full = recognizer(clip).softmax(-1)
        half = recognizer.bfloat16()(clip)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float().softmax(-1), full, rtol=0, atol=0.05)


class Compilations:
    """A backend that runs what it is given and counts the graphs."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        self.count += 1
        return graph.forward


def test_the_recognizer_compiles_to_one_graph_and_other_batches_to_no_more_than_one_more(
    recognizer: CompressedVideoRecognizer,
) -> None:
    torch.compiler.reset()
    backend = Compilations()
    compiled = torch.compile(recognizer, backend=backend, fullgraph=True)  # an error where the graph breaks
    with torch.no_grad():
        for batch, count in ((7, 1), (9, 2), (11, 2), (13, 2)):  # no other axis has one of these sizes
            clip = make_clip(batch, side=32)
            torch.testing.assert_close(compiled(clip), recognizer(clip))
            assert backend.count == count
