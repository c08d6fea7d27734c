"""The camera's displacement, and vectors relative to it.

A pan moves every block of a frame, and what an action moves drowns in it. The displacement is taken to be the
median of the frame's vectors: the scene behind fills most blocks of most frames. That motion relative to the
camera's tells actions better was shown by Wang and Schmid, "Action recognition with improved trajectories"
(ICCV 2013), who estimate it from decoded pictures; here it costs a sort of the vectors.

What the camera does may be the action (a class of SS-v2 is "turning the camera left"), so the displacement is
given to the first neurons apart, as a current that is the same everywhere.

Shape suffixes: B clips, N segments of a clip, M of all clips, T P-frames, C channels, H8, W8 blocks, H, W the
grid of the vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.codec.arrays import BLOCK


def split_motion(clip: CompressedClip) -> tuple[Tensor, Tensor]:
    """Vectors relative to the camera's displacement, (B, N, T, 2, H, W), and it, (B, N, T, 2); in pixels.

    A skipped block has a vector, zero, and moves relative to a camera that does not stand still. Intra blocks
    and P-frames that do not exist have none and stay zero.

    Args:
        clip: Batch in the block or the pixel representation.
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
    """The camera's displacement in each P-frame, (B, N, T, 2) in pixels; zero where no block has a vector.

    Args:
        motion: (B, N, T, 2, H8, W8) vectors in pixels.
        has_vector: (B, N, T, 1, H8, W8) bool.
    """
    # Of an even number of vectors that of the two in the middle which is nearer to zero, and between opposite
    # ones zero, so that a mirrored frame has the mirrored one. The medians of torch do not; nor can they
    # leave out blocks and be exported.
    ordered = motion.masked_fill(~has_vector, torch.inf).flatten(-2).sort(dim=-1).values
    count = has_vector.flatten(-2).sum(dim=-1)
    lower = ((count - 1) // 2).clamp(min=0)
    middle = torch.stack([lower, count // 2], dim=-1).expand(*ordered.shape[:-1], 2)
    low, high = ordered.gather(-1, middle).unbind(dim=-1)
    nearer = torch.where(low.abs() <= high.abs(), low, high)
    median = torch.where(low == -high, 0.0, nearer)
    return torch.where(count > 0, median, 0.0)


class GlobalMotionCurrent(nn.Module):
    """A linear map from the camera's displacement to currents; it starts without a say.

    Args:
        channels: Channels C of the currents.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, channels))

    def forward(self, global_motion_TM2: Tensor) -> Tensor:
        """Return (T, M, C, 1, 1), to the last bit the same in whatever windows a stream is cut."""
        # A matrix product would be rounded in one way for one row and in another for many.
        across, down = (global_motion_TM2[..., None] * self.weight).unbind(dim=2)
        return (across + down)[..., None, None]
