"""What the README of suites/results/ says of interventions and their twins holds in the files beside it."""

import numpy
import polars
import polars.testing
import pytest

from analysis.scores.causes.effects import EFFECT_COLUMNS, PAIRED_COLUMNS, effects
from analysis.scores.seeds.intervals import mean_interval
from tests.published import RESULTS, stated


def temperature_pairs() -> polars.DataFrame:
    """A line a pair of twins, with what the intervention cost."""
    pairs = polars.read_csv(RESULTS / "temperature_intervention" / "pairs.csv", schema_overrides=PAIRED_COLUMNS)
    return pairs.with_columns(cost=polars.col("capped") - polars.col("twin_capped"))


def test_effects_are_those_of_their_pairs():
    stored = polars.read_csv(RESULTS / "temperature_intervention" / "effects.csv", schema_overrides=EFFECT_COLUMNS)
    polars.testing.assert_frame_equal(effects(temperature_pairs().drop("cost")), stored, rel_tol=1e-9)


def test_nothing_diverged_under_forced_temperatures():
    pairs = temperature_pairs()
    twins = pairs.select("lr", "seed").unique().height
    assert stated(r"nothing diverged: (\d+) of (\d+) trials") == [0, pairs.height + twins]
    assert not (pairs["has_diverged"] | pairs["twin_has_diverged"]).any()


def test_what_a_temperature_of_a_tenth_costs_is_what_is_said():
    number = r"([\d.]+) \[([\d.]+), ([\d.]+)\]"
    said = {
        True: stated(rf"end {number} above the twin in warmup, {number} after it and {number} late"),
        False: stated(rf"For good it is {number}, {number} and {number}"),
    }
    sharp = temperature_pairs().filter(polars.col("strength") == 0.1, polars.col("lr") == 0.01)
    costs = {}
    for is_pulse, numbers in said.items():
        found = sharp.filter(polars.col("end_step").is_not_null() == is_pulse).sort("seed")
        for place, from_step in enumerate((25, 100, 200)):
            costs[is_pulse, from_step] = found.filter(from_step=from_step)["cost"].to_numpy()
            one = mean_interval(costs[is_pulse, from_step])
            assert numbers[3 * place : 3 * place + 3] == pytest.approx([one.value, one.low, one.high], abs=5e-3)
    later = mean_interval(costs[True, 200] - costs[True, 25])
    assert stated(rf"late minus in warmup, by seed, {number}") == pytest.approx(
        [later.value, later.low, later.high], abs=5e-3
    )
    assert later.low > 0
    assert mean_interval(costs[False, 200] - costs[False, 25]).low > 0


def test_at_the_least_rate_only_what_begins_late_is_told_from_no_cost():
    rows = polars.read_csv(RESULTS / "temperature_intervention" / "effects.csv").filter(lr=0.003)
    costly = rows.filter(polars.col("loss_low") > 0)
    assert costly.height > 0
    assert set(costly["from_step"]) == {200}


def crossed_costs(intervention: str, lr: float) -> numpy.ndarray:
    """What holding entropy or logits cost, by seed; less than 0 is a gain."""
    pairs = polars.read_csv(RESULTS / "collapse_or_variance" / "pairs.csv", schema_overrides=PAIRED_COLUMNS)
    of_one = pairs.filter(polars.col("intervention").str.starts_with(intervention), lr=lr).sort("seed")
    return (of_one["capped"] - of_one["twin_capped"]).to_numpy()


def test_a_floor_under_entropy_and_a_cap_on_logits_help_as_much():
    number = r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]"
    floor, cap = (crossed_costs(name, 0.03) for name in ("entropy_floor", "logit_clamp"))
    said = stated(rf"a floor under entropy ends {number} below the twin and a cap on logits {number}")
    for costs, numbers in ((floor, said[:3]), (cap, said[3:])):
        found = mean_interval(-costs)
        assert numbers == pytest.approx([found.value, found.low, found.high], abs=5e-3)
        assert found.low > 0
    between = mean_interval(floor - cap)
    said = stated(rf"floor minus cap, by seed, {number}")
    assert said == pytest.approx([between.value, between.low, between.high], abs=5e-3)
    assert between.low < 0 < between.high
    small = mean_interval(crossed_costs("entropy_floor", 0.003) - crossed_costs("logit_clamp", 0.003))
    assert stated(rf"the cap is the better by {number}") == pytest.approx(
        [small.value, small.low, small.high], abs=5e-4
    )
    assert small.low > 0


def test_neither_brings_back_what_learned_nothing():
    for lr in (0.1, 0.3):
        assert not crossed_costs("entropy_floor", lr).any()
        assert not crossed_costs("logit_clamp", lr).any()


def forced_costs(*, lr: float, from_step: int, scale: float) -> numpy.ndarray:
    """What logits forced to a scale cost, by seed."""
    pairs = polars.read_csv(RESULTS / "logit_forcing" / "pairs.csv", schema_overrides=PAIRED_COLUMNS)
    chosen = pairs.filter(lr=lr, from_step=from_step, strength=scale).sort("seed")
    return (chosen["capped"] - chosen["twin_capped"]).to_numpy()


def test_no_trial_with_forced_logits_diverged():
    pairs = polars.read_csv(RESULTS / "logit_forcing" / "pairs.csv", schema_overrides=PAIRED_COLUMNS)
    twins = pairs.select("lr", "seed").unique().height
    assert stated(r"None of (\d+) trials diverged: large logits") == [pairs.height + twins]
    assert not (pairs["has_diverged"] | pairs["twin_has_diverged"]).any()


def test_what_forced_logits_cost_is_what_is_said():
    number = r"([\d.]+) \[([\d.]+), ([\d.]+)\]"
    said = {
        200: stated(rf"at lr 0.001, {number} at 1e2, {number} at 1e3 and {number} at 1e4; from the start"),
        0: stated(rf"; from the start {number}, {number} and {number}. So a cost"),
    }
    for from_step, numbers in said.items():
        for place, scale in enumerate((1e2, 1e3, 1e4)):
            cost = mean_interval(forced_costs(lr=0.001, from_step=from_step, scale=scale))
            assert numbers[3 * place : 3 * place + 3] == pytest.approx([cost.value, cost.low, cost.high], abs=5e-3)


@pytest.mark.parametrize("lr", [0.001, 0.003])
def test_larger_logits_cost_more_but_for_the_largest_from_the_start(lr):
    for from_step in (0, 200):
        costs = [forced_costs(lr=lr, from_step=from_step, scale=scale) for scale in (1e2, 1e3, 1e4)]
        assert mean_interval(costs[0]).low > 0
        assert mean_interval(costs[1] - costs[0]).low > 0
        assert (mean_interval(costs[2] - costs[1]).low > 0) == (from_step == 200)
