from typing import get_args

import pytest
import torch
from helpers.factories import make_clip, random_clip, select
from torch import nn

from cvr_lightning.clip import BlockMode, CompressedClip
from cvr_lightning.energy.counting import OperationCounter
from cvr_lightning.errors import CropError
from cvr_lightning.models import Ablation, CompressedVideoRecognizer, iframe_encoder
from cvr_lightning.models.iframe_encoder import IFrameEncoder
from cvr_lightning.models.mixer import MultiModalMixer
from cvr_lightning.models.pframe_encoder import StandardizedConv2d
from cvr_lightning.models.stem import MOTION_GAIN, MOTION_SCALE, PIXEL_SCALE, PixelStem, compress
from cvr_lightning.models.transformer import SelfAttention, UnifiedTransformer


def test_each_clip_is_scored_alone(recognizer: CompressedVideoRecognizer, clip: CompressedClip) -> None:
    with torch.no_grad():
        together = recognizer(clip)
        alone = torch.cat([recognizer(select(clip, [row])) for row in range(len(clip))])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_padding_of_iframes_changes_nothing(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    padded = select(clip, [0, 1])
    garbage = torch.randint(0, 256, clip.iframes[:, :2].shape, dtype=torch.uint8)
    padded.iframes = torch.cat([clip.iframes, garbage], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(recognizer(padded), recognizer(clip), rtol=1e-4, atol=1e-5)


def test_what_a_missing_pframe_holds_changes_nothing(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    clip.mask[0, 1, 2:] = False
    clip.mask[1, 2] = False
    expected = recognizer(clip)
    clip.motion[0, 1, 2:] = 50.0
    clip.residual[1, 2] = -300.0
    torch.testing.assert_close(recognizer(clip), expected)


def test_a_clip_of_iframes_alone_is_scored(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    clip.mask[:] = False
    assert torch.isfinite(recognizer(clip)).all()


@pytest.mark.parametrize("part", ["iframes", "motion", "residual", "modes"])
def test_every_field_matters(recognizer: CompressedVideoRecognizer, clip: CompressedClip, part: str) -> None:
    expected = recognizer(clip)
    if part == "modes":
        clip.modes[:, :, :, :4] = BlockMode.INTRA
    else:
        setattr(clip, part, getattr(clip, part).flip(-1))
    assert (recognizer(clip) - expected).abs().max() > 1e-4


def test_the_order_of_segments_matters(recognizer: CompressedVideoRecognizer, clip: CompressedClip) -> None:
    expected = recognizer(clip)
    for name in ("motion", "residual", "modes", "iframe_index"):
        setattr(clip, name, getattr(clip, name).flip(1))
    assert (recognizer(clip) - expected).abs().max() > 1e-4


def test_any_number_of_segments_and_pframes(recognizer: CompressedVideoRecognizer) -> None:
    for segments, pframes in [(1, 1), (2, 5), (7, 3)]:
        assert recognizer(make_clip(segments=segments, pframes=pframes)).shape == (2, 5)


def test_every_parameter_gets_a_gradient(clip: CompressedClip) -> None:
    recognizer = CompressedVideoRecognizer(num_classes=5, residual_channels=6)
    nn.functional.cross_entropy(recognizer(clip), clip.label).backward()
    missing = [name for name, parameter in recognizer.named_parameters() if parameter.grad is None]
    assert missing == []  # a parameter without a gradient hangs distributed training


def test_half_precision_agrees_with_float32(
    recognizer: CompressedVideoRecognizer, clip: CompressedClip
) -> None:
    with torch.no_grad():
        full = recognizer(clip).softmax(-1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = recognizer(clip).float().softmax(-1)
    torch.testing.assert_close(half, full, rtol=0, atol=0.05)


def test_an_unknown_preset_is_refused_with_a_list() -> None:
    with pytest.raises(ValueError, match="unknown preset 'huge'; choose one of tiny, lite, small, base"):
        CompressedVideoRecognizer(5, preset="huge")  # type: ignore[arg-type]


def test_another_representation_is_refused_with_a_solution(clip: CompressedClip) -> None:
    pixel_clip = select(clip, [0, 1])
    pixel_clip.motion = torch.zeros(2, 3, 4, 2, 64, 64)
    with pytest.raises(ValueError, match=r"set --data\.sampling\.representation=block"):
        CompressedVideoRecognizer(5, residual_channels=6)(pixel_clip)
    with pytest.raises(ValueError, match=r"set --data\.sampling\.representation=pixel"):
        CompressedVideoRecognizer(5, representation="pixel")(clip)


def test_weights_bring_the_scale_of_their_input(clip: CompressedClip) -> None:
    trained, other = (CompressedVideoRecognizer(5, residual_channels=6).eval() for _ in range(2))
    trained.stem.motion_gain.fill_(3.0)
    weights = trained.state_dict()
    other.load_state_dict(weights)
    assert torch.equal(other(clip), trained(clip))
    del weights["stem.motion_gain"]
    with pytest.raises(RuntimeError, match=r"Missing key.*stem\.motion_gain"):
        other.load_state_dict(weights)


def test_the_pixel_stem_is_a_linear_map_of_each_patch() -> None:
    clip = random_clip(height=64, width=64, pixel=True)
    clip.modes[:] = BlockMode.INTER
    stem = PixelStem(channels=7, global_motion=False)
    fields = stem(clip).blocks
    assert fields.shape == (9, 2, 8, 8, 8)
    patch = torch.cat(
        [
            MOTION_GAIN * compress(clip.motion[1, 2, 1, :, 16:24, 40:48], MOTION_SCALE),
            compress(clip.residual[1, 2, 1, :, 16:24, 40:48], PIXEL_SCALE),
        ]
    )
    expected = torch.einsum("ochw,chw->o", stem.patches.weight, patch)
    torch.testing.assert_close(fields[1 * 3 + 2, 1, :7, 2, 5], expected)


def test_the_pixel_representation_is_recognized() -> None:
    recognizer = CompressedVideoRecognizer(5, representation="pixel").eval()
    clip = random_clip(height=64, width=64, pixel=True)
    expected = recognizer(clip)
    clip.residual = clip.residual.flip(-1)
    assert (recognizer(clip) - expected).abs().max() > 1e-4


@pytest.mark.parametrize("part", get_args(Ablation))
def test_a_model_without_a_part_uses_all_that_is_left(part: Ablation, clip: CompressedClip) -> None:
    whole = CompressedVideoRecognizer(5, residual_channels=6)
    without = CompressedVideoRecognizer(5, residual_channels=6, ablate=[part])
    nn.functional.cross_entropy(without(clip), clip.label).backward()
    assert [name for name, p in without.named_parameters() if p.grad is None] == []
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (whole, without)]
    assert shapes[0] != shapes[1]
    with torch.no_grad(), OperationCounter(without) as counter:
        without(clip)
    assert counter.report(len(clip)).gmac > 0


def test_without_exchange_a_modality_does_not_read_the_other() -> None:
    transformer = UnifiedTransformer(width=8, depth=2, heads=2, mlp_ratio=2).eval()
    iframe, pframe = torch.randn(2, 4, 8), torch.randn(2, 6, 8)
    exists = (torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 6, dtype=torch.bool))
    cls, (iframe_out, _) = transformer((iframe, pframe), exists)
    other_cls, (other_out, _) = transformer((iframe, torch.randn(2, 6, 8)), exists)
    torch.testing.assert_close(iframe_out, other_out)
    torch.testing.assert_close(cls[:, 0], other_cls[:, 0])
    assert (cls[:, 1] - other_cls[:, 1]).abs().max() > 1e-3


def test_exchange_starts_low_and_is_learned() -> None:
    exchanging = UnifiedTransformer(width=8, depth=1, heads=2, mlp_ratio=2, exchange=True)
    separate = UnifiedTransformer(width=8, depth=1, heads=2, mlp_ratio=2)
    separate.load_state_dict(exchanging.state_dict(), strict=False)
    tokens = (torch.randn(2, 6, 8), torch.randn(2, 6, 8))
    exists = (torch.ones(2, 6, dtype=torch.bool), torch.ones(2, 6, dtype=torch.bool))
    bias = exchanging.blocks[0].attention.exchange
    near = (exchanging(tokens, exists)[0] - separate(tokens, exists)[0]).abs().mean()
    assert near > 0
    exchanging(tokens, exists)[0].square().sum().backward()
    assert (bias.grad != 0).all()
    with torch.no_grad():
        bias.zero_()
        assert (exchanging(tokens, exists)[0] - separate(tokens, exists)[0]).abs().mean() > 3 * near


def test_a_crop_off_the_token_grid_is_refused_with_a_solution() -> None:
    with pytest.raises(
        CropError, match=r"frames of 112x112 pixels are not a multiple of 32: .* sampling\.crop"
    ):
        CompressedVideoRecognizer(5, residual_channels=6)(make_clip(side=112))


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_a_model_of_counts_trains_all_its_weights(levels: int, clip: CompressedClip) -> None:
    model = CompressedVideoRecognizer(5, residual_channels=6, levels=levels)
    nn.functional.cross_entropy(model(clip), clip.label).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    with torch.no_grad(), OperationCounter(model) as counter:
        model(clip)
    report = counter.report(len(clip))
    assert report.effective_gac > 0
    assert set(report.spiking_layers()) == {
        f"pframe_encoder.layers.layer{number}.modulator.neurons" for number in (1, 2, 3, 4)
    }


def test_mixers_are_trained_and_change_the_logits_once_trained(clip: CompressedClip) -> None:
    torch.manual_seed(0)
    model = CompressedVideoRecognizer(5, residual_channels=6, mixers=2, dropout=0.0)
    without = CompressedVideoRecognizer(5, residual_channels=6, dropout=0.0)
    without.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(model(clip), without(clip))
    nn.functional.cross_entropy(model(clip), clip.label).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    nn.init.normal_(model.mixers[1].fc2.weight)
    assert (model(clip) - without(clip)).abs().max() > 1e-3


@pytest.mark.parametrize(("option", "value", "least", "most"), [("levels", 5, 1, 4), ("mixers", 9, 0, 8)])
def test_numbers_out_of_range_are_refused(option: str, value: int, least: int, most: int) -> None:
    with pytest.raises(ValueError, match=rf"{option}={value} must be between {least} and {most}"):
        CompressedVideoRecognizer(5, **{option: value})


def test_an_unknown_component_is_refused_with_a_list() -> None:
    with pytest.raises(ValueError, match=r"unknown ablate 'mixing'; choose one of .*spikes"):
        CompressedVideoRecognizer(5, ablate=["mixing"])  # type: ignore[list-item]


def test_images_encoded_in_chunks_give_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iframe_encoder, "CACHED", 2 * 3 * 64 * 64 // torch.get_num_threads())
    encoder, images = IFrameEncoder((8, 8, 16, 16), (1, 1, 1, 1)), torch.randn(5, 3, 64, 64)
    together = encoder(images)
    sizes = []
    encoder.stages[0].register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), together)
    assert sizes == [2, 2, 1]


def test_a_standardized_convolution_has_unit_gain_and_no_bias() -> None:
    layer = StandardizedConv2d(16, 32, stride=1, gain=1.0)
    noise = torch.randn(4, 16, 40, 40)
    assert layer(noise)[:, :, 1:-1, 1:-1].std().item() == pytest.approx(1.0, abs=0.05)
    assert layer(torch.ones(1, 16, 8, 8))[:, :, 1:-1, 1:-1].abs().max() < 1e-4
    assert layer(torch.zeros(1, 16, 8, 8)).abs().max() == 0


def test_attention_equals_the_textbook_formula() -> None:
    attention = SelfAttention(width=8, heads=2, exchange=True)
    attention.exchange.data = torch.tensor([-1.0, 0.5])
    tokens, exists = torch.randn(1, 5, 8), torch.tensor([[True, True, False, True, True]])
    modality = torch.tensor([0, 0, 0, 1, 1])
    query, key, value = (part.view(5, 2, 4) for part in attention.qkv(tokens)[0].chunk(3, dim=-1))
    heads = []
    for head, bias in enumerate((-1.0, 0.5)):
        score = query[:, head] @ key[:, head].T / 4**0.5
        score[:3, 3:] += bias
        score[3:, :3] += bias
        score[:, 2] = -torch.inf
        heads.append(score.softmax(-1) @ value[:, head])
    expected = attention.out(torch.cat(heads, dim=-1))
    crosses = modality[:, None] != modality
    torch.testing.assert_close(attention(tokens, exists, crosses)[0], expected)


def test_the_mixer_mixes_modalities_and_neighboring_segments_only() -> None:
    mixer = MultiModalMixer(width=8, kernel=3)
    nn.init.normal_(mixer.fc2.weight)  # which starts at zero
    tokens = torch.randn(1, 2, 6, 4, 8, requires_grad=True)
    exists = torch.ones(1, 2, 6, dtype=torch.bool)
    mixer(tokens, exists)[0, 0, 2, 1].sum().backward()  # the I-token of segment 2 at place 1
    assert tokens.grad is not None
    reached = tokens.grad[0].abs().sum(-1) > 0
    expected = torch.zeros(2, 6, 4, dtype=torch.bool)
    expected[:, 1:4, 1] = True
    assert torch.equal(reached, expected)


def test_the_mixer_starts_as_the_identity() -> None:
    tokens, exists = torch.randn(1, 2, 6, 4, 8), torch.ones(1, 2, 6, dtype=torch.bool)
    assert torch.equal(MultiModalMixer(width=8)(tokens, exists), tokens)
