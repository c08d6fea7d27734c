"""A reading process that dies or lacks shared memory is reported with what helps."""

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.threaded_decoders import garbage_with_threads
from torch.utils.data import Dataset

from cvr_lightning.datamodules.loader import VideoLoader, collate_or_carry, start_worker
from cvr_lightning.datamodules.video_sampler import VideoSampler
from cvr_lightning.errors import TrainingError


class Failing(Dataset):
    """Four videos, of which none can be read."""

    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return 4

    def __getitems__(self, draws: object) -> list[object]:
        self.fail()
        return []


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def lack_memory() -> None:
    raise RuntimeError(
        "unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)"
    )


def refuse() -> None:
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("fail", "error", "message"),
    [
        (
            die,
            TrainingError,
            r"a reading process has died \(DataLoader worker \(pid.*use fewer --data.num_workers",
        ),
        (lack_memory, TrainingError, r"/dev/shm has \d+ MB.*--shm-size=2g or --ipc=host.*--data.num_workers"),
        (refuse, RuntimeError, "shapes cannot be multiplied"),
    ],
)
def test_a_dead_worker_is_reported(fail: Callable[[], None], error: type[Exception], message: str) -> None:
    loader = VideoLoader(
        Failing(fail), batch_size=2, sampler=VideoSampler(4, True), num_workers=1, collate_fn=collate_or_carry
    )
    with pytest.raises(error, match=message):
        list(loader)


def test_a_forked_worker_leaves_the_decoders_of_its_parent_alone(tmp_path: Path) -> None:
    """It would wait for their threads, which it does not have."""
    held = garbage_with_threads(encode(tmp_path / "a.mp4", (64, 48), 8, "libx264"))
    inherited = [held]
    del held

    def collect() -> None:
        inherited.clear()
        gc.collect()
        raise ArithmeticError("not waiting")

    loader = VideoLoader(
        Failing(collect), batch_size=2, sampler=VideoSampler(4, True), num_workers=1,
        collate_fn=collate_or_carry, worker_init_fn=start_worker, multiprocessing_context="fork", timeout=60,
    )  # fmt: skip
    with pytest.raises(ArithmeticError, match="not waiting"):
        list(loader)
