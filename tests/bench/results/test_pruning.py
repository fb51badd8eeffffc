"""Searches that prune: from recorded results alone, so that a kill or another rule changes nothing that was decided."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import polars
import pytest

from bench.driver.queues import SearchQueue
from bench.outcome import Outcome, Result
from bench.results.answers import answers, trail
from bench.results.standings import groups, stand
from bench.suite import Suite
from bench.suite.stop import StopPlan
from bench.trial import Trial
from tests.bench.results.test_standings import rows_of, suite, trained

SHORT = StopPlan(worse_than="halving", first_step=2, reduction_factor=2, startup=2)


# Losses that fall as 1 / steps to a level by learning rate, least at 0.1: what is worse ends worse.
def falling(trial: Trial, num_steps: int) -> float:
    return (math.log10(trial.knobs.lr) + 1) ** 2 / 4 + 0.01 * trial.seed + 2 / (1 + num_steps)


def trained_under(queue: SearchQueue, trials: Sequence[Trial]) -> list[Result]:
    """What a pack of these trials leaves, pruned by what the queue says."""
    pruning, ends, results = queue.pruning(), dict[str, int](), []
    rungs = SHORT.rule(20).rungs
    by_id = {trial.id: trial for trial in trials}
    for one in pruning.settings if pruning else ():
        if not by_id.keys() >= set(one.ids.values()):
            continue
        seen = {rung: {seed: falling(by_id[name], rung) for seed, name in one.ids.items()} for rung in rungs}
        if (end := one.rule.ends_at(one.number, seen, one.peers)) is not None:
            ends |= dict.fromkeys(one.ids.values(), end)
    for trial in trials:
        end = ends.get(trial.id)
        results.append(
            Result(
                trial=trial,
                outcome=Outcome.COMPLETED if end is None else Outcome.PRUNED,
                initial_loss=3.0,
                final_loss=falling(trial, 20) if end is None else None,
                pruned_step=None if end is None else end - 1,
                rung_losses={rung: falling(trial, rung) for rung in rungs if end is None or rung <= end}
                if pruning
                else {},
                wall_s=1.0,
            )
        )
    return results


def tuned(stop: StopPlan | None) -> Suite:
    return suite({"name": "tune", "budget": 24}, **({} if stop is None else {"stop": stop.model_dump()}))


def pruned_run(
    searched: Suite, rows: dict[str, dict[str, Any]], *, kill_after: int | None = None
) -> dict[str, dict[str, Any]]:
    """As `run`, in packs of one search each; a kill loses what is not recorded."""
    queue, recorded = SearchQueue(searched, rows), dict(rows)
    while trials := queue.next():
        for method in searched.methods:
            own = [trial for trial in trials if trial.method == method]
            if kill_after is not None and len(recorded) >= kill_after:
                return recorded
            results = trained_under(queue, own) if own else []
            queue.tell(results)
            recorded |= {result.trial.id: result.search_row() for result in results}
    return recorded


def outcomes(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {trial_id: row["outcome"] for trial_id, row in rows.items()}


def test_a_killed_search_prunes_the_same_settings_and_ends_with_the_same_answers():
    searched = tuned(SHORT)
    whole = pruned_run(searched, {})
    assert 0 < list(outcomes(whole).values()).count("pruned") < len(whole) / 2
    for kill_after in range(1, len(whole), 7):
        resumed = pruned_run(searched, pruned_run(searched, {}, kill_after=kill_after))
        assert resumed == whole
    found = answers([stand(group, whole) for group in groups(searched)])
    assert all("halving pruned" in note for note in found["note"])
    seen = trail([stand(group, whole) for group in groups(searched)], whole)
    assert seen["pruned_step"].is_not_null().sum() == list(outcomes(whole).values()).count("pruned")
    assert seen.filter(polars.col("pruned_step").is_not_null())["final_loss"].null_count() > 0


@pytest.mark.parametrize("other", [None, SHORT.model_copy(update={"first_step": 3})])
def test_what_another_rule_pruned_is_trained_again(other):
    rows = pruned_run(tuned(SHORT), {})
    now = SearchQueue(tuned(other), rows).next()
    assert {trial.id for trial in now} <= {name for name, row in rows.items() if row["outcome"] == "pruned"}
    assert now


def test_a_trial_that_a_detector_aborted_counts_as_diverged():
    searched = suite({"name": "tune", "budget": 12})
    queue = SearchQueue(searched, {})
    for result in map(trained, first := queue.next()):
        diverged = result.outcome is Outcome.DIVERGED
        stopped = {"outcome": Outcome.ABORTED, "final_loss": None, "aborted_step": 3}
        queue.tell([dataclasses.replace(result, **stopped) if diverged else result])
    plain = SearchQueue(searched, rows_of([trained(trial) for trial in first]))
    assert [trial.id for trial in queue.next()] == [trial.id for trial in plain.next()]
