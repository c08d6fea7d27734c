"""Workers that die, and what becomes of the others' work."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.mortal_jobs import double

from cvr_lightning.errors import PrepareError
from cvr_lightning.files import pool


def test_every_job_is_done_once_and_dead_workers_are_named() -> None:
    results = dict(pool.run(double, [0, 1, 2, 3, 4, 6, 7], workers=2))
    assert {job: result for job, result in results.items() if job not in (3, 4)} == {
        0: 0,
        1: 2,
        2: 4,
        6: 12,
        7: 14,
    }
    assert "killed by SIGKILL, probably out of memory: try fewer workers" in str(results[3])
    assert str(results[4]) == "its worker process ended with exit code 7"


def test_an_exception_of_a_job_ends_the_run() -> None:
    with pytest.raises(ArithmeticError, match="no five"):
        list(pool.run(double, [1, 5, 2], workers=1))


def test_a_run_whose_workers_keep_dying_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_DEATHS", 2)
    with pytest.raises(PrepareError, match=r"stopped after 2 consecutive failures: .* exit code 7"):
        list(pool.run(double, [4] * 5, workers=1))


def test_no_jobs_need_no_workers() -> None:
    assert list(pool.run(double, [], workers=2)) == []


SCRIPT = """
import gc, sys
sys.path[:] = {path}
from helpers.mortal_jobs import collect
from helpers.threaded_decoders import garbage_with_threads
from cvr_lightning.files import pool
gc.disable()
garbage_with_threads({video!r})
print([result for _, result in pool.run(collect, [1, 2], workers=1)])
"""


def test_workers_inherit_no_decoders_and_need_no_main_module(tmp_path: Path) -> None:
    """A forked worker would wait for the threads of the decoder; a spawned one would run the script again."""
    video = encode(tmp_path / "a.mp4", (64, 48), 8, "libx264")
    script = SCRIPT.format(path=sys.path, video=str(video))
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[1, 2]\n", done.stderr
