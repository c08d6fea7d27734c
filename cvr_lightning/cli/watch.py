"""``cvr watch``: labels of a video while it plays."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from cvr_lightning.cli.compute import add_device, compute_on
from cvr_lightning.errors import INTERRUPTED
from cvr_lightning.files.printable import printable

if TYPE_CHECKING:  # report wrong arguments before importing torch
    from cvr_lightning.inference.streaming import StreamPrediction


def main(arguments: Sequence[str]) -> None:
    """Run ``cvr watch``."""
    options = _parser().parse_args(arguments)
    try:
        _watch(options)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cvr watch",
        description="Label a video of MPEG-4 Part 2 or H.264 while it plays: a line whenever the top "
        "class changes and one at the end; on a terminal the last line is updated in place.",
    )
    parser.add_argument("file", metavar="FILE", help="video file, named pipe, or - for standard input")
    parser.add_argument("--checkpoint", required=True, metavar="CKPT", help="checkpoint written by cvr fit")
    parser.add_argument("--stride", type=int, metavar="S", help="P-frames between segments (default: 12)")
    parser.add_argument(
        "--segments", type=int, metavar="N", help="segments of the window (default: as trained)"
    )
    parser.add_argument("--realtime", action="store_true", help="play at the video's frame rate")
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="at a damaged packet, stop with its error (default) or skip to the next I-frame",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for every P-frame")
    add_device(parser)
    return parser


def _watch(options: argparse.Namespace) -> None:
    from cvr_lightning.codec.container.packets import open_packets
    from cvr_lightning.inference.streaming import StreamingRecognizer

    device, _ = compute_on("cvr watch", options.device)
    recognizer = StreamingRecognizer.from_checkpoint(
        options.checkpoint, options.stride, options.segments, device
    )
    with open_packets(options.file) as packets:
        predictions: Iterator[StreamPrediction] = recognizer(packets, options.on_error)
        if options.realtime:
            predictions = paced(predictions)
        if options.json:
            for prediction in predictions:
                print(_as_json(prediction), flush=True)
            return
        with closing(_Display(live=sys.stdout.isatty())) as display:
            for prediction in predictions:
                display.show(prediction)


def paced(
    predictions: Iterable[StreamPrediction],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[StreamPrediction]:
    """Delay each prediction until its P-frame is due; those without a time pass at once.

    Args:
        predictions: Predictions in order of time.
        clock: Returns the time in seconds.
        sleep: Waits for a number of seconds.
    """
    start: float | None = None
    for prediction in predictions:
        if prediction.seconds is not None:
            if start is None:
                start = clock() - prediction.seconds
            ahead = start + prediction.seconds - clock()
            if ahead > 0:
                sleep(ahead)
        yield prediction


class _Display:
    """Prints a line per change of the label.

    Args:
        live: Update the last line in place, on a terminal.
    """

    def __init__(self, live: bool) -> None:
        self._live = live
        self._shown = ""  # the last printed line
        self._last: StreamPrediction | None = None

    def show(self, prediction: StreamPrediction) -> None:
        """Display a prediction."""
        changed = self._last is None or prediction.label != self._last.label
        if self._live:
            if changed and self._last is not None:
                print()
            print(f"\r{_as_text(prediction)}\x1b[K", end="", flush=True)
        elif changed:
            self._print(_as_text(prediction))
        self._last = prediction

    def close(self) -> None:
        """Print the last prediction."""
        if self._last is None:
            return
        if self._live:
            print()
        elif self._shown != _as_text(self._last):
            self._print(_as_text(self._last))

    def _print(self, line: str) -> None:
        self._shown = line
        print(line, flush=True)


def _as_text(prediction: StreamPrediction) -> str:
    seconds = prediction.seconds
    when = f"frame {prediction.frame:6d}" if seconds is None else f"{seconds:9.2f} s"
    return f"{when}  {100 * prediction.probability:5.1f} %  {printable(prediction.label)}"


def _as_json(prediction: StreamPrediction) -> str:
    names = ("frame", "seconds", "label", "probability", "segments")
    return json.dumps({name: getattr(prediction, name) for name in names})
