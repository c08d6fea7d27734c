"""The golden loss curve: ten steps of the smallest preset on generated clips, on one thread.

A change that should not alter the computation gives the same losses; one that should is renewed by

    PYTHONPATH=tests python tests/helpers/golden_losses.py

and the commit says why.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.training.loss import cross_entropy, modality_cross_entropy
from cvr_lightning.training.module import RecognitionModule
from cvr_lightning.training.optimizer import parameter_groups
from helpers.factories import make_clip

FILE = Path(__file__).parents[1] / "golden" / "losses.json"
STEPS = 10


def losses() -> list[float]:
    """Losses of the steps, dropout, decay and clipping included."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        module = RecognitionModule(list("abcde"), residual_channels=6, preset="tiny")
        optimizer = torch.optim.AdamW(parameter_groups(module, module.weight_decay), lr=1e-3)
        clip = panned(make_clip(batch=4))
        return [step(module, optimizer, clip) for _ in range(STEPS)]
    finally:
        torch.set_num_threads(threads)


def panned(clip: CompressedClip) -> CompressedClip:
    """The clips under a camera that moves: each by a displacement of its own, so that no block is skipped."""
    pan_B2 = 2.0 * torch.randn(len(clip), 2)
    motion = clip.motion + pan_B2[:, None, None, :, None, None]
    return clip.with_tensors(motion=motion, modes=torch.full_like(clip.modes, BlockMode.INTER.value))


def step(module: RecognitionModule, optimizer: torch.optim.Optimizer, clip: CompressedClip) -> float:
    logits = module.recognizer.modality_logits(clip)
    loss = cross_entropy(logits.mean(), clip, module.label_smoothing)
    loss = loss + module.modality_loss * modality_cross_entropy(logits, clip, module.label_smoothing)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    return loss.item()


if __name__ == "__main__":
    FILE.write_text(json.dumps(losses(), indent=2) + "\n")
