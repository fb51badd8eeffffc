"""Early against late: differences worked out by hand, of seeds that have both, and the committed run's."""

import polars as pl
import pytest

from analysis.scores.causes.effect_starts import START_COLUMNS, effect_starts
from analysis.scores.causes.effects import PAIRED_COLUMNS
from analysis.tables.causes.effects import start_group
from tests.test_results_of_interventions import temperature_pairs


def pair(seed: int, from_step: int, cost: float, *, steps: int | None = None) -> dict:
    """A row of PAIRED_COLUMNS, whose twin ends at 1."""
    place = {"workload": "w", "method": "m", "optimizer": "o", "schedule": "s", "lr": 0.1, "strength": 0.5}
    place |= {"intervention": f"temperature(from_step={from_step})", "from_step": from_step, "seed": seed}
    end = None if steps is None else from_step + steps
    return dict.fromkeys(PAIRED_COLUMNS) | place | {"end_step": end, "capped": 1 + cost, "twin_capped": 1.0}


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PAIRED_COLUMNS)


def test_later_minus_first_by_seed():
    """Differences 0.1, 0.3 and 0.2: mean 0.2, standard error 0.1 / sqrt 3, t(2) = 4.303; a seed alone is left out."""
    firsts = [pair(seed, 10, 0.1 * seed) for seed in range(3)]
    laters = [pair(seed, 20, 0.1 * seed + more) for seed, more in enumerate((0.1, 0.3, 0.2))]
    (row,) = effect_starts(frame(*firsts, *laters, pair(7, 20, 9.0))).to_dicts()
    assert (row["first_step"], row["later_step"], row["num_seeds"], row["num_steps"]) == (10, 20, 3, None)
    assert row["difference"] == pytest.approx(0.2)
    assert row["difference_high"] - 0.2 == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert (row["first_cost"], row["later_cost"]) == (pytest.approx(0.1), pytest.approx(0.3))


def test_pulses_and_what_acts_for_good_are_apart_and_one_start_has_no_row():
    rows = [pair(seed, step, 0.0, steps=steps) for seed in (0, 1) for step in (10, 20, 30) for steps in (None, 5)]
    found = effect_starts(frame(*rows))
    assert sorted(found.select("num_steps", "later_step").rows(), key=str) == [(5, 20), (5, 30), (None, 20), (None, 30)]
    alone = effect_starts(frame(pair(0, 10, 0.0)))
    assert (alone.columns, alone.height) == (list(START_COLUMNS), 0)
    assert start_group(alone).tables == ()


def test_the_committed_run_has_the_difference_that_its_page_states():
    found = effect_starts(temperature_pairs().drop("cost"))
    row = found.filter(strength=0.1, lr=0.01, num_steps=25, later_step=200).to_dicts()[0]
    assert (row["first_step"], row["num_seeds"]) == (25, 5)
    assert row["difference"] == pytest.approx(0.79, abs=5e-3)
    assert row["difference_low"] == pytest.approx(0.47, abs=5e-3)
