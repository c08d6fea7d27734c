"""Dropout that follows the clip."""

import torch

from cvr_lightning.models.dropout import BITS, ClipDropout, random_bits


def splitmix64(state: int) -> int:
    """The finaliser as published, in Python's unbounded integers."""
    state &= 2**64 - 1
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


def test_the_numbers_are_those_of_splitmix64() -> None:
    keys = [0, 1, 2**40 + 7, -3]
    for key, row in zip(keys, random_bits(torch.tensor(keys), 5).tolist(), strict=True):
        expected = [splitmix64(splitmix64(key) + place * 0x9E3779B97F4A7C15) >> 11 for place in range(1, 6)]
        assert row == expected
        assert max(row) < 2**BITS


def test_a_clip_loses_the_same_features_in_any_batch_and_others_with_another_key() -> None:
    dropout = ClipDropout(0.25)
    features, keys = torch.ones(400, 64), torch.arange(400)
    together = dropout(features, keys)
    rows = torch.tensor([7, 0, 399])
    assert torch.equal(dropout(features[rows], keys[rows]), together[rows])
    torch.testing.assert_close(together.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert abs(float((together == 0).float().mean()) - 0.25) < 0.01  # 25 600 draws: 3.7 standard deviations
    assert len(torch.unique(together, dim=0)) == 400


def test_without_a_key_or_training_it_is_plain_dropout() -> None:
    features = torch.rand(8, 16)
    dropout = ClipDropout(0.5)
    torch.manual_seed(0)
    plain = torch.nn.functional.dropout(features, 0.5)
    torch.manual_seed(0)
    assert torch.equal(dropout(features), plain)
    assert torch.equal(dropout.eval()(features, torch.arange(8)), features)
