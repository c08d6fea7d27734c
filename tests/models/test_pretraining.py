"""What the masked prediction may see, what it is measured against, and that it learns."""

import pytest
import torch
from helpers.factories import make_clip

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.models.pretraining import MaskedPretraining, draw_places


@pytest.fixture
def masked() -> MaskedPretraining:
    torch.manual_seed(0)
    return MaskedPretraining("tiny", residual_channels=6, pframes=4)


@pytest.fixture
def clip() -> CompressedClip:
    return make_clip()  # 64 x 64 pixels: 2 x 2 places in each of 3 segments


def hide(clip: CompressedClip, seed: int = 0) -> torch.Tensor:
    return draw_places(clip, 0.5, torch.Generator().manual_seed(seed))


def blocks_of(hidden: torch.Tensor, clip: CompressedClip) -> torch.Tensor:
    """(B, N, 1, 1, 8, 8) bool: the blocks of the hidden places, by hand."""
    grid = hidden.view(len(clip), 3, 2, 2)
    blocks = torch.zeros(len(clip), 3, 8, 8, dtype=torch.bool)
    for row in range(8):
        for column in range(8):
            blocks[:, :, row, column] = grid[:, :, row // 4, column // 4]
    return blocks[:, :, None, None]


@pytest.mark.parametrize(("ratio", "count"), [(0.01, 1), (0.5, 2), (0.75, 3), (0.99, 3)])
def test_every_segment_hides_the_same_number_of_places(
    clip: CompressedClip, ratio: float, count: int
) -> None:
    hidden = draw_places(clip, ratio)
    assert hidden.shape == (6, 4)
    assert (hidden.sum(1) == count).all()


def test_the_content_of_hidden_places_does_not_reach_the_prediction(
    masked: MaskedPretraining, clip: CompressedClip
) -> None:
    hidden = hide(clip)
    expected = masked(clip, hidden)
    blocks = blocks_of(hidden, clip)
    clip.motion = torch.where(blocks, 50.0, clip.motion)
    clip.residual = torch.where(blocks, -300.0, clip.residual)
    clip.modes = torch.where(blocks[:, :, 0], BlockMode.INTRA, clip.modes).to(torch.uint8)
    assert torch.equal(masked(clip, hidden), expected)


@pytest.mark.parametrize("part", ["iframes", "motion", "residual"])
def test_what_is_visible_reaches_the_prediction(
    masked: MaskedPretraining, clip: CompressedClip, part: str
) -> None:
    hidden = hide(clip)
    expected = masked(clip, hidden)
    setattr(clip, part, getattr(clip, part).flip(-1))
    assert (masked(clip, hidden) - expected).abs().max() > 1e-4


def test_the_error_is_that_of_the_hidden_blocks_by_hand(
    masked: MaskedPretraining, clip: CompressedClip
) -> None:
    hidden = hide(clip)
    clip.mask[0, 0, 2:] = False
    clip.modes[:, :, :, 3] = BlockMode.INTRA
    error = masked.error(torch.zeros(12, 4, 8, 4, 4), clip, hidden)
    counted = blocks_of(hidden, clip)[:, :, 0] & clip.mask[..., None, None] & (clip.modes != BlockMode.INTRA)
    for name, scale in (("motion", 2.0), ("residual", 16.0)):
        values = (getattr(clip, name).abs() / scale).log1p().transpose(2, 3)
        expected = values.square().transpose(2, 3).movedim(3, -1)[counted].mean()
        torch.testing.assert_close(getattr(error, name), expected)
    torch.testing.assert_close(error.of_zero, error.loss)


def test_a_perfect_prediction_has_no_error(masked: MaskedPretraining) -> None:
    clip = make_clip(batch=1, segments=1)
    hidden = torch.tensor([[False, True, False, False]])  # at the top right
    fields = torch.cat([clip.motion / 2, clip.residual / 16], dim=3)[0, 0, :, :, :4, 4:]
    perfect = fields.sign() * fields.abs().log1p()
    error = masked.error(perfect[None], clip, hidden)
    assert error.loss < 1e-10
    assert error.of_zero > 0.1


def test_a_batch_without_pframes_has_the_error_zero(masked: MaskedPretraining, clip: CompressedClip) -> None:
    clip.mask[:] = False
    hidden = hide(clip)
    assert masked.error(masked(clip, hidden), clip, hidden).loss == 0


def test_every_parameter_gets_a_gradient(masked: MaskedPretraining, clip: CompressedClip) -> None:
    hidden = hide(clip)
    masked.error(masked(clip, hidden), clip, hidden).loss.backward()
    missing = [name for name, parameter in masked.named_parameters() if parameter.grad is None]
    assert missing == []  # a parameter without a gradient hangs distributed training


def test_the_loss_falls_below_that_of_a_prediction_of_nothing(
    masked: MaskedPretraining, clip: CompressedClip
) -> None:
    hidden = hide(clip)
    optimizer = torch.optim.AdamW(masked.parameters(), lr=3e-3)
    for _ in range(40):
        error = masked.error(masked(clip, hidden), clip, hidden)
        optimizer.zero_grad()
        error.loss.backward()
        optimizer.step()
    assert error.loss < 0.7 * error.of_zero


def test_another_number_of_pframes_is_refused(masked: MaskedPretraining) -> None:
    clip = make_clip(pframes=3)
    with pytest.raises(ValueError, match="3 P-frames a segment and the decoder predicts 4"):
        masked(clip, hide(clip))


def test_the_pixel_representation_is_refused_with_a_solution(
    masked: MaskedPretraining, clip: CompressedClip
) -> None:
    clip.motion = torch.zeros(2, 3, 4, 2, 64, 64)
    with pytest.raises(ValueError, match=r"data\.sampling\.representation=block"):
        masked(clip, hide(clip))
