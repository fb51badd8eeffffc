"""What a suite reads of a store that an earlier version wrote."""

import dataclasses

import pytest

from bench.errors import UsageError
from bench.results.stored import Stored
from bench.results.subjects import read_grid
from bench.results.verify import verify
from bench.store import Store, Tracker
from bench.suite import Context, Suite
from bench.trial import Trial
from tests.bench.store.finished_packs import PLAIN_SUITE, deliver_suite, suite_results


def suite_with(**optimizer) -> Suite:
    return Suite(
        name="suite",
        workloads=[{"name": "in_context_regression", "num_steps": 20}],
        methods=["softmax", "relu_kernel"],
        optimizers=[{"name": "adamw", **optimizer}],
        knobs={"lr": [1e-3, 0.1], "weight_decay": 0.1},
        seeds=2,
        probe_every=5,
    )


def of_earlier_version(trial: Trial) -> Trial:
    """As it was written before there was a choice of what decays."""
    params = {name: value for name, value in trial.optimizer.params.items() if name != "decays"}
    return dataclasses.replace(trial, optimizer=dataclasses.replace(trial.optimizer, params=params, label="adamw"))


@pytest.fixture
def earlier_store(tmp_path) -> Store:
    store = Store(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", warn=pytest.fail)
    store.create()
    tracker = Tracker(store, "suite")
    old = [dataclasses.replace(one, trial=of_earlier_version(one.trial)) for one in suite_results(suite_with())]
    tracker.put(old, {})
    tracker.deliver()
    tracker.finish("FINISHED")
    tracker.close()
    return store


def test_results_of_an_earlier_version_are_those_of_a_suite_in_which_all_decays(earlier_store):
    subject = read_grid(Stored.of(suite_with(decays="all")), earlier_store)
    assert subject.num_missing == 0
    assert subject.results["optimizer"].unique().to_list() == ["adamw(decays=all)"]
    findings = [one.text for one in verify(Stored.of(suite_with(decays="all")), earlier_store).findings if one.is_wrong]
    assert findings == []


def test_a_suite_that_says_nothing_is_told_how_to_read_them(earlier_store):
    words = r"run it first \(8 were trained by an earlier version: `decays: all` in its entries reads them\)"
    with pytest.raises(UsageError, match=words):
        read_grid(Stored.of(suite_with()), earlier_store)


def test_controls_are_named_by_the_labels_of_the_suite(tmp_path):
    store = Store(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", warn=pytest.fail)
    store.create()
    methods = ["softmax", "softmax_control", "relu_kernel"]
    suite = Suite.model_validate({**PLAIN_SUITE, "methods": methods}, context=Context(allow_code=False))
    tracker = Tracker(store, "suite")
    deliver_suite(tracker, store, suite)
    subject = read_grid(Stored.of(suite), store)
    assert subject.controls == {"softmax_control": "softmax"}
    assert subject.board.filter(method="softmax_control")["floor"].is_not_null().all()
    assert [one.text for one in verify(Stored.of(suite), store).findings if one.is_wrong] == []
