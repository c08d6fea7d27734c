"""``--ray`` on two nodes: the results of one machine, also if a worker and then a node are killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.labels import read, run
from helpers.mortal_jobs import double
from helpers.ray_cluster import Cluster, end, kill_a_worker, two_nodes

from cvr_lightning.cli.main import main
from cvr_lightning.files import ray_pool
from cvr_lightning.files.pool import Died

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def many(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of 160 videos, three of which cannot be read."""
    names = [f"{videos}/{number % 8}.avi" for number in range(160)]
    names[5] = names[77] = names[140] = f"{videos}/broken.mp4"
    path = tmp_path_factory.mktemp("many") / "list.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def test_every_job_is_done_once_and_a_job_that_kills_its_worker_is_named(cluster: Cluster) -> None:
    with ray_pool.cluster(cluster.address):
        found = list(ray_pool.run(double, [0, 1, 2, 3, 6, 7]))
        results = dict(found)
        assert len(found) == 6
        assert results.pop(3) == Died(None)
        assert results == {0: 0, 1: 2, 2: 4, 6: 12, 7: 14}
        with pytest.raises(ArithmeticError, match="no five"):
            list(ray_pool.run(double, [5]))


def test_prepared_videos_are_those_of_one_machine(videos: Path, cluster: Cluster, tmp_path: Path) -> None:
    def contents(name: str, *options: str) -> dict[str, bytes]:
        with pytest.raises(SystemExit):  # one video is broken
            main(["prepare", str(videos), str(tmp_path / name), "--size", "96x64", *options])
        files = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
            for path in files
            if path.parent.name != ".prepare"
        }

    ours, theirs = contents("local", "--workers", "1"), contents("ray", "--ray", cluster.address)
    assert len(ours) == 12
    assert theirs == ours


def wait_until(reached: Callable[[], bool]) -> None:
    while not reached():
        time.sleep(0.02)


def test_a_killed_worker_and_a_killed_node_change_nothing(
    many: Path, checkpoint: str, cluster: Cluster, tmp_path: Path
) -> None:
    options = [many, "--checkpoint", checkpoint, "--batch-size", "4", "--scores"]
    assert run(*options, "--output", tmp_path / "local.csv") == 1
    partial = tmp_path / "ray.csv.partial"

    def rows() -> int:
        return partial.read_bytes().count(b'"file"') if partial.exists() else 0

    left: list[int] = []

    def kill() -> None:
        wait_until(lambda: rows() >= 20 and kill_a_worker(cluster.head))
        left.append(rows())
        wait_until(lambda: rows() >= 60)
        end(cluster.second)
        left.append(rows())

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert run(*options, "--output", tmp_path / "ray.csv", "--ray", cluster.address, "--workers", "4") == 1
    killer.join(timeout=60)
    assert [count < 160 for count in left] == [True, True]
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
    assert len(read(tmp_path / "ray.csv")) == 160


def test_without_a_cluster_the_command_says_how_to_start_one(
    many: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a.csv"
    assert run(many, "--checkpoint", checkpoint, "--output", output, "--ray", "127.0.0.1:1") == 1
    assert "start one by: ray start --head" in capsys.readouterr().err
