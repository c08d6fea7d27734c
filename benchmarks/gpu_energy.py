"""Joules per video by the card's counter, in all and above idle power, and the theoretical number.

The models run alone, back to back, on a batch that lies on the card. The counter covers the whole card, not
the processor that feeds it. The theoretical number counts operations at 45 nm: it ranks models, and does
not predict this card's energy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from gpu_device import Note, Plan, Records, clips, device, synchronize
from gpu_models import forward
from inference import X3D_S, build, cut, read_all
from measured import Measured
from peers import X3D, count_peer

from cvr_lightning.energy.counters import EnergyCounter, gpu_uuid, open_counters
from cvr_lightning.energy.per_video import count_clips

TITLE = "Energy"
PROTOCOL = (
    "One view per video, models alone, bf16 autocast; counter of the card. Theoretical: operations at 45 nm, "
    "float32, compute only."
)
BATCH = 64


def measure(plan: Plan) -> Records:
    counters, missing = open_counters(None, gpu_uuid(device()))
    card = [counter for counter in counters if counter.name.startswith("NVML")]
    batch = 1 if plan.is_dry else BATCH
    watts = 0.0
    if card:
        watts = power(card[0], lambda: time.sleep(0.05), plan.idle_s)[0]
        yield Measured("the card, idle with a CUDA context", "W", (watts,), "power")
    else:
        yield Note("joules per video", "; ".join(missing) or "the counters cover no card")
    for preset in plan.presets:
        classifier = build(preset, str(device()))
        held = cut(classifier, read_all(clips(plan), classifier.sampling))
        report = count_clips(classifier.recognizer, [held.take(torch.arange(1, device=device()))])
        clip = held.take(torch.arange(batch, device=device()) % len(held))
        call = partial(forward, classifier.recognizer, clip, dtype=torch.bfloat16)
        yield Measured(preset, "mJ/video", (1e3 * report.energy_j,), "theoretical")
        yield from per_video(preset, card, call, batch, watts, plan)
    x3d = X3D().eval()
    inputs = x3d.inputs()
    yield Measured(X3D_S, "mJ/video", (1e3 * count_peer(x3d, inputs).energy_j,), "theoretical")
    views = inputs[0].repeat(batch, 1, 1, 1, 1).to(device())
    call = partial(forward, x3d.to(device()), views, dtype=torch.bfloat16)
    yield from per_video(X3D_S, card, call, batch, watts, plan)


def per_video(
    what: str,
    card: list[EnergyCounter],
    call: Callable[[], object],
    batch: int,
    idle_watts: float,
    plan: Plan,
) -> Records:
    """Millijoules per video, all of the card's and those above idle, and the rate meanwhile."""
    call()
    synchronize()
    for counter in card:
        watts, calls_per_s = power(counter, call, plan.busy_s)
        rate = batch * calls_per_s
        yield Measured(what, "W", (watts,), "power")
        yield Measured(what, "mJ/video", (1e3 * watts / rate,), "measured, whole card", batch)
        yield Measured(what, "mJ/video", (1e3 * (watts - idle_watts) / rate,), "measured, above idle", batch)
        yield Measured(what, "videos/s", (rate,), "meanwhile", batch)


def power(counter: EnergyCounter, call: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Mean watts while a call is repeated for some seconds, and calls per second."""
    calls, start, before = 0, time.perf_counter(), counter.read()
    while (took := time.perf_counter() - start) < seconds:
        call()
        synchronize()
        calls += 1
    return (counter.read() - before) / took, calls / took
