"""What all searches share: parameters, values that may be asked, replay."""

import math
import subprocess
import sys

import pytest

from bench.entry import load_class, parameters
from bench.search import SEARCHES
from bench.search.base import Ask, Point, Search, loss_grid, replay
from bench.search.edge import Edge


def test_every_search_has_defaults_for_all_parameters():
    for target in SEARCHES.values():
        search_class = load_class(target)
        assert issubclass(search_class, Search)
        assert search_class() == search_class(
            **{name: default for name, (_, default) in parameters(search_class).items()}
        )


def test_parameters_are_read_without_heavy_modules():
    code = (
        "import sys; from bench.entry import load_class, parameters; from bench.search import SEARCHES\n"
        "for target in SEARCHES.values(): parameters(load_class(target))\n"
        "heavy = ('numpy', 'scipy', 'optuna', 'polars', 'torch', 'ray', 'mlflow')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "0 < low < high, got low 1.0 and high 0.1"),
        ({"low": 0.0}, "0 < low < high"),
        ({"budget": 0}, "at least 1 trial, got 0"),
        ({"seeds": ()}, "one or more seeds"),
        ({"seeds": (1, 1)}, "seeds that differ"),
        ({"grid": (0.1, 100.0)}, "grid must be values in"),
        ({"grid": (0.1, 0.1)}, "that differ"),
        ({"low": 0.1, "high": 0.1}, "needs 0 < low < high, got low 0.1 and high 0.1"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(parameter: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Edge(**parameter)


def test_values_have_three_digits_and_stay_in_range():
    search = Edge(low=0.0012345, high=1.0)
    assert search.allowed(0.0123456) == 0.0123
    assert search.allowed(1e-9) == 0.0012345
    assert search.allowed(50.0) == 1.0


def test_grid_values_are_the_nearest_in_log():
    search = Edge(grid=(0.01, 0.1, 1.0))
    assert search.allowed(0.04) == 0.1
    assert search.allowed(0.02) == 0.01
    assert search.place(0.04, {0.1}, 0.0, math.inf) == 0.01
    assert search.place(0.04, {0.1}, 0.01, 1.0) is None


def test_a_taken_value_gives_way_to_a_free_one_inside():
    search = Edge(low=0.01, high=1.0)
    assert search.place(0.1, set(), 0.01, 1.0) == 0.1
    other = search.place(0.1, {0.1}, 0.01, 1.0)
    assert other == 0.0316
    assert search.place(0.1, {0.1, 0.0316}, 0.01, 1.0) == 0.316


def test_free_values_halve_the_range_and_its_halves_and_are_its_ends_last():
    search, asked = Edge(low=0.01, high=1.0), [0.02]
    while (value := search.place(0.02, asked, 0.0, math.inf)) is not None:
        asked.append(value)
    assert asked == [0.02, 0.1, 0.0316, 0.316, 0.0178, 0.0562, 0.178, 0.562, 0.01, 1.0]


def test_decade_values_reach_both_ends():
    assert Edge(low=1e-3, high=1.0).decade_values(1) == (0.001, 0.01, 0.1, 1.0)
    assert Edge(low=1e-3, high=5e-3).decade_values(1) == (0.001, 0.005)
    assert Edge(grid=(1e-3, 3e-3, 1e-2, 1e-1)).decade_values(1) == (0.001, 0.01, 0.1)


class _TwoRounds(Search):
    def next(self, points):
        rounds = [((0.1, 0), (0.1, 1)), ((0.2, 0),)]
        done = len(points) // 2 if len(points) < 3 else 2
        return Ask(settings=rounds[done], why="") if done < 2 else None


def test_replay_stops_at_the_first_round_that_is_not_answered_in_full():
    known = {s: Point(value=s[0], seed=s[1], final_loss=1.0, initial_loss=2.0) for s in [(0.1, 0), (0.1, 1), (0.2, 0)]}
    search = _TwoRounds()
    rounds, points, missing = replay(search, {(0.1, 1): known[0.1, 1], (0.2, 0): known[0.2, 0]})
    assert (len(rounds), points, missing) == (1, [], ((0.1, 0),))
    rounds, points, missing = replay(search, known)
    assert (len(rounds), points, missing) == (2, list(known.values()), ())


def test_loss_grid_leaves_lost_trials_out():
    points = [
        Point(value=0.2, seed=1, final_loss=math.inf, initial_loss=3.0),
        Point(value=0.1, seed=1, final_loss=1.0, initial_loss=5.0),
        Point(value=0.1, seed=0, final_loss=math.nan, initial_loss=math.nan),
    ]
    grid = loss_grid(points)
    assert grid is not None
    assert (grid.lrs.tolist(), grid.seeds, grid.losses.tolist()) == ([0.1, 0.2], (1,), [[1.0], [math.inf]])
    assert (grid.initial_losses.tolist(), grid.num_lost) == ([4.0], 1)
    assert loss_grid(points[2:]) is None
