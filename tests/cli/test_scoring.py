"""Commands that use a checkpoint: test, predict, classify, watch, results, validate."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.encoders import encode
from helpers.tiny_runs import TINY_TRAINER, fit_arguments

from cvr_lightning.cli import watch
from cvr_lightning.cli.main import main
from cvr_lightning.evaluation.results import read_results
from cvr_lightning.inference.streaming import StreamPrediction

SKIP = ["--data.on_error=skip", "--trainer.enable_progress_bar=false"]


def test_test_needs_only_the_checkpoint_and_writes_every_documented_key(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        ["test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.enable_progress_bar=false"]
    )
    results = json.loads((run / "results.json").read_text())
    assert results["videos"] == 10
    assert 0 <= results["top1"] <= results["top5"] <= 1
    assert results["unreadable"] == []
    assert results["protocol"]["segments"] == 2
    assert results["protocol"]["averaging"] == "softmax"
    assert set(results["videos_per_second"]) == {"with_reading", "model_only"}
    assert results["videos_per_second"]["model_only"] >= results["videos_per_second"]["with_reading"] > 0
    assert results["gmac_per_video"] > 0
    assert results["energy_j_per_video"]["theoretical"] > 0
    assert results["energy_j_per_video"]["measured"] is None
    assert 0 < results["activation_sparsity"] < 1
    assert results["config"]["data"]["init_args"]["sampling"]["crop"] == 64
    assert "lightning" in results["versions"]
    table = capsys.readouterr().out
    assert f"{100 * results['top1']:.2f} %" in table
    assert "not measured" in table


def test_an_option_overrides_the_checkpoint_and_more_views_cost_more(run: Path, tmp_path: Path) -> None:
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    common = ["--ckpt_path", checkpoint, f"--trainer.default_root_dir={tmp_path}"]
    common.append("--trainer.enable_progress_bar=false")
    main(["test", *common, "--run=one"])
    main(["test", *common, "--run=three", "--data.protocol=1x3", "--model.averaging=logits"])
    one, three = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "three"))
    assert three["videos"] == one["videos"] == 10
    named = ("name", "views", "crops", "averaging")
    assert [one["protocol"][name] for name in named] == [None, 1, 1, "softmax"]
    assert [three["protocol"][name] for name in named] == ["1x3", 1, 3, "logits"]
    assert three["gmac_per_video"] == pytest.approx(3 * one["gmac_per_video"])


def test_summarize_and_results_count_a_checkpoint_alike(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    arguments = ["--ckpt_path", checkpoint, f"--trainer.default_root_dir={tmp_path}", "--run=x"]
    main(["test", *arguments, "--trainer.enable_progress_bar=false"])
    results = json.loads((tmp_path / "x" / "results.json").read_text())
    capsys.readouterr()

    def summarize(*files: str) -> dict[str, Any]:
        main(["summarize", "--checkpoint", checkpoint, "--json", *files])
        return json.loads(capsys.readouterr().out)

    generated = summarize()
    for name in ("parameters", "gmac_per_video"):
        assert generated[name] == pytest.approx(results[name])
    assert generated["synaptic_operations_per_video"]["Dense"] == pytest.approx(
        results["synaptic_operations_per_video"]["Dense"]
    )
    # On the videos of the first batch the rates are the same too, and with them all else.
    root = Path(results["config"]["data"]["init_args"]["root"])
    names = np.load(tmp_path / "x" / "scores.npz")["video"][:5]
    same = summarize(*(str(root / name) for name in names))
    assert same["spikes_per_neuron"] == pytest.approx(results["spikes_per_neuron"])
    energies = (result["energy_j_per_video"]["theoretical"] for result in (same, results))
    assert next(energies) == pytest.approx(next(energies))


def test_predict_labels_every_video_once(run: Path, tmp_path: Path) -> None:
    arguments = ["--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--run=p"]
    main(["predict", *arguments, f"--trainer.default_root_dir={tmp_path}", *TINY_TRAINER[:1]])
    lines = (tmp_path / "p" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "video,label,probability"
    assert len(lines) == 11
    assert sorted({line.split(",")[0].split("/")[1] for line in lines[1:]})[:2] == ["circle", "down"]


def test_classify_prints_labels_and_names_what_it_cannot_read(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"not a video")
    video = str(next(shapes.glob("test/left/*.mp4")))
    with pytest.raises(SystemExit) as stop:
        main(
            ["classify", video, str(broken), "--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--json"]
        )
    assert stop.value.code == 1
    captured = capsys.readouterr()
    first, second = map(json.loads, captured.out.splitlines())
    assert first["file"] == video
    assert len(first["predictions"]) == 5
    assert sum(item["probability"] for item in first["predictions"]) <= 1.0001
    assert "broken.avi" in second["error"]
    assert "1 of 2 files could not be labeled" in captured.err


def test_classify_agrees_with_predict(run: Path, shapes: Path, tmp_path: Path) -> None:
    from cvr_lightning.inference.classify import Classifier

    checkpoint = str(run / "checkpoints" / "last.ckpt")
    common = [f"--trainer.default_root_dir={tmp_path}", *TINY_TRAINER[:1]]
    main(["predict", "--ckpt_path", checkpoint, "--run=p", "--data.protocol=2x3", *common])
    trained = Classifier.from_checkpoint(checkpoint)
    views = replace(trained.sampling, views=2, crops=3)
    classifier = Classifier(trained.recognizer, trained.class_names, views)
    for line in (tmp_path / "p" / "predictions.csv").read_text().splitlines()[1:4]:
        name, label, probability = line.split(",")
        best = classifier(shapes / name)[0]
        assert best.label == label
        assert best.probability == pytest.approx(float(probability), abs=1e-3)


def test_many_files_are_labeled_in_batches_as_one_by_one(run: Path, shapes: Path, tmp_path: Path) -> None:
    from cvr_lightning.codec.errors import VideoError
    from cvr_lightning.inference.classify import Classifier

    trained = Classifier.from_checkpoint(run / "checkpoints" / "last.ckpt")
    views = replace(trained.sampling, views=2, crops=3)
    classifier = Classifier(trained.recognizer, trained.class_names, views)
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"not a video")
    videos = sorted(shapes.glob("test/*/*.mp4"))[:5]
    several = list(classifier.stream([broken, *videos, broken], top=3, batch_size=3, threads=2))
    assert [isinstance(item, VideoError) for item in several] == [True, *[False] * 5, True]
    for video, predictions in zip(videos, several[1:-1], strict=True):
        alone = classifier(video, top=3)
        assert [item.label for item in predictions] == [item.label for item in alone]
        for ours, its in zip(predictions, alone, strict=True):
            assert ours.probability == pytest.approx(its.probability, abs=1e-4)


def test_watch_prints_what_the_streaming_recognizer_gives(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cvr_lightning.codec.container.packets import open_packets
    from cvr_lightning.inference.streaming import StreamingRecognizer

    checkpoint, video = str(run / "checkpoints" / "last.ckpt"), shapes / "test" / "left" / "0000.mp4"
    recognizer = StreamingRecognizer.from_checkpoint(checkpoint, stride=3)
    with open_packets(video) as packets:
        expected = list(recognizer(packets))
    main(["watch", str(video), "--checkpoint", checkpoint, "--stride=3", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ("frame", "seconds", "label", "probability", "segments")
    assert lines == [{name: getattr(item, name) for name in names} for item in expected]
    main(["watch", str(video), "--checkpoint", checkpoint, "--stride=3"])
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split() == ["1.40", "s", f"{100 * expected[-1].probability:.1f}", "%", expected[-1].label]


def test_watch_reads_standard_input(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--json"]
    video = encode(tmp_path / "clip.avi", frames=6)
    main(["watch", str(video), *arguments])
    expected = capsys.readouterr().out
    with video.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        main(["watch", "-", *arguments])
    assert capsys.readouterr().out == expected


def test_ctrl_c_ends_watch_without_a_traceback(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(predictions: Iterable[StreamPrediction]) -> Iterator[StreamPrediction]:
        yield next(iter(predictions))
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "paced", interrupted)
    video = str(shapes / "test" / "left" / "0000.mp4")
    with pytest.raises(SystemExit) as stop:
        main(["watch", video, "--checkpoint", str(run / "checkpoints" / "last.ckpt"), "--realtime"])
    assert stop.value.code == 130
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert captured.err == ""


def test_results_are_printed_side_by_side(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        ["test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.enable_progress_bar=false"]
    )
    capsys.readouterr()
    main(["results", str(run), str(run)])
    top1 = next(line for line in capsys.readouterr().out.splitlines() if "top-1" in line)
    assert len(top1.split()) == 5


def test_results_tell_how_the_test_videos_were_held_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["test", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *TINY_TRAINER])
    results = json.loads((run / "results.json").read_text())
    assert "data                   Folder, test subset" in capsys.readouterr().out
    results["protocol"] |= {"subset": "10% of the videos of each class, held out by split_seed", "split": 3}
    (tmp_path / "results.json").write_text(json.dumps(results))
    main(["results", str(tmp_path)])
    found = capsys.readouterr().out
    assert "Folder, 10% held out, seed 3\n" in found


def test_a_limit_of_one_batch_tests_one_batch_and_says_so(
    run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    main(
        [
            "test",
            f"--ckpt_path={checkpoint}",
            f"--trainer.default_root_dir={tmp_path}",
            "--run=limited",
            "--trainer.limit_test_batches=1",
            "--trainer.enable_progress_bar=false",
        ]
    )
    results = read_results(tmp_path / "limited")
    assert (results["videos"], results["subset_videos"]) == (5, 10)
    assert "5 of 10 scored" in capsys.readouterr().out


def test_a_video_is_labeled_alike_in_bfloat16(
    run: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, checkpoint = str(next(shapes.rglob("*.mp4"))), str(run / "checkpoints" / "last.ckpt")
    probabilities = []
    for precision in ("32", "bf16"):
        main(["classify", file, "--checkpoint", checkpoint, "--json", "--top=10", "--precision", precision])
        predictions = json.loads(capsys.readouterr().out)["predictions"]
        probabilities.append({item["label"]: item["probability"] for item in predictions})
    assert probabilities[0] != probabilities[1]
    assert probabilities[1] == pytest.approx(probabilities[0], abs=0.03)


def test_names_that_are_not_utf8_are_preserved(shapes: Path, tmp_path: Path) -> None:
    odd, root, runs = os.fsdecode(b"$caf\xe9_$.mp4"), tmp_path / "odd", tmp_path / "runs"
    shutil.copytree(shapes, root)
    for part in ("val", "test"):
        for folder in (root / part).iterdir():
            next(folder.iterdir()).rename(folder / odd)
    (root / "test" / "left" / odd).write_bytes(b"no video")
    main(fit_arguments(root, runs, "--trainer.max_epochs=1"))
    weights = f"--ckpt_path={runs}/tiny/checkpoints/last.ckpt"
    for command in ("test", "predict"):
        main([command, weights, f"--trainer.default_root_dir={runs}", f"--run={command}", *SKIP])
    assert read_results(runs / "test")["unreadable"] == [f"test/left/{odd}"]
    written = (runs / "predict" / "predictions.csv").read_bytes()
    assert written.count(b"$caf\xe9_$.mp4") == 9


def test_validate_draws_its_images(run: Path, tmp_path: Path) -> None:
    weights = f"--ckpt_path={run}/checkpoints/last.ckpt"
    main(["validate", weights, f"--trainer.default_root_dir={tmp_path}", "--run=once", *TINY_TRAINER])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "once")).Reload()
    assert "val/confusion_matrix" in events.Tags()["images"]
