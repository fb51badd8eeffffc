"""Detectors on runs worked out by hand: first alarms, thresholds of other groups, leads, AUC; noise and perfection."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from analysis.scores.causes.alarms import Watched, alarm_scores, fitted_thresholds, horizon_auc
from analysis.scores.causes.detectors import GRADIENT_LEAST, QUANTITIES, detector_records
from analysis.scores.causes.early_warning import (
    HELD_OUT_GROUPS,
    WARNING_COLUMNS,
    warning_board,
    watched_runs,
    why_no_board,
)
from analysis.subject import Subject
from analysis.tables.causes.early_warning import warning_group
from analysis.tables.forms.markdown import group_markdown
from bench.entry import load_class
from bench.probes import PROBES
from bench.trace import TRACE_COLUMNS, TRAINING_QUANTITIES
from tests.analysis.synthetic_results import frame, row

NUM_STEPS = 100
ONSET = 60


def watched(runs: list[tuple[float, dict[int, float]]], *, groups: str = "", lrs: list[float] | None = None) -> Watched:
    """Runs as (onset, NaN if stable; records by step); each in a group of its own unless letters say which."""
    return Watched(
        steps=[np.array(list(records)) for _, records in runs],
        signals=[np.array(list(records.values())) for _, records in runs],
        onset_N=np.array([onset for onset, _ in runs]),
        group_N=np.array(list(groups) if groups else range(len(runs))),
        lr_N=np.array(lrs if lrs else np.ones(len(runs))),
    )


def trace(trial_id: str, quantity: str, values: dict[int, float], layer: int = -1) -> pl.DataFrame:
    """TRACE_COLUMNS of one quantity, with the trial."""
    columns = {"step": list(values), "quantity": quantity, "layer": layer, "value": list(values.values())}
    schema = {name: getattr(pl, kind) for name, kind in TRACE_COLUMNS.items()}
    return pl.DataFrame(columns, schema=schema).with_columns(trial_id=pl.lit(trial_id))


def records_of(name: str, *traces: pl.DataFrame, **run: float) -> dict[int, float]:
    """The records of a detector in one run that is stable, or as `run` has it."""
    loss = trace("a", "loss", {0: 1.0, 90: 1.0})
    rows = pl.concat([*traces] if any("loss" in one["quantity"] for one in traces) else [*traces, loss])
    schema = {"trial_id": pl.String, "lr": pl.Float64, "num_steps": pl.Int64, "diverged_step": pl.Int64}
    values = {"trial_id": "a", "lr": 0.5, "num_steps": NUM_STEPS, "diverged_step": None, "limit": None} | run
    found, _ = detector_records([rows], pl.DataFrame([values], schema=schema | {"limit": pl.Float64}))
    return dict(found.filter(detector=name).select("step", "signal").iter_rows())


def onset_of(losses: dict[int, float], **run: float) -> int | None:
    """The onset of a run with these losses."""
    schema = {"trial_id": pl.String, "lr": pl.Float64, "num_steps": pl.Int64, "diverged_step": pl.Int64}
    values = {"trial_id": "a", "lr": 0.5, "num_steps": NUM_STEPS, "diverged_step": None, "limit": None} | run
    runs = pl.DataFrame([values], schema=schema | {"limit": pl.Float64})
    return detector_records([trace("a", "loss", losses)], runs)[1]["onset"].item()


def test_every_detector_watches_a_quantity_that_is_traced():
    traced = set(TRAINING_QUANTITIES) | {one for probe in PROBES.values() for one in load_class(probe).quantities}
    assert set(QUANTITIES) <= traced


def test_a_signal_is_of_the_layer_that_is_worst_and_only_its_records_are_kept():
    layers = trace("a", "entropy", {0: 3, 10: 2, 20: 2.5, 30: 1}, 0), trace("a", "entropy", {0: 2, 10: 3, 20: 3}, 1)
    assert records_of("entropy", *layers) == {0: -2.0, 30: -1.0}
    variances = trace("a", "logit_variance", {0: 1, 10: 5}, 0), trace("a", "logit_variance", {0: 2, 10: 1, 20: 9}, 1)
    assert records_of("logit_variance", *variances) == {0: 2.0, 10: 5.0, 20: 9.0}


def test_what_is_not_finite_or_not_known_yet_is_no_alarm():
    values = dict.fromkeys(range(0, 60, 10), 2.0) | {60: float("nan"), 70: 1.0}
    found = records_of("max_logit", trace("a", "max_logit", {0: float("nan"), 10: float("inf"), 20: 3.0}, 0))
    assert found == {0: -np.inf, 20: 3.0}
    assert records_of("entropy_slope", trace("a", "entropy", values, 0)) == {0: -np.inf, 50: 0.0, 70: 1 / 50}


def test_a_z_score_looks_at_gradients_before_alone():
    steady = {step: 1.0 + 0.1 * (step % 2) for step in range(40)}
    found = records_of("gradient_z", trace("a", "grad_norm", steady | {40: 3.0, 41: 1e9}))
    assert max(step for step in found if np.isfinite(found[step])) == 41
    assert 30 < found[40] < 50, "(3 - 1.05) / 0.05"
    assert all(step == 0 or step >= GRADIENT_LEAST for step in found)


def test_loss_alone_is_its_rise_above_the_median():
    assert records_of("loss", trace("a", "loss", dict.fromkeys(range(10), 2.0) | {10: 5.0}))[10] == 3.0


@pytest.mark.parametrize(
    ("losses", "run", "onset"),
    [
        ({0: 1.0, 10: 9.0}, {}, None),
        ({0: 1.0, 10: 9.0, 20: float("nan")}, {"diverged_step": 20}, 20),
        ({0: 1.0, 10: 9.0, 20: 1.0, 30: 5.0, 40: 6.0}, {"limit": 1.1}, 10),
        ({0: 1.0, 10: 9.0, 20: 1.0, 30: 1.0, 40: 1.0, 50: 1.0, 60: 5.0, 70: 6.0}, {"limit": 1.1}, 60),
        ({0: 9.0, 10: 1.0, 20: 1.0}, {"limit": 1.1}, NUM_STEPS),
        ({0: 1.0, 10: 9.0, 20: 1.0}, {"limit": 1.1}, 10),
        ({0: 2.0, 10: 9.0}, {"limit": 1.1}, 0),
    ],
)
def test_the_onset_is_the_first_loss_above_the_limit_that_most_others_follow(losses, run, onset):
    assert onset_of(losses, **run) == onset


def test_thresholds_allow_one_false_alarm_in_20():
    peaks = np.arange(40.0)
    assert fitted_thresholds(peaks[:19], np.ones(19)) == 18, "none of fewer than 20"
    assert fitted_thresholds(peaks[:20], np.ones(20)) == 18
    assert fitted_thresholds(peaks, np.ones(40)) == 37
    weights = np.ones(20)
    weights[[19, 18]] = 0, 2  # 18 twice and 19 never: one of 20 may alarm, two may not
    assert fitted_thresholds(peaks[:20], weights) == 18
    assert np.isnan(fitted_thresholds(peaks[:0], np.ones(0)))
    assert np.isnan(fitted_thresholds(peaks[:2], np.zeros(2)))


def test_scores_by_hand():
    """Thresholds: runs of group a are scored with the stable runs of b, 3.0, and those of b with 2.0 of a."""
    runs = watched(
        [
            (60, {0: 1.0, 20: 4.0}),  # a: alarm at 20, lead 40
            (60, {0: 1.0, 59: 3.5}),  # a: alarm at 59, lead 1
            (60, {0: 1.0, 60: 9.0}),  # a: alarm at the onset, a miss
            (50, {0: 2.5}),  # b: alarm at 0, lead 50
            (np.nan, {0: 1.0, 90: 2.0}),  # a: none
            (np.nan, {0: 1.0, 90: 3.0}),  # b: a false alarm
        ],
        groups="aaabab",
    )
    found = alarm_scores(runs, np.ones((1, 6)))
    assert found["thresholds_BN"].tolist() == [[3.0, 3.0, 3.0, 2.0, 3.0, 2.0]]
    assert found["alarms_BN"].tolist() == [[20, 59, 60, 0, np.inf, 90]]
    assert (found["recall"], found["false_alarms"]) == (0.75, 0.5)
    assert found["precision"] == 0.75
    assert found["lead_steps"] == 1, "the lower median of 0, 1, 40, 50"


def test_a_weight_is_a_run_so_often():
    runs = [(60.0, {0: 1.0, 20: 4.0}), (60.0, {0: 1.0}), (np.nan, {0: 2.0}), (np.nan, {0: 3.0})]
    twice = watched([runs[0], *runs], groups="aabcd")
    once = watched(runs, groups="abcd")
    weighted, repeated = alarm_scores(once, np.array([[2.0, 1, 1, 1]])), alarm_scores(twice, np.ones((1, 5)))
    for name in ("recall", "false_alarms", "precision", "lead_steps"):
        assert weighted[name] == repeated[name]
    assert horizon_auc(once, np.array([[2.0, 1, 1, 1]]), 1) == horizon_auc(twice, np.ones((1, 5)), 1)


def test_auc_watches_both_runs_of_a_pair_as_long():
    runs = watched([(60, {0: 1.0, 50: 3.0}), (np.nan, {0: 1.0, 55: 2.0, 90: 9.0})])
    weights = np.ones((1, 2))
    assert horizon_auc(runs, weights, 1) == 1.0, "9 comes after the other failed"
    assert horizon_auc(runs, weights, 20) == 0.5, "1 and 1"
    assert horizon_auc(runs, weights, 100) == 0.5, "nothing is measured before the start"


def test_auc_of_one_learning_rate_leaves_other_pairs_out():
    runs = watched([(60, {0: 0.2}), (np.nan, {0: 0.1}), (np.nan, {0: 0.2})], lrs=[0.2, 0.1, 0.2])  # the signal is lr
    weights = np.ones((1, 3))
    assert horizon_auc(runs, weights, 1) == 0.75
    assert horizon_auc(runs, weights, 1, same_lr=True) == 0.5
    apart = watched([(60, {0: 0.2}), (np.nan, {0: 0.1})], lrs=[0.2, 0.1])
    assert np.isnan(horizon_auc(apart, np.ones((1, 2)), 1, same_lr=True))


def test_noise_has_an_auc_of_a_half_however_long_runs_are():
    """Failed runs are watched for 20 to 90 steps, stable ones for 100; 200 x 200 pairs, standard error below 0.03."""
    draw = np.random.default_rng(0)

    def noise(length: int) -> dict[int, float]:
        values = draw.normal(size=length)
        peaks = np.maximum.accumulate(values)
        return {step: values[step] for step in range(length) if values[step] == peaks[step]}

    failed = [(float(onset), noise(onset)) for onset in draw.integers(20, 90, size=200)]
    runs = watched([*failed, *((np.nan, noise(100)) for _ in range(200))])
    for horizon in (1, 10):
        assert horizon_auc(runs, np.ones((1, 400)), horizon) == pytest.approx(0.5, abs=0.1)


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Two methods, four learning rates, six seeds: at the two largest odd seeds diverge at ONSET, or later by method.

    max_logit leaps 30 steps before; entropy is the same for all; a run at the least learning rate is stuck.
    """
    rows, traces = [], []
    for method, onset in (("softmax", ONSET), ("relu", ONSET + 10)):
        for lr in (1e-4, 1e-3, 1e-2, 1e-1):
            for seed in range(6):
                fails = lr > 2e-3 and seed % 2 == 1
                loss = float("inf") if fails else 0.99 if (lr, seed) == (1e-4, 0) else 0.5
                ended = {"outcome": "diverged" if fails else "completed", "diverged_step": onset if fails else None}
                one = row(method, lr, seed, loss, initial_loss=1.0, num_steps=NUM_STEPS, **ended)
                rows.append(one)
                end = onset if fails else NUM_STEPS
                leap = {step: 50.0 if fails and step >= onset - 30 else 1.0 for step in range(0, end, 10)}
                traces += [
                    trace(str(one["trial_id"]), "loss", dict.fromkeys(range(end), 0.7)),
                    trace(str(one["trial_id"]), "max_logit", leap, 0),
                    trace(str(one["trial_id"]), "entropy", dict.fromkeys(range(0, end, 10), 2.0), 0),
                ]
    lots = [pl.concat(traces)]
    return Subject(name="made", title="made", results=frame(rows), trace_lots=lambda ids, quantities: lots)


def test_a_perfect_detector_has_recall_1_its_lead_and_no_false_alarm(subject):
    board = subject.early_warning
    assert board.columns == list(WARNING_COLUMNS)
    found = board.filter(detector="max_logit")
    assert found["held_out"].to_list() == list(HELD_OUT_GROUPS)
    for name, value in {"recall": 1, "false_alarms": 0, "precision": 1, "lead_steps": 30, "threshold": 1}.items():
        assert found[name].to_list() == [value] * 3, name
    assert found.select("num_failed", "num_stable", "num_stuck").row(0) == (12, 34, 2)
    for name, value in {"auc_1": 1, "auc_10": 1, "auc_100": 0.5, "auc_same_lr": 1, "at_start": 0}.items():
        assert found[name].to_list() == [value] * 3, name
    assert all(found["recall_low"] < 0.8), "twelve hits of twelve are no certainty"
    assert all(found["auc_same_lr_low"] == found["auc_1_low"]), "12 failed runs, at both rates beside 12 stable ones"


def test_baselines_have_what_they_can_have(subject):
    board = subject.early_warning
    lr, step, hindsight, entropy = (board.filter(detector=one) for one in ("lr", "step", "hindsight", "entropy"))
    assert lr["auc_same_lr"].to_list() == [0.5] * 3
    assert all(lr["auc_1"] > 0.8), "failures lie at the two largest rates"
    assert step["auc_1"].to_list() == entropy["auc_1"].to_list() == [0.5] * 3
    assert step["recall"].to_list() == entropy["recall"].to_list() == [0] * 3
    assert step["lead_steps"].to_list() == [0] * 3, "all were missed"
    assert (hindsight["recall"].to_list(), hindsight["lead_steps"].to_list()) == ([1] * 3, [1] * 3)


def test_a_detector_without_its_quantity_is_left_out_with_a_word(subject):
    group = warning_group(subject.early_warning)
    assert [table.heading.split(": ")[1] for table in group.tables] == [
        f"thresholds of other {kind}" for kind in ("methods", "learning rates", "seeds")
    ]
    assert "Sharpness / edge (no trace of edge_ratio" in group.note
    assert "Largest logit" in group_markdown(group)
    assert {len(table.rows) for table in group.tables} == {7}


def test_the_seed_decides_the_bootstrap_alone(subject):
    runs = subject.watched
    records, known = detector_records(subject.trace_lots([], None), runs)
    one, same, other = (warning_board(known, records, seed=seed) for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)
    assert one["recall"].equals(other["recall"])


@pytest.mark.parametrize(
    ("losses", "is_failed", "why"),
    [
        ((0.5, 0.5), [False, False], "no failed run among 2"),
        ((np.inf, 0.99), [True, False], "no stable run among 2"),
        ((5.0, 0.5), [True, False], "no traces"),
    ],
)
def test_what_a_suite_lacks_is_said(losses, is_failed, why):
    runs = watched_runs(frame([row("softmax", 1e-3, seed, loss, initial_loss=1.0) for seed, loss in enumerate(losses)]))
    assert runs["is_failed"].to_list() == is_failed
    assert why in why_no_board(runs)


def test_trials_whose_traces_are_lost_have_no_row(subject):
    lost = dataclasses.replace(subject, trace_lots=lambda ids, quantities: [])
    assert lost.early_warning.columns == list(WARNING_COLUMNS)
    assert lost.early_warning.is_empty()
