"""The shift that brings a curve nearest to the reference's: exact for moved curves, equal to brute force."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from analysis.scores.lr_shift import LR_SHIFT_COLUMNS, Shift, best_shift, distances, lr_shift
from tests.analysis.synthetic_results import frame, row

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=25)
GRID = np.linspace(-4.0, 1.0, 11)


def valley(log_lr: np.ndarray, at: float) -> np.ndarray:
    """Loss 4 far away, 1 at the best lr, a cliff above it: linear between multiples of half a decade."""
    return np.interp(log_lr - at, [-1.5, -0.5, 0.0, 0.5, 1.0], [4.0, 2.0, 1.0, 2.0, 4.0])


def suite(methods: dict[str, np.ndarray], **other) -> pl.DataFrame:
    return frame(
        [
            row(method, float(10**x), seed, float(loss), **other)
            for method, curve in methods.items()
            for x, loss in zip(GRID, curve, strict=True)
            for seed in range(2)
        ]
    )


@pytest.mark.parametrize("shift", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_a_moved_curve_is_found_exactly(shift):
    found = best_shift(GRID, valley(GRID, -1.5 + shift), GRID, valley(GRID, -1.5))
    assert found is not None
    assert found[0] == pytest.approx(shift)
    assert found[1] == pytest.approx(0.0, abs=1e-9)
    assert (found[2] > 0.1) == (shift != 0)


def test_distance_by_hand():
    # Reference 0, 2 at log lr 0, 1; method 1, 1. Unmoved: 1, 1 at its points and again at the reference's. Moved by 0.5
    # they overlap in [0.5, 1]: the method's point 1 against 1 (midway), the reference's 0 at 0.5 against 1.
    x, f, g = np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.array([0.0, 2.0])
    assert distances(x, f, x, g, np.array([0.0])).tolist() == pytest.approx([1.0])
    # The method's best lr, the smaller of equal ones, is not in the overlap.
    assert np.isnan(distances(x, f, x, g, np.array([0.5]))).all()
    assert distances(x, f, x, g, np.array([-0.5])).tolist() == [pytest.approx(math.nan, nan_ok=True)]
    assert distances(x, -g, x, g, np.array([-1.0, 1.0])).tolist() == pytest.approx([math.nan] * 2, nan_ok=True)


def brute_force(x, f, u, g) -> tuple[float, float]:
    """(shift, distance) by the definition, point after point."""
    best = (math.inf, math.inf)
    for step in range(-1000, 1001):
        shift = step / 100
        low, high = max(x[0], u[0] + shift), min(x[-1], u[-1] + shift)
        inside = [low - 1e-9 <= at <= high + 1e-9 for at in (x[np.argmin(f)], u[np.argmin(g)] + shift)]
        if high - low < min(x[-1] - x[0], u[-1] - u[0]) / 2 - 1e-9 or not all(inside):
            continue
        squares = [
            (f[i] - np.interp(x[i] - shift, u, g)) ** 2 for i in range(len(x)) if low - 1e-9 <= x[i] <= high + 1e-9
        ]
        squares += [
            (np.interp(u[i] + shift, x, f) - g[i]) ** 2
            for i in range(len(u))
            if low - 1e-9 <= u[i] + shift <= high + 1e-9
        ]
        distance = round(math.sqrt(sum(squares) / len(squares)), 12)
        if (distance, abs(shift)) < (best[1], abs(best[0])):
            best = (shift, distance)
    return best


@REPEATABLE
@given(st.integers(0, 10**6))
def test_search_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    x, u = np.cumsum(rng.uniform(0.2, 0.6, 8)), np.cumsum(rng.uniform(0.2, 0.6, 7))
    f, g = rng.uniform(1.0, 4.0, 8), rng.uniform(1.0, 4.0, 7)
    found = best_shift(x, f, u, g)
    assume(found is not None)
    assert found is not None
    assert found[1] == pytest.approx(brute_force(x, f, u, g)[1], abs=1e-9)
    assert found[1] <= found[2]


def test_moving_both_curves_changes_nothing_and_swapping_them_the_sign():
    f, g = valley(GRID, -1.0), valley(GRID, -2.0)
    one, two, swapped = best_shift(GRID, f, GRID, g), best_shift(GRID + 2, f, GRID + 2, g), best_shift(GRID, g, GRID, f)
    assert one is not None
    assert two == pytest.approx(one)
    assert swapped == pytest.approx((-one[0], one[1], one[2]))


def test_missing_rates_are_left_out_and_too_few_say_nothing():
    holed = valley(GRID, -1.0)
    holed[0] = math.nan
    found = best_shift(GRID, holed, GRID, valley(GRID, -2.0))
    assert found is not None
    assert found[0] == pytest.approx(1.0)
    assert best_shift(GRID[:1], holed[1:2], GRID, holed) is None


@pytest.mark.parametrize(
    ("shift", "distance", "unshifted", "expected"),
    [
        (0.3, 0.099, 0.3, True),
        (-0.5, 0.0, 0.3, True),
        (0.29, 0.1, 0.3, False),  # too little of a shift
        (0.5, 0.11, 0.3, False),  # not near enough
        (0.5, 0.0, 0.1, False),  # 5% of what the reference learns: alike as they are
    ],
)
def test_rule_of_the_flag(shift, distance, unshifted, expected):
    found = Shift(shift_decades=shift, distance=distance, distance_unshifted=unshifted)
    assert found.is_shifted(learned=2.0) == expected


def test_only_methods_beside_the_reference_are_compared():
    data = suite({"softmax": valley(GRID, -2.0), "m": valley(GRID, -1.0)})
    found = lr_shift(pl.concat([data, suite({"m": valley(GRID, -1.0)}, optimizer="adamw")]))
    assert found.select("method", "optimizer", "reference", "is_shifted").rows() == [("m", "sgd", "softmax", True)]
    assert found["shift_decades"].item() == pytest.approx(1.0)
    assert lr_shift(data.filter(method="m")).is_empty()


def test_a_shift_counts_by_what_the_reference_learns():
    """Curves a tenth as deep, which learn 0.3 of a loss of 4, are shifted as deep ones are."""
    shallow = {method: 4 - (4 - valley(GRID, at)) / 10 for method, at in (("softmax", -2.0), ("m", -1.0))}
    assert lr_shift(suite(shallow))["is_shifted"].to_list() == [True]


def test_results_without_the_reference_have_no_shift_and_all_columns():
    found = lr_shift(suite({"relu_kernel": valley(GRID, -1.5)}))
    assert found.is_empty()
    assert found.schema == pl.DataFrame(schema=LR_SHIFT_COLUMNS).schema
