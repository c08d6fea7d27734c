from collections.abc import Sequence

import numpy as np
import pytest
import torch

from cvr_lightning.evaluation.scores import VideoScores
from cvr_lightning.evaluation.video_table import Averaging, top_k


def logits_for(*probabilities: list[float]) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def update(
    scores: VideoScores, probability: list[float], label: int, video: int, unreadable: Sequence[int] = ()
) -> None:
    labels, videos = torch.tensor([label]), torch.tensor([video])
    scores.update(logits_for(probability), labels, videos, unreadable)


def test_views_are_averaged_after_the_softmax_and_a_video_counts_once() -> None:
    scores = VideoScores(3)
    update(scores, [0.8, 0.1, 0.1], label=1, video=7)
    update(scores, [0.1, 0.2, 0.7], label=2, video=3)
    update(scores, [0.05, 0.9, 0.05], label=1, video=7)
    table = scores.compute()
    assert table.video.tolist() == [3, 7]
    assert table.label.tolist() == [2, 1]
    assert table.views.tolist() == [1, 2]
    np.testing.assert_allclose(table.probabilities[1], [0.425, 0.5, 0.075], atol=1e-6)
    assert table.top(1) == 1.0
    assert table.confusion_matrix().tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_the_views_of_a_video_may_share_a_batch() -> None:
    together, apart = VideoScores(3), VideoScores(3)
    views = [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.05, 0.9, 0.05], [0.3, 0.3, 0.4]]
    owners = [7, 3, 7, 7]
    together.update(logits_for(*views), torch.tensor([1, 2, 1, 1]), torch.tensor(owners))
    for view, owner in zip(views, owners, strict=True):
        update(apart, view, label=1 if owner == 7 else 2, video=owner)
    one, other = together.compute(), apart.compute()
    assert one.label.tolist() == other.label.tolist() == [2, 1]
    assert one.views.tolist() == other.views.tolist() == [1, 3]
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-6)


@pytest.mark.parametrize(("averaging", "best"), [("softmax", 1), ("logits", 0)])
def test_averaging_chooses_what_ranks_the_classes(averaging: Averaging, best: int) -> None:
    # One view is all but certain of class 0, three lean to class 1.
    scores = VideoScores(2, averaging)
    for probability in ([0.999999, 0.000001], *[[0.05, 0.95]] * 3):
        update(scores, probability, label=best, video=0)
    table = scores.compute()
    assert table.top(1) == 1.0
    assert table.scores.sum() == pytest.approx(1)
    np.testing.assert_allclose(table.probabilities, [[0.2875, 0.7125]], atol=1e-4)
    np.testing.assert_allclose(table.logits[0, 0] - table.logits[0, 1], 1.2456, atol=1e-3)


def test_an_unknown_averaging_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of softmax, logits"):
        VideoScores(2, "median")  # type: ignore[arg-type]


def test_unreadable_videos_are_left_out_and_count_as_wrong_over_all() -> None:
    scores = VideoScores(2)
    update(scores, [0.9, 0.1], label=0, video=0)
    update(scores, [0.9, 0.1], label=0, video=1, unreadable=[4])
    update(scores, [0.9, 0.1], label=0, video=2, unreadable=[1, 4])  # another view of video 1
    update(scores, [0.9, 0.1], label=1, video=3)
    table = scores.compute()
    assert table.video.tolist() == [0, 2, 3]
    assert table.unreadable.tolist() == [1, 4]
    assert table.top(1) == pytest.approx(2 / 3)
    assert table.top(1, of_all=True) == pytest.approx(2 / 5)


def test_top_k_is_undefined_if_it_cannot_fail() -> None:
    scores = VideoScores(3)
    update(scores, [0.5, 0.3, 0.2], label=1, video=0)
    table = scores.compute()
    assert (table.top(1), table.top(2), table.top(5)) == (0.0, 1.0, None)


def test_top_k_is_the_rank_of_the_label() -> None:
    rng = np.random.default_rng(0)
    scores, label = rng.random((50, 12)).astype(np.float32), rng.integers(-1, 12, 50)
    for k in (1, 5):
        ranks = [(row > row[c]).sum() for row, c in zip(scores, label, strict=True) if c >= 0]
        assert top_k(scores, label, k) == pytest.approx(np.mean([rank < k for rank in ranks]))
    assert top_k(np.zeros((1, 3), np.float32), np.array([0]), 1) == 1.0
    assert top_k(np.zeros((1, 3), np.float32), np.array([1]), 1) == 0.0  # a tie is no lucky guess


def test_the_loss_is_the_cross_entropy_of_each_video() -> None:
    scores = VideoScores(4)
    logits, label = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, -1])
    scores.update(logits, label, torch.arange(6))
    expected = torch.nn.functional.cross_entropy(logits[:5], label[:5])
    assert scores.compute().loss() == pytest.approx(float(expected), rel=1e-6)


def test_unlabeled_videos_have_no_accuracy() -> None:
    scores = VideoScores(2)
    update(scores, [0.9, 0.1], label=-1, video=0)
    table = scores.compute()
    assert table.top(1) is None
    assert table.loss() is None


def test_nothing_scored_is_an_empty_table_and_a_reset_forgets_everything() -> None:
    scores = VideoScores(2)
    assert len(scores.compute()) == 0
    update(scores, [0.9, 0.1], label=0, video=0, unreadable=[1])
    scores.reset()
    table = scores.compute()
    assert (len(table), len(table.unreadable), table.top(1)) == (0, 0, None)
