"""The Python interface on a store that holds a suite: what it gives is what the commands print and write."""

import csv
import inspect
import io
import subprocess
import sys
from pathlib import Path

import altair as alt
import polars as pl
import pytest

import bench
from bench.store import Store, Tracker
from tests.bench.store import finished_packs
from tests.command_line import bench_here


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("api")
    suite = finished_packs.suite("kept")
    store = Store(home, f"sqlite:///{home / 'mlflow.db'}", warn=pytest.fail)
    tracker = Tracker(store, suite.name)
    tracker.keep_suite(suite.text)
    finished_packs.deliver_suite(tracker, store, suite)
    return home


@pytest.fixture(scope="module")
def results(home) -> bench.Results:
    return bench.load("kept", store=home)


def printed(*words: object) -> str:
    done = bench_here(Path(), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(text: str) -> int:
    return sum(1 for _ in csv.DictReader(io.StringIO(text)))


def test_public_names_are_these_and_each_says_what_it_is():
    assert bench.__all__ == ["BenchError", "Options", "Results", "Suite", "__version__", "load", "run"]
    for name in set(bench.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(bench, name)), name
    members = [name for name in dir(bench.Results) if not name.startswith("_")]
    assert members == ["bundle", "charts", "compare", "curves", "differences", "leaderboard", "missing", "name",
                       "report", "scores", "traces", "traces_of", "trials"]  # fmt: skip
    assert all(inspect.getdoc(getattr(bench.Results, name)) for name in members)
    with pytest.raises(AttributeError, match="has no attribute 'trials'; it has BenchError, Options"):
        _ = bench.trials


def test_importing_it_loads_nothing_that_computes_stores_or_draws():
    heavy = ("torch", "ray", "mlflow", "polars", "numpy", "altair", "pydantic", "optuna")
    code = f"import sys, bench; dir(bench); print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_frames_are_what_the_commands_print(home, results):
    words = ("kept", "--store", home, "--format", "csv")
    board = pl.read_csv(io.StringIO(printed("leaderboard", *words)))
    assert results.leaderboard["method"].to_list() == board["method"].to_list()
    assert results.leaderboard["lr_sensitivity"].to_list() == board["lr_sensitivity"].to_list()
    scores = pl.read_csv(io.StringIO(printed("scores", *words)))
    assert results.scores["value"].to_list() == scores["value"].to_list()
    pairs = printed("scores", *words, "--differences", "lr_sensitivity")
    assert results.differences().height == rows(pairs)


def test_trials_and_traces_are_those_of_the_suite(results):
    trials = finished_packs.suite("kept").expand()
    assert set(results.trials["trial_id"]) == {trial.id for trial in trials}
    assert results.traces.columns == ["trial_id", "step", "quantity", "layer", "value"]
    assert set(results.traces["trial_id"]) == set(results.trials["trial_id"])
    some = results.traces_of([trials[0].id], ["loss"])
    assert some.equals(results.traces.filter(trial_id=trials[0].id, quantity="loss"))


@pytest.mark.whole
def test_files_are_what_the_commands_write(home, results, tmp_path):
    folder = tmp_path / "report"
    assert results.report(folder) == folder / "index.html"
    ours = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix in (".csv", ".md", ".txt")}
    printed("report", "kept", "--store", home, "--out", folder)  # in place of it
    assert {path: path.read_bytes() for path in ours} == ours
    assert results.curves.height == rows((folder / "curves.csv").read_text())
    assert bench.load(folder).curves.equals(results.curves)
    with pytest.raises(bench.BenchError, match="which is no report"):
        results.report(home)


def test_charts_are_those_of_the_report_as_altair_shows_them(results):
    assert {"loss_against_lr", "training_behaviour"} <= results.charts.keys()
    assert all(isinstance(chart, alt.TopLevelMixin) for chart in results.charts.values())
    assert "sigma" not in results._repr_html_()
    assert "<table" in results._repr_html_()


def test_several_results_are_compared_as_the_command_does(home, results, tmp_path):
    other = tmp_path / "other.csv"
    runs = [f"{method},{lr},{seed},{lr + seed / 10 + len(method) / 50},2,elsewhere"
            for method in ("softmax", "relu_kernel") for lr in (0.01, 0.1, 0.5) for seed in range(3)]  # fmt: skip
    other.write_text("\n".join(["method,lr,seed,final_loss,initial_loss,workload", *runs]))
    frames = results.compare(other)
    assert set(frames) == {"scores", "methods", "conditions", "score_ranks", "agreement", "profiles"}
    assert frames["scores"].height == rows(printed("compare", "kept", other, "--store", home, "--format", "csv")) == 4
    assert results.compare(bench.load(other))["scores"].equals(frames["scores"])
    with pytest.raises(bench.BenchError, match="required each side once"):
        results.compare(results)


def test_a_finished_suite_is_read_and_not_trained(home):
    again = bench.run(finished_packs.suite("kept"), store=home, shows_progress=False)
    assert again.leaderboard.height == 2
    assert again.missing == ""


def test_what_is_wrong_is_said_as_the_commands_say_it(home, monkeypatch):
    with pytest.raises(bench.BenchError, match="no such suite file"):
        bench.load("nothing", store=home)
    with pytest.raises(bench.BenchError, match="suite:3:11: unknown method 'softmx'; did you mean 'softmax'"):
        bench.run("name: a\nworkloads: [in_context_regression]\nmethods: [softmx]\n", store=home)
    monkeypatch.setenv("BENCH_STORE", str(home))
    assert bench.load("kept").name == "kept"
