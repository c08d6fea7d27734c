"""Videos per second of the models alone, by batch: float32, bfloat16, compiled, as a CUDA graph; and peers.

Inputs lie on the card. float32 is PyTorch's default: convolutions in TF32, matrix products in full float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from gpu_device import Note, Plan, Records, clips, device, guarded, peak_mib, per_call, reason
from inference import COVIAR, X3D_S, build, cut, read_all
from measured import Measured
from peers import X3D, CoViAR
from torch import Tensor, nn

from cvr_lightning.clip import CompressedClip

TITLE = "Models alone"
PROTOCOL = (
    "8 segments x 3 P-frames, one view at the preset's crop, 101 classes, inputs on the card; "
    "float32 with TF32 convolutions, bf16 as autocast."
)
Call = Callable[[], object]


def measure(plan: Plan) -> Records:
    """The plain passes and the peers, then the compilers, which take long and may not end in time."""
    held = {}
    for preset in plan.presets:
        classifier = build(preset, str(device()))
        clip = cut(classifier, read_all(clips(plan), classifier.sampling))
        held[preset] = classifier.recognizer, clip
        for batch in plan.batches:
            rates = _rates(preset, batch, ways(classifier.recognizer, _repeated(clip, batch)), plan)
            yield from guarded(f"{preset}, batch {batch}", rates, plan)
    yield from _peers(plan)
    for batch in plan.compiled:
        for preset, (model, clip) in held.items():
            rates = _with_compilers(preset, batch, model, _repeated(clip, batch), plan)
            yield from guarded(f"{preset}, compilers, batch {batch}", rates, plan)


def _repeated(clip: CompressedClip, batch: int) -> CompressedClip:
    """A batch of the same few clips."""
    return clip.take(torch.arange(batch, device=clip.mask.device) % len(clip))


def ways(model: nn.Module, clip: CompressedClip) -> dict[str, Call]:
    """Forward passes of a model, by precision."""
    return {
        "float32": partial(forward, model, clip),
        "bf16": partial(forward, model, clip, dtype=torch.bfloat16),
    }


@torch.inference_mode()
def forward(model: nn.Module, *inputs: object, dtype: torch.dtype = torch.float32) -> Tensor:
    with torch.autocast(device().type, dtype=dtype, enabled=dtype != torch.float32):
        output: Tensor = model(*inputs)
    return output


def _rates(what: str, batch: int, calls: dict[str, Call], plan: Plan) -> Records:
    for way, seconds in per_call(calls, plan).items():
        yield Measured(what, "videos/s", tuple(batch / s for s in seconds), way, batch)
    for way, call in calls.items():
        peak = peak_mib(call)
        if peak is not None:
            yield Measured(what, "MiB of activations", (peak,), way, batch)


def _with_compilers(what: str, batch: int, model: nn.Module, clip: CompressedClip, plan: Plan) -> Records:
    """bfloat16 with its kernels fused, and with its launches recorded, beside the plain pass."""
    plain = ways(model, clip)["bf16"]
    calls = {"bf16": plain}
    for way, prepare in {"bf16, compiled": _compiled, "bf16, CUDA graph": _captured}.items():
        try:
            call = prepare(model, clip, plan)
            difference = float((call() - plain()).abs().max())  # type: ignore[operator]
        except Exception as error:  # whatever a compiler raises
            yield Note(f"{what}, {way}, batch {batch}", reason(error))
            continue
        calls[way] = call
        yield Measured(what, "largest difference of a logit", (difference,), way, batch)
    del calls["bf16"]
    if calls:
        yield from _rates(what, batch, calls, plan)


def _compiled(model: nn.Module, clip: CompressedClip, plan: Plan) -> Call:
    torch.compiler.reset()
    backend = "eager" if plan.is_dry else "inductor"
    return partial(forward, torch.compile(model, dynamic=False, backend=backend), clip, dtype=torch.bfloat16)


def _captured(model: nn.Module, clip: CompressedClip, plan: Plan) -> Call:
    """Record the kernels of a pass once; a call launches them together."""
    if not torch.cuda.is_available():
        raise RuntimeError("no GPU")
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
        with torch.cuda.stream(stream):  # kernels are loaded before they are recorded
            for _ in range(3):
                model(clip)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            output = model(clip)

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


def _peers(plan: Plan) -> Records:
    """X3D-S in batches of views; CoViAR's networks on 25 images of each kind for every video."""
    peers = {X3D_S: (X3D, plan.peer_batches), COVIAR: (CoViAR, plan.peer_batches[:2])}
    for name, (kind, batches) in peers.items():
        model: nn.Module = kind().eval().to(device())
        one = [tensor[:1] if plan.is_dry else tensor for tensor in kind.inputs()]
        for batch in batches:
            inputs = [tensor.to(device()).repeat(batch, *[1] * (tensor.ndim - 1)) for tensor in one]
            calls = {
                "float32": partial(forward, model, *inputs),
                "bf16": partial(forward, model, *inputs, dtype=torch.bfloat16),
            }
            yield from guarded(f"{name}, batch {batch}", _rates(name, batch, calls, plan), plan)
