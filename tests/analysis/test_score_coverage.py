"""95% intervals of scores cover 93 to 97%; where they depart from that, they do as documented."""

import itertools
import re
from pathlib import Path

import pytest

from tests.analysis.interval_coverage import SCENARIOS, Scenario
from tests.analysis.score_coverage import (
    GRID_SCORES,
    LAWS,
    NEAR_THE_TOP,
    flag_record,
    grid_coverage,
    mean_coverage,
    placed_coverage,
    spread_coverage,
)

SEED_COUNTS = [3, 5, 10]
NOMINAL = (0.93, 0.97)
STILL, LITTLE, NOISY, HALF_WAY, FAR = range(5)  # of SCENARIOS

# What is measured of the intervals that cover less than 93% or more than 97%, by law and number of seeds.
MEANS_APART = {
    ("log-normal, sigma 0.8", 3): 0.924,
    ("log-normal, sigma 0.8", 5): 0.910,
    ("log-normal, sigma 0.8", 10): 0.908,
    ("beta(1, 20) (shares near 0)", 10): 0.928,
}
SPREADS_APART = {
    ("log-normal, sigma 0.8", 3): 0.881,
    ("log-normal, sigma 0.8", 5): 0.846,
    ("log-normal, sigma 0.8", 10): 0.760,
    ("beta(8, 1) (lowest entropies)", 3): 0.923,
    ("beta(8, 1) (lowest entropies)", 5): 0.922,
    ("beta(8, 1) (lowest entropies)", 10): 0.903,
    ("beta(1, 20) (shares near 0)", 3): 0.911,
    ("beta(1, 20) (shares near 0)", 5): 0.907,
    ("beta(1, 20) (shares near 0)", 10): 0.871,
    ("Poisson of mean 1 of 500 (rare spikes)", 3): 0.863,  # three seeds alike, one suite in nine, have no width
}

# The same of scores of grids, by scenario and number of seeds. A score on the grid that hardly varies covers 100%.
GRIDS_APART: dict[str, dict[tuple[int, int], float]] = {
    "loss_at_default": {(NOISY, 10): 0.929, (HALF_WAY, 10): 0.975, (FAR, 3): 0.911},
    "lr_sensitivity_seedwise": {},
    "lr_sensitivity_windowed": {
        (STILL, 3): 0.980, (STILL, 5): 0.989, (STILL, 10): 0.995, (LITTLE, 3): 0.974, (LITTLE, 5): 0.987,
        (LITTLE, 10): 0.995, (NOISY, 3): 0.976, (NOISY, 5): 0.978, (HALF_WAY, 3): 0.978, (HALF_WAY, 5): 0.989,
        (HALF_WAY, 10): 0.974, (FAR, 3): 0.988, (FAR, 5): 0.990,
    },
    "best_loss": {(FAR, 5): 0.978},
    "diverged_share": {
        (STILL, 3): 0.995, (STILL, 10): 0.977, (LITTLE, 3): 0.981, (LITTLE, 5): 0.979, (NOISY, 3): 0.981,
        (NOISY, 5): 0.979, (HALF_WAY, 3): 0.978, (FAR, 3): 0.973,
    },
    "stable_decades": {
        (STILL, 5): 0.993, (STILL, 10): 0.994, (LITTLE, 5): 0.983, (LITTLE, 10): 0.981, (NOISY, 5): 0.987,
        (NOISY, 10): 0.982, (HALF_WAY, 3): 0.978, (HALF_WAY, 5): 0.975, (FAR, 3): 0.983,
    },
    "edge_lr, decades": {(STILL, 3): 0.974, (STILL, 5): 0.993, (STILL, 10): 0.991},
    "best_lr, decades": {
        (STILL, 3): 0.985, (STILL, 5): 0.993, (STILL, 10): 0.993, (LITTLE, 5): 0.984, (LITTLE, 10): 0.982,
        (NOISY, 5): 0.993, (NOISY, 10): 0.987,
    },
}  # fmt: skip
# Losses that still fall at the cliff, of seeds that differ little: one seed beyond it is rare and costs much.
STEEP = Scenario(name="losses fall up to the cliff", cliff=-0.6, cliff_jitter=0.15, noise=0.02, onset=1.2)
# Least and largest coverage over numbers of seeds, wherever the cliff lies within a grid step.
PLACED: dict[str, dict[str, tuple[float, float]]] = {
    "cliff +-0.15 decades": {
        "lr_sensitivity": (0.86, 0.98), "lr_sensitivity_seedwise": (0.95, 0.96), "best_loss": (0.93, 0.95),
        "loss_at_default": (0.92, 0.95),
    },
    "cliff +-0.3 decades": {
        "lr_sensitivity": (0.86, 0.96), "lr_sensitivity_seedwise": (0.95, 0.96), "best_loss": (0.92, 0.96),
        "loss_at_default": (0.81, 0.83),
    },
    STEEP.name: {
        "lr_sensitivity": (0.84, 0.96), "lr_sensitivity_seedwise": (0.81, 0.94), "best_loss": (0.75, 0.88),
        "loss_at_default": (0.95, 0.98),
    },
}  # fmt: skip
LAW_CELLS = list(itertools.product(LAWS, SEED_COUNTS))
SCENARIO_CELLS = list(itertools.product(range(len(SCENARIOS)), SEED_COUNTS))
CELLS = [(name, *cell) for name in GRID_SCORES for cell in SCENARIO_CELLS]


def assert_covers(found: float, apart: float | None, tolerance: float) -> None:
    """Within 93 to 97% or, where `apart` says what else is documented, at that and nowhere within."""
    low, high = NOMINAL
    if apart is None:
        assert low - tolerance <= found <= high + tolerance
    else:
        assert not low <= apart <= high
        assert found == pytest.approx(apart, abs=tolerance)


# 10,000 suites: a coverage of 0.95 is measured with a standard error of 0.0022, one of 0.8 with 0.004.
@pytest.mark.whole
@pytest.mark.parametrize(("law", "num_seeds"), LAW_CELLS)
def test_seed_means_cover(law, num_seeds):
    assert_covers(mean_coverage(law, num_seeds, num_suites=10_000, seed=2), MEANS_APART.get((law, num_seeds)), 0.01)


@pytest.mark.parametrize(("law", "num_seeds"), LAW_CELLS)
def test_spreads_over_seeds_cover(law, num_seeds):
    assert_covers(spread_coverage(law, num_seeds, num_suites=10_000, seed=2), SPREADS_APART.get((law, num_seeds)), 0.01)


@pytest.mark.whole
@pytest.mark.parametrize("name", [name for name, apart in GRIDS_APART.items() if (FAR, 5) not in apart])
def test_scores_of_grids_cover(name):
    # 1,200 suites: a standard error of 0.0063.
    assert_covers(grid_coverage(name, SCENARIOS[FAR], 5, num_suites=1200, seed=2), None, 0.015)


@pytest.mark.parametrize("name", ["edge_lr, decades", "diverged_share"])
def test_scores_in_grid_steps_cover_no_less_where_seeds_agree(name):
    assert grid_coverage(name, SCENARIOS[LITTLE], 3, num_suites=1200, seed=2) >= NOMINAL[0]


@pytest.mark.whole
@pytest.mark.parametrize("scenario", NEAR_THE_TOP)
def test_small_shares_of_trials_cover(scenario):
    assert 0.89 <= grid_coverage("diverged_share", scenario, 5, num_suites=1200, seed=2) <= 0.995


def test_a_still_cliff_is_seldom_flagged():
    assert flag_record(SCENARIOS[STILL], 5, num_suites=200, seed=2).raised <= 0.1


@pytest.mark.whole
def test_intervals_reach_up_where_the_cliff_wanders():
    # By the spread over seeds alone nearly half of the intervals of loss_at_default miss, and one in nine of best_loss.
    found = flag_record(SCENARIOS[FAR], 5, num_suites=400, seed=2)
    assert found.raised > 0.8
    assert found.missed_by_spread["loss_at_default"] > 0.4
    assert found.missed_by_spread["best_loss"] > 0.07
    assert found.missed["loss_at_default"] <= 0.09
    assert found.missed["best_loss"] <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scenario", "num_seeds"), CELLS)
def test_scores_of_all_grids_cover_as_documented(name, scenario, num_seeds):
    # 4,800 suites: a standard error of 0.0031 at 0.95, of 0.007 at a half.
    apart = GRIDS_APART[name].get((scenario, num_seeds))
    tolerance = 0.008 if apart is None or apart > 0.9 else 0.02
    assert_covers(grid_coverage(name, SCENARIOS[scenario], num_seeds, num_suites=4800, seed=1), apart, tolerance)


def test_the_readme_says_what_is_covered_wherever_the_cliff_lies():
    text = " ".join((Path(__file__).parents[2] / "analysis/README.md").read_text(encoding="utf-8").split())
    span = r"(\d+)%(?: \(ten seeds\))? to (\d+)%"
    wandering = re.search(
        rf"seedwise sensitivity covers {span}, `best_loss` {span}, the paper's score {span}, "
        rf"and `loss_at_default` {span}",
        text,
    )
    steep = re.search(rf"`best_loss` covers {span} there, the seedwise sensitivity {span}", text)
    assert wandering is not None
    assert steep is not None
    mild = [PLACED[SCENARIOS[place].name] for place in (LITTLE, HALF_WAY)]
    names = ["lr_sensitivity_seedwise", "best_loss", "lr_sensitivity", "loss_at_default"]
    of_mild = [(min(one[name][0] for one in mild), max(one[name][1] for one in mild)) for name in names]
    of_steep = [PLACED[STEEP.name][name] for name in ("best_loss", "lr_sensitivity_seedwise")]
    for match, expected in ((wandering, of_mild), (steep, of_steep)):
        assert [int(one) for one in match.groups()] == [round(100 * end) for ends in expected for end in ends]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lr_sensitivity", "lr_sensitivity_seedwise", "best_loss", "loss_at_default"])
@pytest.mark.parametrize("scenario", [SCENARIOS[LITTLE], SCENARIOS[HALF_WAY], STEEP], ids=lambda one: one.name)
def test_scores_cover_as_documented_wherever_the_cliff_lies(name, scenario):
    # 2,400 suites: a standard error of 0.0045 at 0.95, of 0.009 at 0.75.
    found = [placed_coverage(name, scenario, num_seeds, num_suites=2400, seed=3) for num_seeds in SEED_COUNTS]
    assert (min(found), max(found)) == pytest.approx(PLACED[scenario.name][name], abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "num_seeds"), SCENARIO_CELLS)
def test_how_often_the_flag_is_raised(scenario, num_seeds):
    found = flag_record(SCENARIOS[scenario], num_seeds, num_suites=2000, seed=1)
    assert max(found.missed.values()) <= 0.11
    assert all(found.missed[name] <= found.missed_by_spread[name] for name in found.missed)
    low, high = ((0.0, 0.06), (0.03, 0.22), (0.03, 0.25), (0.4, 0.78), (0.65, 1.0))[scenario]
    assert low <= found.raised <= high
