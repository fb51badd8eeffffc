"""`bench diff` on the command line: what moved between two sides, and what is no side."""

import json
import math
import re
from pathlib import Path

import polars as pl
import pytest

GOOD = "method,lr,seed,loss,initial_loss\na,0.1,0,1,2\na,0.2,0,1.5,2\n"
COMMITTED = Path(__file__).parents[3] / "suites/results"


def perturbed(folder: Path) -> Path:
    """Table 1 as it was, but for relu_kernel: worse by half and a little more for each seed, save at its best lr."""
    curves = pl.read_csv(COMMITTED / "paper_table1/curves.csv")
    is_changed = (pl.col("method") == "relu_kernel") & pl.col("final_loss").is_finite() & (pl.col("lr") != 0.01)
    loss = pl.col("final_loss") * (1.5 + pl.col("seed") / 50)
    folder.mkdir()
    changed = curves.with_columns(final_loss=pl.when(is_changed).then(loss).otherwise(pl.col("final_loss")))
    changed.write_csv(folder / "curves.csv")
    manifest = json.loads((COMMITTED / "paper_table1/manifest.json").read_text())
    manifest["packages"]["torch"] = "2.13.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_diff_of_a_folder_with_itself_finds_nothing(bench):
    folder = COMMITTED / "paper_table1"
    code, printed, said = bench("diff", folder, folder, "--fail-on-change")
    assert code == 0
    assert printed.count(" identical ") == 8
    assert "760 trials in both: 760 end the same" in said
    entries = json.loads(bench("diff", folder, folder, "--format", "json")[1])["entries"]
    unranked = [entry["method"] for entry in entries if entry["rank_a"] is None or entry["rank_b"] is None]
    assert unranked == ["softmax_control"]


def test_diff_finds_the_method_that_moved(bench, tmp_path):
    words = ("diff", COMMITTED / "paper_table1", perturbed(tmp_path / "changed"))
    code, printed, _ = bench(*words, "--format", "json")
    found = json.loads(printed)
    verdicts = {entry["method"]: entry["verdict"] for entry in found["entries"]}
    assert verdicts.pop("relu_kernel") == "higher"
    assert set(verdicts.values()) == {"identical"}
    assert found["manifests"] == [{"field": "packages.torch", "a": "2.11.0", "b": "2.13.0"}]
    assert code == 0
    code, printed, _ = bench(*words, "--format", "csv", "--fail-on-change")
    assert code == 3
    rows_of_csv = pl.read_csv(printed.encode())
    assert rows_of_csv["difference"].to_list() == [entry["difference"] for entry in found["entries"]]


def test_diff_of_two_committed_suites_compares_what_they_share(bench):
    code, printed, said = bench("diff", COMMITTED / "paper_table1", COMMITTED / "optimizer_matrix")
    assert code == 0
    assert "in one alone, 10 of 57" in printed
    assert re.search(r"suite\.workloads\.in_context_regression\.num_steps +10000", printed)
    assert "workload in_context_regression of A is compared with in_context_regression(num_steps=1000) of B" in said
    assert "7 entries in both" in said


@pytest.mark.parametrize(
    ("a", "b", "fragment"),
    [
        ("good.csv", "nowhere.csv", "nowhere.csv: no such file"),
        ("good.csv", "empty", "empty: no curves.csv in this folder"),
        ("good.csv", "damaged", "manifest.json: can't be read as JSON"),
        ("good.csv", "listed", "manifest.json: required a JSON object"),
        ("broken.csv", "good.csv", "broken.csv: row 1, column 'lr'"),
        ("good.csv", "wrong.yaml", "wrong.yaml: no such suite file"),
    ],
)
def test_diff_of_what_is_no_side_is_one_line(bench, tmp_path, a, b, fragment):
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "broken.csv").write_text(GOOD.replace("0.1", "x"))
    for name, text in {"damaged": "{", "listed": "[]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "curves.csv").write_text(GOOD)
        (tmp_path / name / "manifest.json").write_text(text)
    (tmp_path / "empty").mkdir()
    code, printed, said = bench("diff", a, b)
    assert (code, printed) == (2, "")
    assert fragment in said
    assert said.count("\n") == 1


def test_diff_of_two_workloads_of_one_file(bench, tmp_path):
    runs = [f"{w},a,{lr},{s},{lr + s / 10 + (w == 'v')},4" for w in "vw" for lr in (1.0, 2.0) for s in (0, 1)]
    (tmp_path / "runs.csv").write_text("\n".join(["workload,method,lr,seed,loss,initial_loss", *runs]) + "\n")
    code, printed, _ = bench("diff", "runs.csv", "runs.csv", "--workloads", "v", "w", "--format", "json")
    (entry,) = json.loads(printed)["entries"]
    assert (code, entry["workload"], entry["score_a"]) == (0, "v against w", pytest.approx(0.5))
    assert math.isclose(entry["difference"], 0.0, abs_tol=1e-12)
    assert "did you mean" not in bench("diff", "runs.csv", "runs.csv", "--workloads", "v", "xyz")[2]
