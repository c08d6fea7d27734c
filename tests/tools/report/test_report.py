"""``cvr report``: one page with the right numbers, which escapes names and says what is missing."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.encoders import COARSE, encode

from cvr_lightning.cli.main import main
from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.evaluation.video_table import softmax
from cvr_lightning.tools.report.charts import Curve, cost_chart, curve_chart, thin
from cvr_lightning.tools.report.classes import confusion
from cvr_lightning.tools.report.run import Run, short_names
from cvr_lightning.tools.report.worst import worst_videos
from cvr_lightning.training.metrics_file import MetricsFile

HOSTILE = "<script>alert('x')</script> & \"$q$"
CLASSES = ("left", "right", HOSTILE)
LABELS = np.array([0, 0, 0, 1, 1, 2, -1])
LOGITS = np.array(
    [[3, 0, 0], [2, 0, 0], [0, 1, 0], [0, 2, 0], [0, 1, 0], [9, 0, 0], [0, 0, 1]],
    np.float32,
)
RESULTS = {
    "top1": 4 / 6,
    "top5": None,
    "top1_all": 4 / 6,
    "top5_all": None,
    "videos": 7,
    "unreadable": [],
    "protocol": {
        "name": None,
        "dataset": "Folder",
        "subset": "test",
        "segments": 4,
        "pframes": 4,
        "modalities": ["iframes", "motion"],
        "views": 1,
        "crops": 1,
        "crop": 96,
        "averaging": "softmax",
    },
    "videos_per_second": {"with_reading": 18.58, "model_only": 19.71},
    "parameters": 1_830_000,
    "gmac_per_video": 0.0521,
    "effective_gmac_per_video": 0.0388,
    "effective_gac_per_video": 0.000131,
    "energy_j_per_video": {
        "theoretical": 0.00018,
        "by_part": {"iframe_encoder": 0.00012, "transformer": 0.00006},
        "measured": None,
        "includes": "compute of the model",
        "measured_includes": "no counter",
    },
    "activation_sparsity": 0.936,
    "versions": {"torch": "2.13.0+cpu", "gpu": "none"},
}


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps text, pictures and what could reach out."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open and self.open[-1] != "style" else ""


def write_run(path: Path, root: Path | None = None) -> str:
    """A run whose data lies at a root, where that is given."""
    ScoreFile(
        video=np.array([f"test/{number}.mp4" for number in range(6)] + [f"test/{HOSTILE}.mp4"], np.str_),
        label=LABELS,
        views=np.ones(7, np.int64),
        logits=LOGITS,
        probabilities=softmax(LOGITS),
        class_names=np.array(CLASSES, np.str_),
        unreadable=np.array([], np.str_),
    ).write(path / "scores.npz")
    (path / "results.json").write_text(json.dumps(RESULTS))
    config = {"model": {"preset": "tiny"}, "data": {"class_path": "Folder", "init_args": {"root": str(root)}}}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    logger = MetricsFile(path)
    for step in range(5):
        logger.log_metrics({"train/loss": 2.0 - 0.25 * step}, step)
    logger.log_metrics({"val/loss": 1.5, "val/top1": 0.5}, 4)
    logger.finalize("success")
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one video of the highest loss is there."""
    root = tmp_path_factory.mktemp("data")
    (root / "test").mkdir()
    encode(root / "test" / "5.mp4", size=(64, 48), frames=5, options=COARSE)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_run(tmp_path_factory.mktemp("runs") / "first", data)


@pytest.fixture(scope="module")
def page(run: str, tmp_path_factory: pytest.TempPathFactory) -> Page:
    output = tmp_path_factory.mktemp("page") / "report.html"
    main(["report", run, "--output", str(output), "--worst", "2"])
    return Page(output)


def test_the_page_needs_nothing_beside_it(page: Page) -> None:
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "iframe", "object", "base"}
    sources = [attributes["src"] or "" for _, attributes in page.seen if "src" in attributes]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,iVBOR")
    links = [attributes.get("href", attributes.get("xlink:href")) for _, attributes in page.seen]
    assert all(link.startswith("#") for link in links if link is not None)  # marks inside of a chart


def test_the_numbers_are_those_of_the_files(page: Page) -> None:
    text = page.text
    assert "66.67 %" in text  # top-1 of results.json
    assert "0.052" in text
    assert "120.000 (66.7 %)" in text  # microjoules of a part of the model, and its fraction
    assert "66.7 % (2 of 3)" in text  # left
    assert "100.0 % (2 of 2)" in text  # right
    assert "0.0 % (0 of 1)" in text
    assert "4 of 6 videos correct" in text
    assert "not measured" in text
    assert "2.13.0+cpu" in text
    assert "preset: tiny" in text


def test_the_worst_video_comes_first_with_its_loss(run: str, page: Page) -> None:
    loss = np.log(np.exp(9.0) + 2) - 0.0
    fraction = np.exp(9.0) / (np.exp(9.0) + 2)
    assert (
        f"1. test/5.mp4: {HOSTILE}, predicted left ({100 * fraction:.1f} %), loss {loss:.3f} nats"
        in page.text
    )
    videos = worst_videos(Run.read(run), 9)
    assert [video.name for video in videos][:2] == ["test/5.mp4", "test/2.mp4"]
    assert len(videos) == 6  # the one without a label has no loss
    assert videos[0].sheet is not None
    assert videos[1].sheet is None
    assert videos[1].missing.endswith("2.mp4 does not exist")


def test_a_video_that_is_not_there_is_named(page: Page, data: Path) -> None:
    assert f"Missing: no sheet: {data / 'test' / '2.mp4'} does not exist" in page.text


def test_curves_are_those_of_the_event_files(run: str, page: Page) -> None:
    curves = Run.read(run).curves
    np.testing.assert_allclose(curves["train/loss"], [[step, 2.0 - 0.25 * step] for step in range(5)])
    np.testing.assert_allclose(curves["val/top1"], [[4, 0.5]])
    assert "Missing: learning rate: no run has logged train/learning_rate" in page.text


def test_names_are_escaped_everywhere(tmp_path: Path, data: Path) -> None:
    run = write_run(tmp_path / "<b onclick=x>&\"'", data)
    main(["report", run, "--output", str(tmp_path / "r.html"), "--worst", "0"])
    page = Page(tmp_path / "r.html")
    assert not [tag for tag, _ in page.seen if tag in ("script", "b")]
    assert not [attributes for _, attributes in page.seen if "onclick" in attributes]
    assert run in page.text
    assert HOSTILE in page.text


def test_runs_are_shown_side_by_side_with_their_differences(run: str, data: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", data)
    config = yaml.safe_load(Path(other, "config.yaml").read_text())
    config["model"]["preset"] = "small"
    Path(other, "config.yaml").write_text(yaml.safe_dump(config))
    main(["report", run, other, "--output", str(tmp_path / "r.html"), "--worst", "0"])
    html = (tmp_path / "r.html").read_text()
    first, second = short_names([run, other])
    row = '<tr><th scope="row">model.preset</th><td>tiny</td><td>small</td></tr>'
    assert row in html
    assert "<h1>Report: 2 runs</h1>" in html
    assert f"{second}: {other}" in html  # the short name and the path, once
    assert f"loss (nats) over training step: {first}: train/loss, {first}: val/loss, {second}: train" in html
    assert f">{second}, 66.7 %</text>" in html  # accuracy against energy


def test_a_report_has_the_same_bytes_every_time_but_for_its_date(run: str, tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        main(["report", run, run, "--output", str(tmp_path / name), "--worst", "0"])
        pages.append(re.sub(r"Written [^<]*", "", (tmp_path / name).read_text()))
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        (["runs/first", "runs/second"], ["first", "second"]),
        (["runs/demo", "runs/demo/iframes_only/"], ["demo", "demo/iframes_only"]),
        (["/a/x/run", "/b/x/run"], ["a/x/run", "b/x/run"]),
        (["some/where/only"], ["only"]),
    ],
)
def test_names_of_runs_omit_their_common_folders(runs: list[str], names: list[str]) -> None:
    assert short_names(runs) == names


def test_missing_parts_are_named_on_the_page_and_by_the_command(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_text("model: {preset: tiny}\n")
    main(["report", str(bare), "--output", str(tmp_path / "r.html")])
    said = capsys.readouterr().out
    text = Page(tmp_path / "r.html").text
    for what in (f"{bare}/results.json (cvr test writes it)", f"{bare}/scores.npz", f"{bare}/metrics.csv"):
        assert f"missing: {what}" in said
        assert f"Missing: {what}" in text
    assert "no run has results.json; cvr test writes it" in text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such run directory; cvr fit writes one into runs/"),
        ({}, "holds nothing of a run (results.json, scores.npz, config.yaml, metrics.csv)"),
        ({"results.json": "{}"}, "not a valid results file"),
        ({"config.yaml": "- a list"}, "not a configuration, which is a mapping"),
        ({"scores.npz": "no zip"}, "not a valid score file"),
    ],
)
def test_a_folder_that_is_not_a_run_is_an_error(
    files: dict[str, str] | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    for name, content in (files or {}).items():
        path.mkdir(exist_ok=True)
        (path / name).write_text(content)
    if files is not None:
        path.mkdir(exist_ok=True)
    with pytest.raises(SystemExit, match="1"):
        main(["report", str(path), "--output", str(tmp_path / "r.html")])
    error = capsys.readouterr().err
    assert str(path) in error
    assert message in error
    assert not (tmp_path / "r.html").exists()


def test_a_directory_is_not_an_output(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["report", run, "--output", str(tmp_path)])
    assert "it is a directory; give --output a file name" in capsys.readouterr().err


def test_a_file_that_is_not_a_page_is_kept(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video.avi").write_text("mine")
    with pytest.raises(SystemExit, match="1"):
        main(["report", run, "--output", str(tmp_path / "video.avi")])
    assert "give --output a name that ends in .html" in capsys.readouterr().err
    assert (tmp_path / "video.avi").read_text() == "mine"


def test_a_curve_of_one_point_has_a_dot_and_one_of_many_is_averaged() -> None:
    dot = "fill: #ff0000"
    assert dot in curve_chart([Curve(np.array([[4.0, 0.5]]), "#ff0000")], "loss")
    many = np.stack([np.arange(1000.0), np.arange(1000.0)], axis=1)
    assert dot not in curve_chart([Curve(many, "#ff0000")], "loss")
    assert len(thin(many)) == 300
    assert thin(many)[0].tolist() == [1.5, 1.5]  # the mean of the first four


def test_values_that_are_not_finite_are_left_out(data: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", data)
    Path(run, "metrics.csv").write_text("step,val/top5\n0,nan\n1,inf\n")
    main(["report", run, "--output", str(tmp_path / "r.html"), "--worst", "0"])
    assert "top-5 (%): no run has logged val/top5" in Page(tmp_path / "r.html").text


def test_names_in_charts_are_text_and_no_formulas() -> None:
    svg = cost_chart([(HOSTILE + "$x$\x00", "red", 2.0, 50.0), ("b", "blue", 8.0, 60.0)])
    assert "&lt;script&gt;alert('x')&lt;/script&gt; &amp; \"$q$$x$\\x00, 50.0 %</text>" in svg
    assert "<script" not in svg


def scored(run: str, counts: list[list[int]]) -> Run:
    """The run with the labels and predictions of a confusion matrix."""
    pairs = np.array([(r, c) for r, row in enumerate(counts) for c, n in enumerate(row) for _ in range(n)])
    logits = np.eye(len(counts), dtype=np.float32)[pairs[:, 1]]
    read = Run.read(run)
    assert read.scores is not None
    names = np.array([f"c{number}" for number in range(len(counts))], np.str_)
    scores = replace(
        read.scores, label=pairs[:, 0], logits=logits, probabilities=softmax(logits), class_names=names
    )
    return replace(read, scores=scores)


def test_a_cell_of_the_confusion_matrix_says_what_it_counts(run: str) -> None:
    found = confusion(scored(run, [[3, 1], [0, 2]]))
    assert found["rows"][0]["cells"][1] == {
        "videos": 1,
        "percent": 25,
        "is_right": False,
        "about": "c0 predicted as c1: 1 of 4",
    }
    assert found["top"] == []


def test_of_many_classes_the_most_frequent_confusions_are_listed(run: str) -> None:
    counts = np.diag([4] * 30)
    counts[3, 7], counts[8, 2] = 5, 1
    found = confusion(scored(run, counts.tolist()))
    assert found["rows"] == []
    assert found["top"] == [["c3", "c7", "5 of 9"], ["c8", "c2", "1 of 5"]]


def test_characters_that_cannot_be_shown_are_escaped(data: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", data)
    Path(run, "config.yaml").write_text('model: {preset: "a\\0b\\e[0m"}\n')
    main(["report", run, "--output", str(tmp_path / "r.html"), "--worst", "0"])
    text = (tmp_path / "r.html").read_text()
    assert "\x00" not in text
    assert "\x1b" not in text


def test_scores_of_averaged_logits_are_ranked_by_them(run: str) -> None:
    scored = Run.read(run)
    assert scored.scores is not None
    assert scored.results is not None
    flipped = replace(scored.scores, logits=-scored.scores.logits)
    protocol = {**scored.results["protocol"], "averaging": "logits"}
    by_logits = replace(scored, scores=flipped, results={**scored.results, "protocol": protocol})
    assert by_logits.table.confusion_matrix().trace() == 1  # of equals, the first
    assert scored.table.confusion_matrix().trace() == 4
