"""Blocks read and scored on a Ray cluster, by any of its machines."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from functools import lru_cache, partial
from typing import Any, NamedTuple

from cvr_lightning.codec.errors import FETCH_AGAIN, UnreadableVideoError
from cvr_lightning.files import pool, ray_pool
from cvr_lightning.inference.classify import Classifier
from cvr_lightning.inference.labeling.blocks import Block, How, read_block
from cvr_lightning.inference.labeling.options import Options
from cvr_lightning.inference.labeling.rows import rows_of
from cvr_lightning.inference.labeling.table import Row


class Model(NamedTuple):
    """A classifier in the cluster's object store, and the device that it runs on."""

    stored: Any
    device: str


def label_blocks(
    classifier: Classifier, pending: Iterable[Block], options: Options
) -> Generator[tuple[Block, list[Row]], None, None]:
    """Yield each finished block with its rows. A process of the cluster reads a block and scores it.

    Raises:
        RunError: There is no cluster.
        PrepareError: Processes keep dying.
    """
    assert options.ray is not None
    with ray_pool.cluster(options.ray):
        import ray

        device = options.device
        if device == "auto":
            device = "cuda" if ray.cluster_resources().get("GPU") else "cpu"
        work = partial(_label_block, Model(ray.put(classifier), device), options)
        run = partial(ray_pool.run, work, gpus=device.startswith("cuda"))
        with contextlib.closing(run(pending, options.workers)) as results:
            for block, result in results:
                if isinstance(result, pool.Died):
                    singles = [Block(number, (entry,)) for number, entry in enumerate(block.entries)]
                    found = {single.number: _row_or_error(single, rows) for single, rows in run(singles)}
                    result = [row for number in sorted(found) for row in found[number]]
                yield block, result


def _row_or_error(block: Block, rows: list[Row] | pool.Died) -> list[Row]:
    """Rows of one video whose block killed its process; only the culprit does so again."""
    if not isinstance(rows, pool.Died):
        return rows
    (entry,) = block.entries
    error = UnreadableVideoError(entry.name, f"FFmpeg crashed: {rows}", FETCH_AGAIN)
    return [{"file": entry.name, "error": str(error)}]


def _label_block(model: Model, options: Options, block: Block) -> list[Row]:
    classifier = _loaded(model)
    how = How(classifier.sampling, options.every)
    parts = (
        rows_of(classifier, part, options.columns, options.batch_size) for part in read_block(how, block)
    )
    return [row for rows in parts for row in rows]


@lru_cache(maxsize=1)
def _loaded(model: Model) -> Classifier:
    """The model of this process, fetched once."""
    import ray

    classifier: Classifier = ray.get(model.stored)
    return classifier.to(model.device)
