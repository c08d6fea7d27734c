"""What ``cvr watch`` prints, and when."""

import pytest
import torch

from cvr_lightning.cli.watch import _Display, paced
from cvr_lightning.inference.streaming import StreamPrediction


def prediction(frame: int, label: str, probability: float = 0.5, timed: bool = True) -> StreamPrediction:
    return StreamPrediction(frame, frame / 25 if timed else None, label, probability, torch.empty(0), 1)


def shown(*predictions: StreamPrediction, live: bool = False) -> None:
    display = _Display(live)
    for item in predictions:
        display.show(item)
    display.close()


def test_a_line_is_printed_when_the_label_changes_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["left", "left", "right", "right", "left", "left"]
    shown(*(prediction(25 * number, label, number / 10) for number, label in enumerate(labels)))
    assert capsys.readouterr().out.splitlines() == [
        "     0.00 s    0.0 %  left",
        "     2.00 s   20.0 %  right",
        "     4.00 s   40.0 %  left",
        "     5.00 s   50.0 %  left",
    ]


def test_the_end_repeats_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown(prediction(0, "left"), prediction(25, "right"))
    assert len(capsys.readouterr().out.splitlines()) == 2
    shown()
    assert capsys.readouterr().out == ""


def test_a_terminal_keeps_its_line_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    shown(prediction(0, "left"), prediction(25, "left"), prediction(50, "right"), live=True)
    left, right = capsys.readouterr().out.split("\n")[:2]
    assert left == "\r     0.00 s   50.0 %  left\x1b[K\r     1.00 s   50.0 %  left\x1b[K"
    assert right == "\r     2.00 s   50.0 %  right\x1b[K"


def test_frames_are_counted_where_there_are_no_times(capsys: pytest.CaptureFixture[str]) -> None:
    shown(prediction(7, "left", timed=False))
    assert capsys.readouterr().out == "frame      7   50.0 %  left\n"


def test_realtime_waits_until_a_frame_is_due_and_never_for_one_that_is_late() -> None:
    now, waits, due = [100.0], [], []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        waits.append(seconds)

    predictions = [prediction(frame, "left") for frame in (10, 20, 30, 40)]
    predictions.insert(2, prediction(25, "left", timed=False))
    for item in paced(predictions, lambda: now[0], sleep):
        due.append((item.frame, round(now[0], 6)))
        if item.frame == 20:
            now[0] += 1.0  # slower than the video
    assert due == [(10, 100.0), (20, 100.4), (25, 101.4), (30, 101.4), (40, 101.4)]
    assert waits == pytest.approx([0.4])
