"""What a command loads, in a process of its own: who reads numbers waits for nothing that trains, stores or draws."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import Store, Tracker
from tests.bench.store import finished_packs

# Runs a command, and says on the last line of standard error which of the modules it loaded.
LOADED = """
import sys
if sys.argv[1] == "-":  # as if what draws were not installed
    sys.modules |= dict.fromkeys(("altair", "vl_convert"))
    del sys.argv[1]
from bench.cli.app import main

heavy, sys.argv = sys.argv[1].split(","), ["bench", *sys.argv[2:]]
try:
    main()
finally:
    print("loaded", *(name for name in heavy if sys.modules.get(name)), file=sys.stderr)
"""
DRAWS = ("altair", "vl_convert")
STORES = ("mlflow", "sqlalchemy", "alembic")
HEAVY = (*DRAWS, *STORES, "torch", "ray", "optuna", "pandas", "scipy.stats")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A store that holds a suite under the name that is shipped, and its results."""
    home = tmp_path_factory.mktemp("doors")
    suite = finished_packs.suite("kept")
    store = Store(home, f"sqlite:///{home / 'mlflow.db'}", warn=pytest.fail)
    tracker = Tracker(store, suite.name)
    tracker.keep_suite(suite.text)
    finished_packs.deliver_suite(tracker, store, suite)
    return home


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; the first word is the modules to look for, after - if none may draw."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, words)], capture_output=True, text=True, env=environment
    )


def loaded(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Which of the modules a command loaded that ended well."""
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split()) - {"loaded"}


@pytest.mark.parametrize("words", [("leaderboard",), ("leaderboard", "--format", "json"), ("scores",)])
def test_numbers_of_a_store_load_nothing_heavy(home, words):
    command, *options = words
    done = bench(",".join(HEAVY), command, "kept", "--store", home, *options)
    assert "softmax" in done.stdout
    assert loaded(done) == set()


@pytest.mark.parametrize("words", [("--help",), ("list",), ("validate", "quickstart")])
def test_names_and_suites_load_nothing_that_computes(words):
    computes = (*HEAVY, "numpy", "polars", "scipy")
    assert loaded(bench(",".join(computes), *words)) == set()


def test_checking_a_store_loads_nothing_that_draws_or_stores(home):
    done = bench(",".join(HEAVY), "verify", "kept", "--store", home)
    assert (done.stdout, loaded(done)) == ("", set())


@pytest.mark.whole
def test_an_import_into_the_embedded_store_loads_nothing_that_stores_or_trains(tmp_path):
    (tmp_path / "theirs.csv").write_text("method,lr,seed,final_loss,initial_loss\nsoftmax,0.1,0,1,2\n")
    done = bench(",".join(HEAVY), "import", tmp_path / "theirs.csv", "--store", tmp_path / "home")
    assert "softmax" in done.stdout
    assert loaded(done) == set(DRAWS)


@pytest.mark.whole
def test_a_report_loads_what_draws_and_nothing_that_stores_or_trains(home, tmp_path):
    done = bench(",".join(HEAVY), "report", "kept", "--store", home, "--out", tmp_path)
    assert loaded(done) == set(DRAWS)
    assert list(tmp_path.glob("figures/*.svg"))


@pytest.mark.whole
def test_a_run_without_figures_needs_nothing_that_draws(home, tmp_path):
    """All trials are finished: what is left of the run is to publish the leaderboard and its page."""
    suite = tmp_path / "kept.yaml"
    suite.write_text(json.dumps({**finished_packs.PLAIN_SUITE, "name": "kept"}))
    words = ("run", suite, "--store", home)
    refused = bench("-", ",".join(DRAWS), *words)
    assert refused.returncode == 2
    assert "altair and vl_convert: not installed" in refused.stderr
    for options, are_drawn in ((("-", ",".join(DRAWS)), False), ((",".join(DRAWS),), True)):
        done = bench(*options, *words, *(() if are_drawn else ("--no-figures",)))
        assert loaded(done) == (set(DRAWS) if are_drawn else set())
        assert "softmax" in done.stdout
        (page,) = home.glob("artifacts/*/artifacts/leaderboard.html")
        assert ("<figure" in page.read_text()) == are_drawn
