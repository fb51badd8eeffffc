"""Scores, differences and held-out measures keep to what they can be, on the strangest inputs that a store holds."""

import math

import numpy as np
import polars as pl
import pytest

from analysis.curves import label_of
from analysis.scores.generalisation import HELD_OUT_SCORES
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import leaderboard
from analysis.scores.table import score_differences, score_table
from bench.held_out import HELD_OUT
from tests.analysis.scored_results import scored_entries
from tests.analysis.synthetic_results import TRACE_SCHEMA, frame, row
from tests.repetitions import one_of_each_kind

NUM_STEPS, UNIFORM = 100, 3.0


def patterns(rng: np.random.Generator, num_lrs: int, num_seeds: int) -> dict[str, np.ndarray]:
    """Final losses by name, (L, S): inf where a seed diverged, NaN where a trial was lost."""
    plain = rng.uniform(0.3, 3.9, (num_lrs, num_seeds))
    slope = np.linspace(0.3, 3.9, num_lrs)[:, None] + rng.normal(0, 0.01, plain.shape)
    lone = np.full_like(plain, math.inf)
    lone[rng.integers(num_lrs), rng.integers(num_seeds)] = 1.0
    one = plain.copy()
    one[rng.integers(num_lrs), rng.integers(num_seeds)] = math.inf
    return {
        "plain": plain,
        "all equal": np.full_like(plain, 0.7),
        "seeds equal": np.repeat(plain[:, :1], num_seeds, axis=1),
        "best at the top": slope[::-1],
        "best at the bottom": slope,
        "one diverged": one,
        "all diverged": np.full_like(plain, math.inf),
        "all but one diverged": lone,
        "half diverged": np.where(rng.random(plain.shape) < 0.5, math.inf, plain),
        "some lost": np.where(rng.random(plain.shape) < 0.4, math.nan, plain),
        "blown up": np.where(rng.random(plain.shape) < 0.3, 1e30, plain),
        "negative": plain - 6,
        "zero": np.zeros_like(plain),
        "tiny": plain * 1e-30,
        "at chance": 4 + rng.normal(0, 0.01, plain.shape),
    }


def strange_results(losses: dict[str, np.ndarray], initial: float, rng: np.random.Generator) -> pl.DataFrame:
    """Of two methods; held-out measures lie at their ends half of the time, those of failures are missing."""
    rows = []
    for method, losses_LS in losses.items():
        for (place, seed), loss in np.ndenumerate(losses_LS):
            other: dict[str, object] = {"num_steps": NUM_STEPS}
            if math.isfinite(loss):
                for name, measure in HELD_OUT.items():
                    low = max(measure.low, initial - 4.0)
                    high = min(measure.high, NUM_STEPS if measure.unit == "steps" else 7.0)
                    other[name] = float(rng.choice([low, high, rng.uniform(low, high)]))
            final = None if math.isnan(loss) else float(loss)
            if final is not None:
                other |= {"initial_loss": initial, "initial_val_loss": initial}
            rows.append(row(method, 10.0 ** (place - 3), seed, final, **other))
    return frame(rows)


def strange_traces(results: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Losses, and entropies from none to all that there can be, a rounding above it included."""
    parts = [pl.DataFrame(schema=TRACE_SCHEMA)]
    for trial in results.filter(pl.col("final_loss").is_not_null()).iter_rows(named=True):
        steps = np.unique(np.linspace(0, trial["diverged_step"] or NUM_STEPS, 30).astype(int))
        values = {"loss": rng.uniform(0.1, 5, len(steps)), "uniform_entropy": np.full(len(steps), UNIFORM)}
        ends = [0.0, 1e-8, UNIFORM, UNIFORM * (1 + 1e-7), rng.uniform(0, UNIFORM)]
        values |= {name: rng.choice(ends, len(steps)) for name in ("entropy", "least_head_entropy")}
        for name, column in values.items():
            of_one = [(trial["trial_id"], step, name, -1 if name == "loss" else 0, value) for step, value in
                      zip(steps.tolist(), column.tolist(), strict=True)]  # fmt: skip
            parts.append(pl.DataFrame(of_one, TRACE_SCHEMA, orient="row"))
    return pl.concat(parts)


def assert_within(low: float | None, value: float | None, high: float | None, domain: tuple[float, float]) -> None:
    """Value and ends, those that there are, in the domain and in this order."""
    ends = [one for one in (low, value, high) if one is not None]
    assert ends == sorted(ends)
    assert all(domain[0] <= one <= domain[1] for one in ends)
    assert (low is None) == (high is None)
    assert value is not None or low is None


@pytest.mark.parametrize("num_seeds", one_of_each_kind([1, 2, 3], [2]))
@pytest.mark.parametrize("num_lrs", one_of_each_kind([1, 2, 4], [4]))
@pytest.mark.parametrize("name", patterns(np.random.default_rng(0), 2, 2))
def test_scores_keep_to_what_they_can_be(name, num_lrs, num_seeds):
    rng = np.random.default_rng([num_lrs, num_seeds, len(name)])
    found = patterns(rng, num_lrs, num_seeds)
    other = str(rng.choice(list(found.keys() - {"negative"})))
    initial = -1.0 if name == "negative" else 4.0
    results = strange_results({"one": found[name], "other": found[other]}, initial, rng)
    traces = strange_traces(results, rng)
    can_be_held_out = results["val_loss"].is_not_null().any()
    for loss in ("train", "validation") if can_be_held_out else ("train",):
        entries = scored_entries(results, traces, 21, loss)
        extents = {label_of(entry.key[1:]): entry.extent for entry in entries}
        for one in score_table(entries, loss).iter_rows(named=True):
            domain = SCORE_KINDS[one["score"]].domain(
                extents[label_of((one["method"], one["optimizer"], one["knobs"]))]
            )
            assert_within(one["ci_low"], one["value"], one["ci_high"], domain)
            assert one["num_seeds"] != 1 or one["ci_low"] is None
        for score, kind in SCORE_KINDS.items():
            for one in score_differences(entries, score).iter_rows(named=True):
                domain = kind.difference_domain(extents[one["first"]], extents[one["second"]])
                assert_within(one["ci_low"], one["difference"], one["ci_high"], domain)
                assert 0 <= one["p_value"] <= one["p_holm"] <= 1
        for one in leaderboard(results, loss=loss).iter_rows(named=True):
            assert_within(one["ci_low"], one["lr_sensitivity"], one["ci_high"], (0, math.inf))
            assert one["rank"] is None or (1 <= one["rank"] <= one["rank_worst"] <= 2 and one["num_seeds"] > 1)
            for measure, definition in HELD_OUT_SCORES.items():
                ends = (one[f"{measure}_ci_low"], one[measure], one[f"{measure}_ci_high"])
                of_loss = definition.kind == "loss" and name != "negative"
                assert_within(*ends, (0, math.inf) if of_loss else definition.bounds)


def test_a_negative_held_out_loss_has_an_interval_on_both_sides():
    rows = [row("m", lr, s, 1.0, val_loss=-2.0 + 0.1 * s, least_val_loss=-2.0) for lr in (0.1, 1.0) for s in range(3)]
    (board,) = leaderboard(frame(rows)).iter_rows(named=True)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert board["val_loss_ci_low"] == pytest.approx(-1.9 - half)
    assert board["val_loss_ci_high"] == pytest.approx(-1.9 + half)


def test_a_knob_of_which_one_value_was_lost_altogether_is_scored_at_the_other():
    """As where the larger model did not fit: its trials have no result, yet the knob varies."""
    lost = [row("m", lr, s, None, settings='{"depth":8}') for lr in (0.1, 1.0) for s in range(2)]
    fewer = [row("m", lr, s, None, num_steps=9) for lr in (0.1, 1.0) for s in range(2)]
    kept = [row("m", lr, s, lr, settings='{"depth":2}') for lr in (0.1, 1.0) for s in range(2)]
    plain = [row("m", lr, s, lr) for lr in (0.1, 1.0) for s in range(2)]
    for rows, knobs in ((lost + kept, "depth=2"), (fewer + plain, "num_steps=2000")):
        (entry,) = scored_entries(frame(rows), None, 21, "train")
        assert entry.key[-1] == knobs
