"""`bench scores` and `bench power` on a store that no training filled."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analysis.scores.kinds import SCORE_KINDS
from bench.outcome import Outcome, Result
from bench.results.publish import publish
from bench.results.stored import Stored
from bench.results.subjects import read_grid
from bench.store import Store, Tracker, read_results, read_traces
from bench.suite import load_suite
from bench.trace import TRACE_COLUMNS
from tests.analysis.scored_results import scored_table
from tests.command_line import bench_here

SUITE = """
name: scored
workloads: [{name: in_context_regression, num_steps: 40, final_loss_steps: 4, batch_size: 4, depth: 1, num_pairs: 5}]
methods: [softmax, relu_kernel, elu_kernel]
optimizers: [sgd]
knobs: {lr: [1e-3, 0.1, 1.0]}
seeds: 3
probe_every: 1
"""


def trace(final: float, collapses: bool) -> pl.DataFrame:
    rows = [(step, "loss", -1, final + (4 - final) * math.exp(-step / 5)) for step in range(40)]
    rows += [(step, "entropy", 0, 0.01 if collapses and step > 20 else 1.5) for step in range(40)]
    schema = {name: getattr(pl, dtype) for name, dtype in TRACE_COLUMNS.items()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def results(suite: Path) -> list[Result]:
    """Of all trials of the suite: softmax diverges at the largest rate, ReLU and ELU learn less."""
    made = []
    for trial in load_suite(suite, allow_code=False).expand():
        place = ["softmax", "relu_kernel", "elu_kernel"].index(trial.method.name)
        diverged = trial.knobs.lr == 1.0 and place == 0
        loss = 1 + place / 2 + abs(math.log10(trial.knobs.lr) + 1) / 2 + trial.seed / 50
        made.append(
            Result(
                trial=trial,
                outcome=Outcome.DIVERGED if diverged else Outcome.COMPLETED,
                initial_loss=4.0,
                final_loss=math.inf if diverged else loss,
                diverged_step=30 if diverged else None,
                wall_s=2.0,
            )
        )
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    (folder / "scored.yaml").write_text(SUITE)
    made = results(folder / "scored.yaml")
    ends = {one.trial.id: 3.0 if one.final_loss is None else min(one.final_loss, 3.0) for one in made}
    traces = {one.trial.id: trace(ends[one.trial.id], one.outcome is Outcome.DIVERGED) for one in made}
    tracker = Tracker(
        Store(folder / "store", f"sqlite:///{folder / 'store' / 'mlflow.db'}", warn=pytest.fail), "scored"
    )
    tracker.put(made, traces)
    assert tracker.close() == 0
    return folder


def bench(folder: Path, *words: str) -> tuple[int, str, str]:
    found = bench_here(folder, *words)
    return found.returncode, found.stdout, found.stderr


def scores(folder: Path, *words: str) -> tuple[int, str, str]:
    return bench(folder, "scores", "scored.yaml", "--store", "store", *words)


def test_csv_and_json_are_the_score_table(folder):
    store = Store(folder / "store", None, warn=pytest.fail)
    stored = read_results(store, "scored")
    # In-context regression of 5 pairs and a query has 6 keys.
    expected = scored_table(stored, read_traces(store, "scored", stored["trial_id"].to_list()), 6, "train")
    code, text, _ = scores(folder, "--format", "csv")
    assert (code, text) == (0, expected.write_csv())
    assert json.loads(scores(folder, "--format", "json")[1]) == expected.to_dicts()
    collapsed = expected.filter(score="entropy_collapse_share", method="softmax")["value"].item()
    assert collapsed == pytest.approx(1 / 3)


def test_table_shows_every_score_and_how_far_they_agree(folder):
    code, out, err = scores(folder)
    assert code == 0
    assert all(name in out for name in SCORE_KINDS)
    assert "Order under each score, separated or not, on in_context_regression" in err
    assert "Rank correlation with LR sensitivity" in err


def test_an_entry_at_chance_is_said_to_be(folder, tmp_path):
    (tmp_path / "scored.yaml").write_text(SUITE)
    tracker = Tracker(Store(tmp_path / "store", warn=pytest.fail), "scored")
    made = results(tmp_path / "scored.yaml")
    tracker.put([replace(one, final_loss=4.1) if one.trial.method.name == "elu_kernel" else one for one in made], {})
    assert tracker.close() == 0
    lines = [line for line in scores(tmp_path, "--wide")[1].splitlines() if line.strip()]
    told = [line for line in lines if "at chance: nothing was learned" in line]
    assert len(told) == len(SCORE_KINDS)
    assert all("elu_kernel" in line for line in told)


def test_markdown_holds_tables_alone(folder):
    code, out, err = scores(folder, "--format", "md")
    assert (code, err) == (0, "")
    assert "**Order under each score, separated or not, on in\\_context\\_regression" in out


def test_differences_of_one_score(folder):
    code, out, _ = scores(folder, "--differences", "loss_at_default", "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["first"], row["second"]) for row in rows] == [
        ("elu_kernel, sgd", "relu_kernel, sgd"),
        ("elu_kernel, sgd", "softmax, sgd"),
        ("relu_kernel, sgd", "softmax, sgd"),
    ]
    assert {row["verdict"] for row in rows} == {"second better"}
    for form in ("table", "md"):
        assert "second better" in scores(folder, "--differences", "loss_at_default", "--format", form)[1]


def test_bad_requests_are_one_line_with_exit_code_2(folder):
    code, out, err = scores(folder, "--differences", "best_los")
    assert (code, out) == (2, "")
    assert err.startswith("unknown score 'best_los'; did you mean 'best_loss'?")
    assert err.count("\n") == 1


def test_a_suite_that_searches_has_no_grid_to_score(folder):
    (folder / "searched.yaml").write_text(SUITE.replace("name: scored", "name: searched") + "search: sensitivity\n")
    code, _, err = bench(folder, "scores", "searched.yaml", "--store", "store")
    assert code == 2
    assert "searched asks for a search" in err


def test_power_says_how_many_seeds_to_plan(folder):
    assert bench(folder, "power", "0.5", "1.0") == (0, "34\n", "")
    assert bench(folder, "power", "0.01", "1.0") == (0, "more than 100\n", "")
    assert bench(folder, "power", "0.5", "1.0", "--pairs", "0")[0] == 2


@pytest.mark.slow
def test_the_page_on_mlflow_has_the_same_scores(folder):
    store = Store(folder / "store", f"sqlite:///{folder / 'store' / 'mlflow.db'}", warn=pytest.fail)
    tracker = Tracker(store, "scored")
    suite = load_suite(folder / "scored.yaml", allow_code=False)
    publish(read_grid(Stored.of(suite), store), store, tracker)
    assert tracker.close() == 0
    (published,) = (folder / "store").rglob("scores.csv")
    assert published.read_text(encoding="utf-8") == scores(folder, "--format", "csv")[1]
