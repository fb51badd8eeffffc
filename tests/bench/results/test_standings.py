"""Searches of a suite: rounds from recorded results alone, so that a kill changes nothing."""

import math
from collections.abc import Sequence
from typing import Any

import optuna
import pytest

from bench.driver.queues import SearchQueue
from bench.errors import UsageError
from bench.outcome import Outcome, Result
from bench.results.answers import ANSWER_COLUMNS, TRAIL_COLUMNS, answers, fronts, trail
from bench.results.standings import groups, stand
from bench.results.studies import searched_studies
from bench.search.storage import write_studies
from bench.suite import Suite
from bench.trial import Trial

EDGES = {"softmax": 0.03, "relu_kernel": 1.7}  # largest stable lr by method; seeds lie a little around it


def suite(search: Any = "edge", **more: Any) -> Suite:
    return Suite(
        name="s",
        workloads=[{"name": "in_context_regression", "num_steps": 20}],
        methods=list(EDGES),
        optimizers=["adamw"],
        knobs={"lr": [1e-4, 10.0]},
        search=search,
        seeds=3,
        probe_every=5,
        **more,
    )


def trained(trial: Trial) -> Result:
    """A step function: learned below the edge, diverged above it."""
    is_stable = trial.knobs.lr < EDGES[trial.method.name] * (1 + 0.05 * trial.seed)
    return Result(
        trial=trial,
        outcome=Outcome.COMPLETED if is_stable else Outcome.DIVERGED,
        initial_loss=3.0,
        final_loss=1.0 if is_stable else math.inf,
        wall_s=60.0,
    )


def rows_of(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    return {result.trial.id: result.search_row() for result in results}


def run(searched: Suite, rows: dict[str, dict[str, Any]], *, kill_after: int | None = None) -> dict[str, Any]:
    """Train round by round, as run_suite does, on top of what is recorded; a kill loses what is not recorded."""
    queue, recorded = SearchQueue(searched, rows), dict(rows)
    while trials := queue.next():
        for trial in trials:
            if kill_after is not None and len(recorded) >= kill_after:
                return recorded
            result = trained(trial)
            queue.tell([result])
            recorded[trial.id] = result.search_row()
    return recorded


def test_every_method_is_searched_by_itself_and_finds_its_edge():
    searched = suite()
    rows = run(searched, {})
    table = answers([stand(group, rows) for group in groups(searched)])
    assert list(table.columns) == list(ANSWER_COLUMNS)
    assert table["method"].to_list() == ["relu_kernel", "softmax"]  # the largest first
    for row in table.iter_rows(named=True):
        assert math.log10(row["value"]) == pytest.approx(math.log10(EDGES[row["method"]]), abs=0.15)
        assert row["ci_low"] < row["value"] < row["ci_high"]
        assert row["num_trials"] <= 40
        assert row["flags"] == ""


@pytest.mark.whole
def test_a_killed_search_asks_for_the_same_settings_and_ends_with_the_same_answer():
    """Killed after every number of trials."""
    searched = suite()
    whole = run(searched, {})
    expected = answers([stand(group, whole) for group in groups(searched)])
    for kill_after in range(len(whole)):
        again = run(searched, run(searched, {}, kill_after=kill_after))
        assert again.keys() == whole.keys()
        assert answers([stand(group, again) for group in groups(searched)]).equals(expected)


def test_a_search_that_is_done_asks_for_nothing():
    searched = suite()
    queue = SearchQueue(searched, run(searched, {}))
    assert queue.next() == ()
    assert queue.num_found == queue.num_trials == len(queue.trial_ids())


def test_the_trail_says_every_decision_in_order():
    searched = suite()
    rows = run(searched, {})
    table = trail([stand(group, rows) for group in groups(searched)], rows)
    assert list(table.columns) == list(TRAIL_COLUMNS)
    assert table.height == len(rows)
    assert table["final_loss"].null_count() == 0
    for _, own in table.group_by("method"):
        assert own["round"].is_sorted()
        assert all(own["why"])


def test_an_unfinished_search_is_flagged_and_says_what_it_knows():
    searched = suite()
    first = SearchQueue(searched, {}).next()
    rows = rows_of([trained(trial) for trial in first])
    table = answers([stand(group, rows) for group in groups(searched)])
    assert set(table["flags"]) == {"unfinished"}
    assert table["num_trials"].sum() == len(first)


def test_lost_trials_count_as_asked_and_are_not_asked_again():
    searched = suite()
    first = SearchQueue(searched, {}).next()
    lost = Result(trial=first[0], outcome=Outcome.CRASHED, initial_loss=None, final_loss=None, wall_s=1.0)
    queue = SearchQueue(searched, rows_of([lost, *(trained(trial) for trial in first[1:])]))
    asked = [trial.id for trial in queue.next()]
    assert asked
    assert first[0].id not in asked


def test_no_round_begins_after_the_minutes_are_used_up():
    """Each trial took a minute."""
    rows = run(suite({"name": "edge", "gpu_minutes": 5}), {})
    unlimited = run(suite(), {})
    assert 5 <= len(rows) < len(unlimited)
    assert rows.keys() <= unlimited.keys()


def test_other_knobs_and_settings_make_searches_of_their_own():
    searched = Suite(
        name="s",
        workloads=[{"name": "in_context_regression", "num_steps": 20}],
        methods=["softmax"],
        optimizers=["adamw"],
        knobs={"lr": [1e-4, 10.0], "warmup_steps": [0, 10], "batch_size": [8, 16]},
        search="edge",
        seeds=3,
        probe_every=5,
    )
    assert {group.knobs for group in groups(searched)} == {
        f"warmup_steps={warmup}, batch_size={batch}" for warmup in (0, 10) for batch in (8, 16)
    }


def test_another_knob_can_be_searched():
    searched = Suite(
        name="s",
        workloads=[{"name": "in_context_regression", "num_steps": 20}],
        methods=["softmax"],
        optimizers=["adamw"],
        knobs={"lr": 0.01, "init_scale": [0.01, 100.0]},
        search={"name": "edge", "knob": "init_scale"},
        seeds=3,
        probe_every=5,
    )
    trials = SearchQueue(searched, {}).next()
    assert {trial.knobs.lr for trial in trials} == {0.01}
    assert len({trial.knobs.init_scale for trial in trials}) > 1


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("edg", "unknown search 'edg'; did you mean 'edge'?"),
        ({"name": "edge", "knob": "depth"}, "knob 'depth' can't be searched"),
        ({"name": "edge", "low": 1.0}, "low comes from the knob's values; remove it"),
        ({"name": "edge", "budget": 0}, "search.budget: budget must be greater than or equal to 1, got 0"),
        ({"name": "edge", "gpu_minutes": 0}, "gpu_minutes must be greater than 0"),
        ({"name": "edge", "knob": "weight_decay"}, "a search needs two or more values of weight_decay"),
        ({"budget": 3}, "Suite: search.name: name is required"),
        (["edge"], "search must be a mapping"),
    ],
)
def test_what_is_wrong_with_a_search_is_said(search, message):
    with pytest.raises(UsageError) as error:
        suite(search)
    assert message in str(error.value)


def test_grid_is_the_whole_grid():
    assert suite("grid").search is None


def test_a_budget_can_be_changed_and_only_for_a_search():
    assert suite().with_budget(12).searcher.budget == 12
    assert suite().with_budget(12).most_trials == 2 * 12
    with pytest.raises(UsageError, match="trains its whole grid"):
        suite(None).with_budget(12)


def box_suite() -> Suite:
    return Suite(
        name="s",
        workloads=[{"name": "in_context_regression", "num_steps": 20}],
        methods=list(EDGES),
        optimizers=["adamw", "lion"],
        box={
            "lr": {"log": [1e-4, 10.0]},
            "weight_decay": {"log": [1e-5, 1.0], "zero": 0.1},
            "optimizer": ["adamw", "lion"],
            "beta2": {"linear": [0.9, 0.999], "when": {"optimizer": ["adamw"]}},
        },
        search={"name": "tune_box", "budget": 32, "startup": 8, "batch": 4},
        seeds=2,
        probe_every=5,
    )


def test_a_box_that_is_searched_names_its_settings_and_drawn_entries():
    searched = box_suite()
    rows = run(searched, {})
    standings = [stand(group, rows) for group in groups(searched)]
    table, decisions = answers(standings), trail(standings, rows)
    assert set(table["method"]) == set(EDGES)
    assert table["knob"].unique().to_list() == ["lr, weight_decay, optimizer, beta2"]
    assert table["optimizer"].unique().to_list() == ["adamw or lion"]
    assert table.select("search", "num_trials", "flags", "best_value").unique().rows() == [("tune_box", 32, "", None)]
    assert table["best_setting"].str.contains(r"^lr=.*, weight_decay=.*, optimizer=(adamw, beta2=.*|lion)$").all()
    assert fronts(standings).is_empty()
    assert decisions.height == len(rows) == 64
    assert decisions["value"].null_count() == 64
    assert decisions.group_by("method", "setting").len()["len"].to_list() == [2] * 32


def test_a_search_by_mean_and_worst_loss_has_its_front_and_a_study_of_two_objectives(tmp_path):
    """What Optuna finds to be the front of the study that is written is ours."""
    plan = {"name": "tune_box", "sampler": "nsga2", "budget": 32, "startup": 8, "batch": 4}
    searched = Suite.model_validate(box_suite().model_dump(mode="json") | {"search": plan})
    rows = run(searched, {})
    standings = [stand(group, rows) for group in groups(searched)]
    table, front = answers(standings), fronts(standings)
    write_studies(searched_studies(searched, rows), f"sqlite:///{tmp_path}/studies.db")
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/studies.db")
    for (method,), own in front.group_by("method", maintain_order=True):
        assert own["mean_loss"].is_sorted()
        assert own["worst_loss"].is_sorted(descending=True)
        (answer,) = table.filter(method=method).to_dicts()
        assert own["mean_loss"][0] == answer["value"]
        (name,) = [name for name in optuna.get_all_study_names(storage) if f" {method}," in name]
        study = optuna.load_study(study_name=name, storage=storage)
        best = sorted({tuple(trial.values) for trial in study.best_trials if not trial.user_attrs["num_diverged"]})
        assert own.select("mean_loss", "worst_loss").rows() == best
    assert front["method"].unique().sort().to_list() == sorted(EDGES)
    storage.engine.dispose()


@pytest.mark.whole
def test_a_search_is_a_study_of_optunas_with_its_settings_in_the_order_of_asking(tmp_path):
    for searched in (box_suite(), suite()):
        rows = run(searched, {})
        studies = searched_studies(searched, rows)
        write_studies(studies, f"sqlite:///{tmp_path}/studies.db")
        storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/studies.db")
        for one, group in zip(studies, groups(searched), strict=True):
            standing = stand(group, rows)
            study = optuna.load_study(study_name=one.name, storage=storage)
            asked = list(dict.fromkeys((n, v) for n, ask in enumerate(standing.rounds, 1) for v, _ in ask.settings))
            assert [trial.user_attrs["round"] for trial in study.trials] == [number for number, _ in asked]
            assert {i for trial in study.trials for i in trial.user_attrs["trial_ids"]} == {
                trial.id for trial in standing.asked
            }
            values = [group.values(value) for _, value in asked]
            assert [trial.params["lr"] for trial in study.trials] == [value["lr"] for value in values]
            assert searched.search is not None
            assert study.user_attrs["search"] == searched.search.name
        storage.engine.dispose()


@pytest.mark.whole
def test_a_search_over_a_box_that_was_killed_asks_and_ends_the_same():
    """Killed after ten numbers of trials, within rounds and between them."""
    searched = box_suite()
    whole = run(searched, {})
    expected = answers([stand(group, whole) for group in groups(searched)])
    for kill_after in (0, 5, 16, 31, 32, 33, 40, 47, 48, 63):
        again = run(searched, run(searched, {}, kill_after=kill_after))
        assert again.keys() == whole.keys()
        assert answers([stand(group, again) for group in groups(searched)]).equals(expected)
