"""The standard deviation over seeds: its interval, and whether that of two methods differs.

Legend: S seeds, X any batch axes.
"""

from __future__ import annotations

from analysis.curves import LossGrid
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.scores.seeds.pairing import UNPAIRED, Difference, two_sided
from analysis.scores.seeds.scales import Interval
from bench.lazy import numpy as np
from bench.lazy import special

_LEAST_KURTOSIS = 0.3


def spread_interval(values_S: np.ndarray) -> Interval:
    """Standard deviation over seeds with its interval, (S,) -> Interval; `spread_ends` says which."""
    num_seeds = len(values_S)
    if num_seeds < 2:
        return Interval(value=float("nan"), low=None, high=None)
    low, high = spread_ends(values_S)
    return Interval(value=float(values_S.std(ddof=1)), low=float(low), high=float(high))


def spread_ends(values_XS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95% interval of the standard deviation over seeds, (X..., S) -> (X...), (X...). Needs S >= 2.

    Chi-square on 2 / (2 / (S - 1) + k / S) degrees of freedom, which match the variance of a sample variance at excess
    kurtosis k: the larger of 0 and 0.3 + the sample's unbiased estimate (none with three seeds or fewer). With k = 0
    it is the textbook interval, exact if the values are normal and too narrow if their tails are any heavier, however
    many seeds there are; 0.3, chosen by simulation, is what few seeds cannot rule out. Source: this project; degrees of
    freedom that match a variance as in Welch 1947.
    """
    spread_X, freedom_X = values_XS.std(-1, ddof=1), _freedom(values_XS)
    low_X, high_X = (
        spread_X * np.sqrt(freedom_X / (2 * special.gammaincinv(freedom_X / 2, level)))
        for level in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2)
    )
    return low_X, high_X


def spread_difference(first: LossGrid, second: LossGrid) -> Difference:
    """Standard deviation over seeds of the first minus that of the second, one value a seed; it has no interval.

    Where the seeds are the same, p-value of the correlation of sums and differences, which is 0 if the variances are
    equal: exact if the pairs are normal. Else of the ratio of the variances, F with the degrees of freedom of
    `spread_ends`. Needs three seeds of each. Source: Pitman 1939; Morgan 1939.
    """
    if first.seeds != second.seeds:
        return _unpaired(first.losses[0], second.losses[0])
    seeds, one_S, two_S = first.seeds, first.losses[0], second.losses[0]
    value = float(one_S.std(ddof=1) - two_S.std(ddof=1)) if len(seeds) > 1 else float("nan")
    if len(seeds) < 3:
        return Difference(value=value, num_seeds=len(seeds), freedom=0.0)
    sums_S, differences_S = one_S + two_S - (one_S + two_S).mean(), one_S - two_S - (one_S - two_S).mean()
    scale = float(np.linalg.norm(sums_S) * np.linalg.norm(differences_S))
    correlation = min(abs(float(sums_S @ differences_S)) / scale, 1.0) if scale else 0.0
    unexplained = np.sqrt((1 - correlation**2) / (len(seeds) - 2))
    p_value = two_sided(correlation, float(unexplained), len(seeds) - 2)
    return Difference(value=value, p_value=p_value, num_seeds=len(seeds), freedom=len(seeds) - 2)


def _unpaired(one_S: np.ndarray, two_S: np.ndarray) -> Difference:
    num_seeds = min(len(one_S), len(two_S))
    spreads = [float(values_S.std(ddof=1)) if num_seeds > 1 else float("nan") for values_S in (one_S, two_S)]
    p_value = 1.0
    if num_seeds > 2 and spreads[0] != spreads[1]:
        freedoms = float(_freedom(one_S)), float(_freedom(two_S))
        ratio = (spreads[0] / spreads[1]) ** 2 if spreads[1] else np.inf
        p_value = min(1.0, 2 * float(min(special.fdtr(*freedoms, ratio), special.fdtrc(*freedoms, ratio))))
    return Difference(
        value=spreads[0] - spreads[1], p_value=p_value, num_seeds=num_seeds, freedom=0.0, compared=UNPAIRED
    )


def _freedom(values_XS: np.ndarray) -> np.ndarray:
    """Degrees of freedom of a sample variance, as `spread_ends` has them: (X..., S) -> (X...)."""
    num_seeds = values_XS.shape[-1]
    kurtosis_X = np.maximum(0.0, _LEAST_KURTOSIS + _excess_kurtosis(values_XS))
    return 2 / (2 / (num_seeds - 1) + kurtosis_X / num_seeds)


def _excess_kurtosis(values_XS: np.ndarray) -> np.ndarray:
    """Unbiased if the values are normal: (X..., S) -> (X...); 0 with fewer than four, or if all are alike."""
    num_seeds = values_XS.shape[-1]
    if num_seeds < 4:
        return np.zeros(values_XS.shape[:-1])
    deviations_XS = values_XS - values_XS.mean(-1, keepdims=True)
    largest_X1 = np.abs(deviations_XS).max(-1, keepdims=True)
    scaled_XS = np.divide(deviations_XS, largest_X1, out=np.zeros_like(deviations_XS), where=largest_X1 > 0)
    squares_X, fourths_X = (scaled_XS**2).mean(-1), (scaled_XS**4).mean(-1)
    plain_X = np.divide(fourths_X, squares_X**2, out=np.full_like(squares_X, 3.0), where=squares_X > 0) - 3
    unbiased_X = (num_seeds - 1) * ((num_seeds + 1) * plain_X + 6) / ((num_seeds - 2) * (num_seeds - 3))
    return np.where(squares_X > 0, unbiased_X, 0.0)
