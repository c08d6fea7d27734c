"""A fuzzer of the files that are read back: seeded mutations of sound ones.

    python tests/helpers/formats_fuzz.py [INPUTS [SEED [FORMAT...]]]

Every input must be read, or refused by an error of the family, within seconds and within the memory that
``LIMIT_BYTES`` leaves. Where a format has a checksum, what is read must be what was written.
"""

from __future__ import annotations

import json
import logging
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import numpy as np
import torch

from cvr_lightning.codec import CompressedVideoReader, PacketIndex
from cvr_lightning.codec.prepared.recipe import Recipe
from cvr_lightning.datamodules import ucf101
from cvr_lightning.datamodules.index_store import DATABASE, FileState, IndexStore, Record
from cvr_lightning.datamodules.kinetics import read_annotations
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.datamodules.shard_files import ShardFiles
from cvr_lightning.datamodules.shard_index import ShardIndex, Subset
from cvr_lightning.datamodules.ssv2 import _read_classes as read_templates
from cvr_lightning.errors import UserError
from cvr_lightning.evaluation.results import read_results
from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.inference.labeling import journal as labels
from cvr_lightning.inference.labeling.blocks import Block
from cvr_lightning.inference.labeling.sources import Entry
from cvr_lightning.inference.labeling.table import Columns
from cvr_lightning.inference.pretrained import CONFIG_NAME, read_folder, write_folder
from cvr_lightning.models.weights import FILE_NAME
from cvr_lightning.tools.prepare import journal
from cvr_lightning.tools.prepare.row import Row
from cvr_lightning.training.checkpoint import read_checkpoint
from cvr_lightning.training.checkpoint_schema import FORMAT
from helpers.encoders import encode

SECONDS = 5.0
"""Longest time that an input may take on a busy machine."""
LIMIT_BYTES = 4 << 30
"""Memory that the fuzzer may take beside what its modules take."""
NUMBERS = (
    b"-1",
    b"0",
    b"2000000000",
    b"99999999999999999999",
    b"1e999",
    b"NaN",
    b"null",
    b"[]",
    b'"x"',
    b"{}",
)


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        path: Where the sound file lies, and each mutation is written.
        read: Reads it; an error of the family, or of ``refusals``, refuses it.
        checked: A checksum tells every mutation, so what is read must be as it was.
        refusals: What else refuses it, for whoever calls this to name the file.
    """

    path: Path
    read: Callable[[], Any]
    checked: bool = False
    refusals: tuple[type[Exception], ...] = ()


def formats(folder: Path) -> dict[str, Format]:
    """Sound files of every format, and how they are read."""
    return {
        **_indexes(folder),
        **_lists(folder),
        **_results(folder),
        **_preparation(folder),
        **_labels(folder),
        **_checkpoint(folder),
        **_pretrained(folder),
    }


def _indexes(folder: Path) -> dict[str, Format]:
    with CompressedVideoReader(encode(folder / "clip.avi", (64, 48), frames=14)) as video:
        data = video.index.to_bytes()
    record = folder / "record"
    record.write_bytes(data)
    store = IndexStore(folder / "index", {"version": 1})
    names = [f"{number}.avi" for number in range(12)]
    states = {name: FileState(100 + number, 10**18) for number, name in enumerate(names)}
    store.tag()
    store.create()
    store.write([Record(name, state, data + name.encode()) for name, state in states.items()])

    def lookups() -> dict[str, bytes]:
        store.open()
        if store.states(names):
            found = {name: store.read(name, state) for name, state in states.items()}
            for name, content in found.items():
                assert content in (None, data + name.encode()), "another clip's index"
        return {}

    shards = ShardIndex(
        ["train-000000.tar"],
        {"train": Subset(["a.avi", "b.avi"], [0, 1], [0, 0], [512, 2048], [900, 800], [0, 90])},
        ["a", "b"],
        True,
        {"dataset": "Folder", "subset": "test"},
        {"train": 0},
        {"index": 1},
    )
    shards.save(folder)
    return {
        "record": Format(
            record, lambda: PacketIndex.from_bytes(record.read_bytes()).to_bytes(), True, (ValueError,)
        ),
        "database": Format(folder / "index" / DATABASE, lookups, False, (ValueError, sqlite3.Error)),
        "shards": Format(folder / "index.json", lambda: ShardIndex.load(ShardFiles(str(folder))), True),
    }


def _lists(folder: Path) -> dict[str, Format]:
    classes, train, official, templates = (
        folder / name for name in ("classInd.txt", "list.txt", "train.csv", "labels.json")
    )
    classes.write_text("".join(f"{number} Class{number}\n" for number in range(1, 12)))
    train.write_text("".join(f"class {number % 7}/{number:08d}.mp4 {number % 7}\n" for number in range(30)))
    lines = (f'"class, {number % 5}",{number:011d},{number},{number + 10},train\n' for number in range(30))
    official.write_text("label,youtube_id,time_start,time_end,split\n" + "".join(lines))
    templates.write_text(json.dumps({f"Doing [{number}]": str(number) for number in range(20)}))
    return {
        "classes": Format(classes, lambda: ucf101._read_classes(classes)),
        "list": Format(train, lambda: read_annotations(train, "train")),
        "csv": Format(official, lambda: read_annotations(official, "train")),
        "json": Format(templates, lambda: read_templates(templates)),
    }


def _results(folder: Path) -> dict[str, Format]:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(9, 4)).astype(np.float32)
    names = np.array([f"{number}.avi" for number in range(9)])
    labels = generator.integers(0, 4, 9)
    scores = ScoreFile(names, labels, np.ones(9, np.int64), logits, logits, np.array(list("abcd")), names[:1])
    scores.write(folder / "scores.npz")
    results = {
        **dict.fromkeys(("top1", "top5", "top1_all", "top5_all"), 0.5),
        "videos": 9,
        "missing": 0,
        "unreadable": ["a.avi"],
        "videos_per_second": {"with_reading": 9.5, "model_only": 12.25},
        "protocol": {
            "name": None,
            "dataset": "Folder",
            "subset": "test",
            "modalities": ["iframes"],
            "averaging": "softmax",
            "segments": 8,
            "pframes": 3,
            "crop": 224,
            "views": 1,
            "crops": 1,
        },
        "energy_j_per_video": {"theoretical": 0.001, "measured": None, "by_part": {"head": 0.1}},
        "parameters": 1_830_000,
        "gmac_per_video": 0.2,
        "activation_sparsity": 0.9,
        "spikes_per_neuron": {"a": 1.0},
        "break_even_spikes": 5.1,
    }
    (folder / "results.json").write_text(json.dumps(results))
    return {
        "scores": Format(folder / "scores.npz", lambda: ScoreFile.read(folder)),
        "results": Format(folder / "results.json", lambda: read_results(folder)),
    }


def _preparation(folder: Path) -> dict[str, Format]:
    destination = folder / "prepared"
    journal.claim(destination, Recipe())
    rows = [Row(f"{n}.avi", f"{n}.mp4", "encoded", "h264", 10, 12, 340, 256, 999, 888) for n in range(9)]
    lines = destination / journal.FOLDER / "1-of-1.jsonl"
    lines.write_bytes(b"".join(map(journal._line, rows)))
    recipe = destination / journal.FOLDER / journal.RECIPE
    return {
        "journal": Format(lines, lambda: journal.read_rows(destination)),
        "recipe": Format(recipe, lambda: journal.check_recipe(destination, Recipe())),
    }


def _labels(folder: Path) -> dict[str, Format]:
    path, settings, columns = folder / "labels.csv.partial", {"checkpoint": "0"}, Columns(2, scores=True)
    written = []
    with labels.Journal(path, settings, columns) as opened:
        for number in range(6):
            names = [f"{number}-{video}.avi" for video in range(3)]
            scored = {"label": "a", "probability": 0.5, "scores": [0.5, 0.25], "prepared": False}
            rows = [
                {"file": names[0], "error": "no video"},
                *({"file": name, **scored} for name in names[1:]),
            ]
            opened.append(Block(number, tuple(Entry(name, name) for name in names)), rows)
            written += rows

    def resume() -> list[dict[str, Any]]:
        with labels.Journal(path, settings, columns) as opened:
            rows = list(opened.rows())
        assert rows == written[: len(rows)], "other rows than were written"
        return rows

    return {"labels": Format(path, resume)}


def _pretrained(folder: Path) -> dict[str, Format]:
    about = {
        "format": FORMAT,
        "class_names": ["a", "b"],
        "architecture": {"preset": "tiny", "num_classes": 2, "ablate": []},
        "sampling": ClipSampling().to_dict(),
        "averaging": "softmax",
        "versions": {"cvr_lightning": "0.1.0"},
    }
    place = folder / "pretrained"
    write_folder(place, torch.nn.Linear(3, 2), about)
    return {
        "config": Format(place / CONFIG_NAME, lambda: _names(read_folder(place))),
        "weights": Format(place / FILE_NAME, lambda: _names(read_folder(place))),
    }


def _names(checkpoint: dict[str, Any]) -> list[str]:
    return sorted(checkpoint["state_dict"])


def _checkpoint(folder: Path) -> dict[str, Format]:
    about = {"format": FORMAT, "architecture": {"preset": "tiny"}, "versions": {"cvr_lightning": "0.1.0"}}
    path = folder / "last.ckpt"
    torch.save(
        {
            "state_dict": {"recognizer.a": torch.ones(3, 4), "recognizer.b": torch.arange(9)},
            "cvr_lightning": about,
        },
        path,
    )
    return {"checkpoint": Format(path, lambda: read_checkpoint(path))}


def mutate(sound: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    """One mutation: its name and the bytes."""
    data = bytearray(sound)
    name = str(generator.choice(["bits", "bytes", "cut", "drop", "repeat", "move", "number", "ones"]))
    place, length = int(generator.integers(len(data))), int(generator.integers(1, 64))
    if name == "bits":
        for bit in generator.integers(0, 8 * len(data), length % 8 + 1).tolist():
            data[bit // 8] ^= 1 << bit % 8
    elif name == "bytes":
        data[place : place + length] = generator.integers(0, 256, length, np.uint8).tobytes()
    elif name == "cut":
        del data[place:]
    elif name == "drop":
        del data[place : place + length]
    elif name == "repeat":
        data[place:place] = data[place : place + length] * int(generator.integers(1, 50))
    elif name == "move":
        other = int(generator.integers(len(data)))
        data[other : other + length] = data[place : place + length]
    elif name == "number":
        data[place : place + int(generator.integers(0, 4))] = NUMBERS[length % len(NUMBERS)]
    else:
        data[place : place + length] = bytes([int(generator.choice([0, 0xFF]))]) * length
    return name, bytes(data)


def run(inputs: int, seed: int, kind: str, form: Format) -> Counter[str]:
    """Read mutations of one format.

    Returns:
        How often each mutation was read, and how often it was refused.

    Raises:
        AssertionError: An input broke a rule; the message names it.
    """
    sound, verdicts = form.path.read_bytes(), Counter[str]()
    expected = form.read()
    for number in range(inputs):
        name, data = mutate(sound, np.random.default_rng((seed, number)))
        form.path.write_bytes(data)
        began, where = time.perf_counter(), f"input {number} of seed {seed} ({kind}, {name})"
        try:
            found = form.read()
            assert not form.checked or data == sound or found == expected, f"{where}: read as something else"
            verdict = "read"
        except (UserError, *form.refusals):
            verdict = "refused"
        except AssertionError:
            raise
        except BaseException as error:
            raise AssertionError(f"{where}: {error!r}") from error
        took = time.perf_counter() - began
        assert took < SECONDS, f"{where} took {took:.1f} s"
        verdicts[verdict] += 1
    form.path.write_bytes(sound)
    return verdicts


def main() -> None:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    logging.disable(logging.WARNING)  # of each damaged journal
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LIMIT_BYTES,) * 2)
    with tempfile.TemporaryDirectory() as folder:
        for kind, form in formats(Path(folder)).items():
            if len(sys.argv) > 3 and kind not in sys.argv[3:]:
                continue
            began = time.process_time()
            verdicts = run(inputs, seed, kind, form)
            took = time.process_time() - began
            print(
                f"{kind:10} {inputs} inputs of seed {seed}: {dict(verdicts)}, {took:.0f} s of processor time",
                flush=True,
            )
    print(f"no finding; at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


if __name__ == "__main__":
    main()
