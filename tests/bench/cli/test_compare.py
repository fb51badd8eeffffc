"""`bench compare` on the command line: folders, files and stores as sides, every form, one line for what is wrong."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

from bench.outcome import Outcome, Result
from bench.store import Store, Tracker
from bench.suite import load_suite
from tests.command_line import bench_here

COMMITTED = Path(__file__).parents[3] / "suites/results"
SUITE = """
name: mine
workloads: [{name: in_context_regression, num_steps: 40, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax, relu_kernel, elu_kernel]
optimizers: [sgd]
knobs: {lr: [0.1, 1.0]}
seeds: 2
probe_every: 1
"""
HEADER = "workload,method,lr,seed,loss,initial_loss"


def lines(workload: str, methods: Sequence[str] = "abc", floor: float = 1.0) -> list[str]:
    """Runs whose sensitivities are 0.1 for the first method, 0.2 for the second and so on."""
    return [
        f"{workload},{method},{lr},{seed},{floor + (place + 1) * rise / 5},4"
        for place, method in enumerate(methods)
        for lr, rise in ((0.1, 0), (1.0, 1))
        for seed in (0, 1)
    ]


def write(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


@pytest.fixture
def bench(monkeypatch, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Runs `bench compare` in this process, in a folder with two files: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "one.csv", *lines("w"))
    write(tmp_path / "two.csv", *lines("v", floor=0.9))

    def run(*words: object) -> tuple[int, str, str]:
        found = bench_here(tmp_path, "compare", *words)
        return found.returncode, found.stdout, found.stderr

    return run


def test_the_table_says_who_is_best_and_who_is_not_separated(bench):
    code, out, err = bench("one.csv", "two.csv")
    assert (code, err) == (0, "")
    assert "LR sensitivity over 2 conditions" in out
    assert "Best mean rank under LR sensitivity: a, 1.00 of 3\n" in out
    # Ranks 1 2 3 twice: 12 * 2 / 12 * 2 = 4, and exp(-2) of the chi-square with two degrees of freedom.
    assert "Friedman's test over 2 conditions and 3 methods: chi2 4, p 0.17 (exact" in out
    assert "No method is separated from another\n" in out
    assert "Rank correlation with LR sensitivity" in out
    assert "A condition is one workload of one side under one optimizer" in out


def test_every_form_holds_the_same_numbers(bench):
    found = json.loads(bench("one.csv", "two.csv", "--format", "json")[1])
    assert {row["method"]: row["mean_rank"] for row in found["methods"]} == {"a": 1, "b": 2, "c": 3}
    code, out, err = bench("one.csv", "two.csv", "--format", "csv")
    rows = pl.read_csv(out.encode())
    values = {(row["condition"], row["method"]): row["value"] for row in found["scores"]}
    assert {(row[0], row[1]): row[2] for row in rows.select("condition", "method", "value").iter_rows()} == values
    assert (code, err.count("\n")) == (0, 3)
    assert err.startswith("Best mean rank under LR sensitivity: a")
    assert "| a | 1.00 | 1.00 |" in bench("one.csv", "two.csv", "--format", "md")[1]
    assert r"a & 1.00 & 1.00 &" in bench("one.csv", "two.csv", "--format", "latex")[1]


def test_out_holds_every_table_and_both_figures(bench, tmp_path):
    code, _, err = bench("one.csv", "two.csv", "--out", "deep/out")
    names = {path.name for path in (tmp_path / "deep/out").iterdir()}
    figures = {f"{name}.{form}" for name in ("profiles", "ranks") for form in ("svg", "png", "pdf")}
    tables = {f"{name}.csv" for name in ("scores", "methods", "conditions", "score_ranks", "agreement", "profiles")}
    assert (code, names) == (0, figures | tables)
    assert sorted(err.split()) == sorted(f"deep/out/{name}" for name in names)
    assert pl.read_csv(tmp_path / "deep/out/methods.csv")["mean_rank"].to_list() == [1, 2, 3]


def test_two_methods_have_no_figure_of_ranks(bench, tmp_path):
    for name, floor in (("one", 1.0), ("two", 0.9)):
        write(tmp_path / f"{name}.csv", *lines(name, "ab", floor))
    code, out, _ = bench("one.csv", "two.csv", "--out", "out")
    assert code == 0
    assert "Friedman's test takes three methods on all conditions at least, got 2: none is made\n" in out
    assert not (tmp_path / "out/ranks.svg").exists()
    assert (tmp_path / "out/profiles.svg").exists()


def test_figures_that_a_comparison_has_not_are_not_left_from_an_earlier_one(bench, tmp_path):
    bench("one.csv", "two.csv", "--out", "out")
    (tmp_path / "out/mine.svg").write_text("by hand")
    for name, floor in (("one", 1.0), ("two", 0.9)):
        write(tmp_path / f"{name}.csv", *lines(name, "ab", floor))
    code, _, err = bench("one.csv", "two.csv", "--out", "out")
    found = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".csv"}
    assert (code, found) == (0, {"profiles.svg", "profiles.png", "profiles.pdf", "mine.svg"})
    assert [line for line in err.splitlines() if "removed" in line] == [
        f"out/ranks.{form}: removed, this comparison has none" for form in ("svg", "png", "pdf")
    ]


def test_our_committed_results_are_compared(bench):
    sides = [COMMITTED / name for name in ("paper_table1", "lm_small_float32", "vit_digits")]
    found = json.loads(bench(*sides, "--format", "json")[1])
    decay_policies = ["vit_digits", "vit_digits"]
    assert [row["side"] for row in found["conditions"]] == ["paper_table1", "lm_small_float32", *decay_policies]
    ranked = [row["method"] for row in found["methods"] if row["mean_rank"] is not None]
    assert set(ranked) == {"softmax", "relu_kernel", "sigma_reparam_qk"}
    board = pl.read_csv(COMMITTED / "lm_small_float32/leaderboard.csv")
    ours = {row["method"]: row["value"] for row in found["scores"] if row["condition"] == "language_modeling"}
    of_methods = board.filter(pl.col("rank").is_not_null())
    assert ours == pytest.approx(dict(of_methods.select("method", "lr_sensitivity").iter_rows()))


@pytest.mark.slow
def test_a_suite_by_its_file_and_by_its_name_in_the_store_are_sides(bench, tmp_path):
    (tmp_path / "mine.yaml").write_text(SUITE)
    place = {"softmax": 1, "relu_kernel": 2, "elu_kernel": 3}
    results = [
        Result(
            trial=trial,
            outcome=Outcome.COMPLETED,
            initial_loss=4.0,
            final_loss=0.8 + (0.2 * place[trial.method.name] if trial.knobs.lr == 1.0 else 0.0),
            diverged_step=None,
            wall_s=1.0,
        )
        for trial in load_suite(tmp_path / "mine.yaml", allow_code=False).expand()
    ]
    tracker = Tracker(Store(tmp_path / "store", warn=pytest.fail), "mine")
    tracker.put(results, {})
    assert tracker.close() == 0
    write(tmp_path / "one.csv", *[line for name in place for line in lines("w", [name])])
    for name in ("mine", "mine.yaml"):
        code, out, _ = bench(name, "one.csv", "--store", "store", "--format", "json")
        found = json.loads(out)
        assert code == 0
        assert {row["side"] for row in found["conditions"]} == {"mine", "one"}
        assert len(found["methods"]) == 3
    for words, fragment in (
        (("mine", "mine.yaml"), "given 2 times; required each side once\n"),
        (("mine", "nobody"), "nobody: no such file, folder or suite; required a suite file, a report's folder, a tidy"),
    ):
        code, out, err = bench(*words, "--store", "store")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert fragment in err


def test_sides_of_one_name_are_told_apart_by_their_paths(bench, tmp_path):
    write(tmp_path / "a/run/curves.csv", *lines("w"))
    write(tmp_path / "b/run/curves.csv", *lines("w", floor=0.9))
    found = json.loads(bench("a/run", "b/run", "--format", "json")[1])
    assert [row["condition"] for row in found["conditions"]] == ["w (a/run)", "w (b/run)"]


def test_any_score_of_results_and_either_loss(bench):
    sides = [COMMITTED / name for name in ("lm_small_float32", "vit_digits")]
    code, out, _ = bench(*sides, "--score", "best_loss", "--loss", "validation", "--format", "json")
    found = json.loads(out)
    assert (code, found["score"], found["loss"]) == (0, "best_loss", "validation")
    assert all(math.isfinite(row["value"]) for row in found["scores"])
    one = pl.read_csv(COMMITTED / "lm_small_float32/curves.csv").filter(method="softmax").group_by("lr")
    least = one.agg(pl.min_horizontal("val_loss", "initial_val_loss").mean())["val_loss"].min()
    values = {(row["condition"], row["method"]): row["value"] for row in found["scores"]}
    assert values["language_modeling", "softmax"] == pytest.approx(least)


@pytest.mark.parametrize("name", ["Method", "workload", "Profile"])
def test_a_workload_may_be_called_as_a_column_is(bench, tmp_path, name):
    write(tmp_path / "one.csv", *lines(name))
    assert bench("one.csv", "two.csv")[0] == 0


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["one.csv"], "a comparison takes two workloads or conditions at least, got 1 (w)"),
        (["one.csv", "one.csv"], "one.csv is given 2 times; required each side once"),
        (["one.csv", "./one.csv"], "one.csv is given 2 times; required each side once"),
        (
            ["one.csv", "copy.csv"],
            "got 1 (w); left out: w, unknown of copy: its runs are those of w, unknown of one: ",
        ),
        (["one.csv", "other.csv"], "methods must overlap: required two at least on all 2 conditions (w, u), got none"),
        (["one.csv", "none.csv"], "none.csv: no such file"),
        (["one.csv", "empty"], "empty: no curves.csv in this folder; required that of a report"),
        (["one.csv", "broken.csv"], "broken.csv: row 1, column 'lr': 'fast'"),
        (
            ["one.csv", "two.csv", "--score", "spike_rate"],
            "score 'spike_rate' can't rank methods here: it needs traces",
        ),
        (["one.csv", "two.csv", "--score", "best_lr"], "can't rank methods here: neither high nor low is better"),
        (["one.csv", "two.csv", "--score", "edge"], "unknown score 'edge'; did you mean 'edge_lr'?"),
        (["one.csv", "two.csv", "--loss", "validation"], "has a held-out loss"),
        (["one.csv", "two.csv", "--out", "one.csv"], "--out one.csv: required a folder, or a place to make one"),
        (["one.csv", "two.csv", "--out", "one.csv/deep"], "--out one.csv/deep: required a folder"),
    ],
)
def test_what_is_wrong_is_one_line_with_exit_code_2(bench, tmp_path, words, fragment):
    write(tmp_path / "copy.csv", *lines("w"))
    write(tmp_path / "other.csv", *lines("u", "xyz", 0.9))
    write(tmp_path / "broken.csv", "w,a,fast,0,1,4")
    (tmp_path / "empty").mkdir()
    code, out, err = bench(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert fragment in err


def test_no_side_is_bad_usage(bench):
    assert bench()[0] == 2
