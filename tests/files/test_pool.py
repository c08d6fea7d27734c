"""Workers that die, and what becomes of the others' work."""

import pytest
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
