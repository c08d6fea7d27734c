"""Results as CSV, LaTeX and JSON."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.score_files import make_score_file

from cvr_lightning.cli.main import main
from cvr_lightning.evaluation.formats import latex_escaped
from cvr_lightning.evaluation.results import write_results

RESULTS = {
    "top1": 0.98125,
    "top5": 1.0,
    "top1_all": 0.98125,
    "top5_all": 1.0,
    "videos": 2,
    "subset_videos": 547,
    "unreadable": [],
    "missing": 3,
    "protocol": {
        "name": "5x3",
        "dataset": "UCF101",
        "subset": "test",
        "split": 1,
        "segments": 8,
        "pframes": 3,
        "modalities": ["iframes", "motion"],
        "views": 5,
        "crops": 3,
        "crop": 224,
        "averaging": "softmax",
    },
    "videos_per_second": {"with_reading": 1.0, "model_only": 2.0},
    "parameters": 1_834_000,
    "gmac_per_video": 2.7654321,
    "energy_j_per_video": {"theoretical": 0.01264321, "measured": None},
    "activation_sparsity": 0.9,
    "spikes_per_neuron": {"modulator1": 1.02, "modulator2": 7.3},
    "break_even_spikes": 4.6 / 0.9,
}


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A run whose name needs escaping everywhere."""
    write_results(tmp_path / 'a_b & "50%",c' / "results.json", RESULTS)
    return str(tmp_path / 'a_b & "50%",c')


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["results", *arguments])
    return capsys.readouterr().out


def test_the_table_has_parameters_millijoules_and_what_spikes_cost(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line.split("  ") for line in printed(capsys, run).splitlines()]
    table = {row[1]: row[-1].strip() for row in rows}
    assert table["videos"] == "2 of 547 scored, 0 unreadable, 3 missing"
    assert table["parameters"] == "1.83 M"
    assert table["mJ/video theoretical"] == "12.64"
    assert table["mJ/video measured"] == "not measured"
    assert table["spikes/neuron"] == "1.02, 7.30 (break-even 5.1)"


def test_csv_is_read_back_with_every_digit_and_any_name(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(capsys, run, run, "--format", "csv"))))
    assert [row["run"] for row in rows] == [run, run]
    assert float(rows[0]["gmac_per_video"]) == 2.7654321
    assert float(rows[0]["theoretical_mj_per_video"]) == pytest.approx(12.64321)
    assert rows[0]["measured_mj_per_video"] == ""
    assert (rows[0]["videos"], rows[0]["subset_videos"], rows[0]["parameters"]) == ("2", "547", "1834000")


def test_json_holds_the_records_of_the_csv(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = json.loads(printed(capsys, run, "--format", "json"))
    (row,) = csv.DictReader(io.StringIO(printed(capsys, run, "--format", "csv")))
    assert {key: "" if value is None else str(value) for key, value in record.items()} == row


def test_latex_is_a_booktabs_tabular_with_escaped_cells(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, run, "--format", "latex").splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrr}"
    assert lines[1::2] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert lines[-1] == r"\end{tabular}"
    cells = lines[4].removesuffix(r" \\").split(" & ")
    assert cells[0].endswith(r"a\_b \& \"50\%\",c".replace(r"\"", '"'))
    assert cells[1:] == [
        r"98.12 \%",
        r"100.00 \%",
        "2 of 547 scored, 0 unreadable, 3 missing",
        "1.83 M",
        "2.765",
        "12.64",
    ]


def test_every_letter_that_latex_takes_for_a_command_is_escaped() -> None:
    assert latex_escaped(r"\input{a}$^~#%&_") == (
        r"\textbackslash{}input\{a\}\$\textasciicircum{}\textasciitilde{}\#\%\&\_"
    )
    assert latex_escaped("a\nb") == r"a\textbackslash{}nb"


@pytest.mark.parametrize("more", [["--mean"], ["--fuse"]])
def test_the_mean_and_the_fusion_take_every_format(
    tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []
    for split in (1, 2):
        whole: dict[str, Any] = RESULTS | {
            "subset_videos": 2,
            "protocol": RESULTS["protocol"] | {"split": split},
        }
        write_results(tmp_path / str(split) / "results.json", whole)
        make_score_file(split).write(tmp_path / str(split) / "scores.npz")
        runs.append(str(tmp_path / str(split)))
    records = list(csv.DictReader(io.StringIO(printed(capsys, *runs, *more, "--format", "csv"))))
    assert [record["run"] for record in records] == [
        *runs,
        *(["mean", "std"] if "--mean" in more else ["fused"]),
    ]
    latex = printed(capsys, *runs, *more, "--format", "latex")
    assert latex.count(r"\\") == 1 + len(records)


def test_averaging_without_fusion_is_refused(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["results", run, "--averaging", "logits"])
    assert "--averaging belongs to --fuse" in capsys.readouterr().err


def test_results_are_printed_without_torch(run: str) -> None:
    code = (
        "import sys; from cvr_lightning.cli.main import main; main(sys.argv[1:]); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "results", run], check=True, timeout=60)
