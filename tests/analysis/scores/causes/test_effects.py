"""Effects of interventions: paired shares against closed forms and coverage, losses and recovery by hand."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from analysis.scores.causes.effects import EFFECT_COLUMNS, PAIR_COLUMNS, effects, paired, paired_shares, recovery
from bench.outcome import RESULT_COLUMNS


def interval(*counts: int) -> tuple[float, float, float]:
    """Low end, value and high end of the difference of shares, which there is with a pair."""
    found = paired_shares(*counts)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    return found.low, found.value, found.high


@pytest.mark.parametrize(
    ("counts", "value"), [((3, 2, 1, 4), 0.1), ((5, 0, 0, 5), 0.0), ((0, 10, 0, 0), 1.0), ((0, 0, 0, 10), 0.0)]
)
def test_the_difference_of_shares_lies_in_its_interval_which_is_no_point(counts, value):
    low, found, high = interval(*counts)
    assert found == pytest.approx(value)
    assert -1 <= low <= found <= high <= 1
    assert high - low > 0.1


def test_swapping_both_sides_mirrors_the_interval():
    (low, _, high), (other_low, _, other_high) = interval(3, 5, 1, 2), interval(3, 1, 5, 2)
    assert (low, high) == pytest.approx((-other_high, -other_low))


def test_without_correlation_the_interval_is_that_of_independent_shares():
    """phi = 0: Newcombe's method 10 is the square-and-add interval of two Wilson intervals."""
    found = paired_shares(4, 4, 4, 4)
    low, high = stats.binomtest(8, 16).proportion_ci(0.95, method="wilson")
    half = math.hypot(0.5 - low, high - 0.5)
    assert (found.low, found.high) == pytest.approx((-half, half))


def test_intervals_cover_the_true_difference():
    """All outcomes of 10 pairs, weighted exactly, at four truths; nominal 95%."""
    num_pairs = 10
    outcomes = [counts for counts in itertools.product(range(num_pairs + 1), repeat=4) if sum(counts) == num_pairs]
    intervals = [interval(*counts) for counts in outcomes]
    for truth in ([0.2, 0.3, 0.1, 0.4], [0.05, 0.05, 0.05, 0.85], [0.1, 0.6, 0.05, 0.25], [0.4, 0.05, 0.15, 0.4]):
        shares = stats.multinomial(num_pairs, truth).pmf(np.array(outcomes))
        difference = truth[1] - truth[2]
        covered = sum(
            share
            for share, (low, _, high) in zip(shares, intervals, strict=True)
            if low - 1e-9 <= difference <= high + 1e-9
        )
        assert covered > 0.93


STEPS = np.arange(0, 200, 10)


@pytest.mark.parametrize(
    ("excess", "since", "steps"),
    [
        (lambda step: np.zeros_like(step, dtype=float), 50, 0.0),
        (lambda step: np.where(step < 100, 1.0, 0.0), 50, 50.0),
        (lambda step: np.ones_like(step, dtype=float), 50, None),
        (lambda step: np.where(step < 100, 0.0, 1.0), 50, None),
        (lambda step: np.where((step > 90) & (step < 120), 1.0, 0.0), 50, 70.0),
        (lambda step: np.zeros_like(step, dtype=float), 170, math.nan),
    ],
)
def test_recovery_is_the_first_step_from_which_losses_are_those_of_the_twin(excess, since, steps):
    twin = 2.0 - STEPS / 200
    found = recovery(twin + excess(STEPS), twin, STEPS, since)
    assert found == steps if steps is None else found == pytest.approx(steps, abs=0, nan_ok=True)


def result(trial_id: str, seed: int, final: float, outcome: str = "completed") -> dict:
    names = {"workload": "w", "method": "softmax", "optimizer": "sgd", "schedule": "constant", "intervention": ""}
    knobs = {"lr": 0.1, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": math.inf, "init_scale": 1.0}
    ends = {"outcome": outcome, "initial_loss": 2.0, "final_loss": final, "num_steps": 200, "wall_s": 1.0}
    return {"trial_id": trial_id, "seed": seed, "settings": "{}", **names, **knobs, **ends}


def frames() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Three seeds: one unharmed but for 0.5, one that ends above its start, one that diverges; the twins all at 1."""
    rows = [result(f"twin{seed}", seed, 1.0) for seed in range(3)]
    rows += [result("own0", 0, 1.5), result("own1", 1, 7.0), result("own2", 2, math.inf, "diverged")]
    schema = {name: getattr(pl, kind) for name, kind in RESULT_COLUMNS.items()}
    results = pl.DataFrame([dict.fromkeys(RESULT_COLUMNS) | row for row in rows], schema=schema)
    what = {"intervention": "temperature", "strength": 0.1, "from_step": 50, "end_step": 60}
    pairs = pl.DataFrame(
        [{"trial_id": f"own{seed}", "twin_id": f"twin{seed}", **what} for seed in range(3)], schema=PAIR_COLUMNS
    )
    twin = 1.0 + np.zeros(len(STEPS))
    own = {"own0": twin + np.where(STEPS < 100, 1.0, 0.0), "own1": twin + 6.0}
    traces = pl.concat(
        pl.DataFrame({"trial_id": name, "step": STEPS, "quantity": "loss", "layer": -1, "value": values})
        for name, values in {**own, **{f"twin{seed}": twin for seed in range(3)}}.items()
    )
    return results, pairs, traces


def test_effects_are_those_worked_by_hand():
    results, pairs, traces = frames()
    found = effects(paired(results, pairs, [traces]))
    assert found.columns == list(EFFECT_COLUMNS)
    row = found.row(0, named=True)
    assert (row["num_pairs"], row["twin_diverged"], row["twin_loss"]) == (3, 0.0, 1.0)
    assert row["diverged"] == pytest.approx(1 / 3)
    differences = np.array([0.5, 1.0, 1.0])  # 7 and a divergence count as the loss at init, 2
    half = stats.t.ppf(0.975, 2) * differences.std(ddof=1) / math.sqrt(3)
    assert (row["loss"], row["loss_low"], row["loss_high"]) == pytest.approx(
        (differences.mean(), differences.mean() - half, differences.mean() + half)
    )
    assert (row["recovered"], row["recovery_steps"]) == (0.5, 40.0)


def test_without_traces_recovery_is_missing_and_pairs_without_a_result_are_left_out():
    results, pairs, _ = frames()
    row = effects(paired(results.filter(pl.col("trial_id") != "twin2"), pairs, [])).row(0, named=True)
    assert (row["num_pairs"], row["recovered"], row["recovery_steps"]) == (2, None, None)
