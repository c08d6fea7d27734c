import pytest
import torch

from cvr_lightning.scores import VideoScores


def logits_for(*probabilities: list[float]) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def update(scores: VideoScores, probability: list[float], label: int, video: int, view: int = 0) -> None:
    scores.update(logits_for(probability), *(torch.tensor([value]) for value in (label, video, view)))


def test_views_are_averaged_after_the_softmax_and_a_video_counts_once() -> None:
    scores = VideoScores(3)
    update(scores, [0.8, 0.1, 0.1], label=1, video=7, view=0)
    update(scores, [0.1, 0.2, 0.7], label=2, video=3, view=0)
    update(scores, [0.05, 0.9, 0.05], label=1, video=7, view=1)
    table = scores.compute()
    assert table.video.tolist() == [3, 7]
    assert table.label.tolist() == [2, 1]
    torch.testing.assert_close(table.probabilities[1], torch.tensor([0.425, 0.5, 0.075]))
    assert table.top(1) == 1.0
    assert table.confusion_matrix().tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_view_that_two_processes_saw_counts_once() -> None:
    scores = VideoScores(2)
    for _ in range(3):  # what a padding sampler does
        update(scores, [0.9, 0.1], label=0, video=0, view=0)
    update(scores, [0.2, 0.8], label=0, video=0, view=1)
    table = scores.compute()
    torch.testing.assert_close(table.probabilities, torch.tensor([[0.55, 0.45]]))


def test_top_k_says_nothing_where_it_cannot_fail() -> None:
    scores = VideoScores(3)
    update(scores, [0.5, 0.3, 0.2], label=1, video=0)
    table = scores.compute()
    assert (table.top(1), table.top(2), table.top(5)) == (0.0, 1.0, None)


def test_unlabelled_videos_have_no_accuracy() -> None:
    scores = VideoScores(2)
    update(scores, [0.9, 0.1], label=-1, video=0)
    assert scores.compute().top(1) is None


def test_nothing_scored_is_an_error() -> None:
    with pytest.raises(ValueError, match="no video was scored"):
        VideoScores(2).compute()
