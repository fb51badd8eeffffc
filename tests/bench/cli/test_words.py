"""What the command line says of itself: its version, an overview of all names, arguments that can't be."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from bench.cli.shared import DEFAULT_STORE, ui_command, words_for_report
from bench.methods import METHODS
from bench.store import Store
from bench.suite.catalog import LISTS, NAMES
from tests.command_line import bench_here


def test_version(tmp_path):
    assert bench_here(tmp_path, "--version").stdout == f"bench {version('attention-robustness-bench')}\n"


def test_list_alone_is_an_overview_of_all_kinds(tmp_path):
    lines = bench_here(tmp_path, "list", columns=None).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(LISTS)
    assert lines[0] == f"methods: {', '.join(METHODS)}"
    names = json.loads(bench_here(tmp_path, "list", "--json").stdout)
    assert names["methods"] == list(METHODS)
    assert names["knobs"] == ["lr", "warmup_steps", "weight_decay", "grad_clip", "init_scale"]
    assert bench_here(tmp_path, "list", "--format", "md").returncode == 2


@pytest.mark.parametrize("kind", LISTS)
def test_the_overview_has_the_names_of_each_list(kind):
    assert list(NAMES[kind]()) == [row["name"] for row in LISTS[kind]() if " " not in row["name"]]


@pytest.mark.parametrize("kind", LISTS)
def test_each_kind_of_the_overview_can_be_listed_alone(tmp_path, kind):
    done = bench_here(tmp_path, "list", kind, "--json")
    assert (done.returncode, next(iter(json.loads(done.stdout)[0]))) == (0, "name")


@pytest.mark.parametrize("command", ["edge", "tune"])
@pytest.mark.parametrize(("low", "high"), [("1", "0.1"), ("0.1", "0.1"), ("0", "1"), ("nan", "1")])
def test_a_range_of_learning_rates_goes_up(tmp_path, command, low, high):
    done = bench_here(tmp_path, command, "softmax", "--low", low, "--high", high)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"required 0 < --low < --high, got --low {low} and --high {high}\n"
    assert list(tmp_path.iterdir()) == []


def test_the_report_of_a_run_is_asked_for_as_the_run_was():
    assert words_for_report("quickstart", DEFAULT_STORE, allow_code=False) == "quickstart"
    assert words_for_report("a b.yaml", Path("s"), allow_code=True) == "'a b.yaml' --allow-code --store s"
    uri = "postgresql://me:secret@there/bench"
    assert words_for_report("a", DEFAULT_STORE, allow_code=False, uri=uri) == (
        "a --tracking-uri 'postgresql://***@there/bench'"
    )


def test_the_store_that_a_run_left_is_the_one_that_is_served(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert ui_command(Store(DEFAULT_STORE, warn=print)) == "bench ui"
    assert ui_command(Store(Path("my runs"), warn=print)) == f"bench ui --store '{tmp_path}/my runs'"
    elsewhere = Store(DEFAULT_STORE, f"sqlite:///{tmp_path}/a.db", warn=print)
    assert ui_command(elsewhere) == f"bench ui --tracking-uri sqlite:///{tmp_path}/a.db"
