"""Global motion compensation: global motion per P-frame, and motion vectors relative to it.

A pan moves every block of a frame and hides the motion of an action. Global motion is estimated as the median
of a frame's vectors, since background fills most blocks of most frames. Wang and Schmid, "Action recognition
with improved trajectories" (ICCV 2013), estimate camera motion from decoded images; here sorting the vectors
is enough.

Global motion may itself be the action (SS-v2 has the class "turning the camera left"), so it also feeds the
first neurons, as a spatially uniform current.

Shape suffixes: B clips, N segments of a clip, M segments of all clips, T P-frames, C channels, H8, W8 blocks,
H, W the grid of the vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.codec.arrays import BLOCK


def split_motion(clip: CompressedClip) -> tuple[Tensor, Tensor]:
    """Split vectors into global motion (B, N, T, 2) and relative vectors (B, N, T, 2, H, W), in pixels.

    The relative vectors are returned first.

    Skipped blocks have the vector zero, so they move relative to a moving camera. Intra blocks and missing
    P-frames have no vector and stay zero.

    Args:
        clip: Batch in the block or pixel representation.
    """
    motion = clip.motion.float()
    has_vector = (clip.modes < BlockMode.INTRA.value).unsqueeze(3)
    if motion.shape[-2:] == clip.modes.shape[-2:]:
        displacement = global_motion(motion, has_vector)
    else:
        of_blocks = motion[..., BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK]
        displacement = global_motion(of_blocks, has_vector)
        has_vector = has_vector.repeat_interleave(BLOCK, dim=-2).repeat_interleave(BLOCK, dim=-1)
    return (motion - displacement[..., None, None]) * has_vector, displacement


def global_motion(motion: Tensor, has_vector: Tensor) -> Tensor:
    """Estimate the global motion of each P-frame, (B, N, T, 2) in pixels; zero if no block has a vector.

    Args:
        motion: (B, N, T, 2, H8, W8) vectors in pixels.
        has_vector: (B, N, T, 1, H8, W8) bool.
    """
    # With an even count, take the middle value nearer zero (zero between opposite values), so that mirroring
    # commutes. torch's medians do not, and they can neither mask blocks nor be exported.
    ordered = motion.masked_fill(~has_vector, torch.inf).flatten(-2).sort(dim=-1).values
    count = has_vector.flatten(-2).sum(dim=-1)
    lower = ((count - 1) // 2).clamp(min=0)
    middle = torch.stack([lower, count // 2], dim=-1).expand(*ordered.shape[:-1], 2)
    low, high = ordered.gather(-1, middle).unbind(dim=-1)
    nearer = torch.where(low.abs() <= high.abs(), low, high)
    median = torch.where(low == -high, 0.0, nearer)
    return torch.where(count > 0, median, 0.0)


class GlobalMotionCurrent(nn.Module):
    """A linear map from global motion to neuron currents, initialized to zero.

    Args:
        channels: Channels C of the currents.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, channels))

    def forward(self, global_motion_TM2: Tensor) -> Tensor:
        """Return (T, M, C, 1, 1), bit-identical for any split of a stream into windows."""
        # The rounding of a matrix product depends on its number of rows.
        across, down = (global_motion_TM2[..., None] * self.weight).unbind(dim=2)
        return (across + down)[..., None, None]
