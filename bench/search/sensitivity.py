"""Sensitivity: the score lr_sensitivity of a dense grid, from few of its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from bench.search.base import Answer, Ask, KnobSearch, Point, Setting, by_setting, show

if TYPE_CHECKING:
    import numpy as np

_NUM_DRAWS = 400
_CAUTION = 2.576  # 99%, not 95%: the draws do not know what their model gets wrong


@dataclass(frozen=True, kw_only=True)
class Sensitivity(KnobSearch):
    """What analysis.scores.robustness.lr_sensitivity would be if every value of the grid were trained with every seed.

    `grid` is the dense grid that the score is the mean over; without one, `per_decade` values a decade of [low, high].
    First one value a decade, seeds in turn. Then, each round, the missing cells are drawn many times
    (bench.search.completion), and the `batch` cells are asked for that explain most of how the two parts of the score
    vary over the completed grids: the mean height of the curve and its least (greedy linear regression; in their
    difference the parts may cancel, though neither is known). A value is clipped if any of its seeds diverges, which
    no single cell tells, so that the cells of one value are weighed together, by what they explain per trial. It stops
    when 2.58 standard deviations of the score, were its parts to err in opposite directions, are at most `tolerance`,
    or the budget is spent.

    The answer is the median score of the completed grids. Its interval holds both what is not trained and how seeds
    differ (analysis.scores.seeds.intervals): the latter does not shrink with more trials and has no say in when to
    stop.
    """

    tolerance: Annotated[float, Gt(0)] = 0.01  # in units of loss
    batch: Annotated[int, Ge(1)] = 3  # trials a round
    per_decade: Annotated[int, Ge(1)] = 3  # values a decade where no grid is given

    @property
    def values(self) -> tuple[float, ...]:
        """The dense grid, ascending."""
        return tuple(sorted(self.grid)) if self.grid else self.decade_values(self.per_decade)

    def next(self, points: Sequence[Point]) -> Ask | None:
        if self.num_left(points) <= 0:
            return None
        if all(point.is_lost for point in points):
            return self._sweep(points)
        grids_NLS, initial_S, scores_N = self._completed(points)
        half = _CAUTION * _deviation(grids_NLS, initial_S)
        if half <= self.tolerance:
            return None
        settings, share = self._telling(points, grids_NLS, initial_S)
        if not settings:
            return None
        asked = ", ".join(f"{show(value)} (seed {seed})" for value, seed in settings)
        why = (
            f"the score is {float(scores_N.mean()):.3f}, give or take {half:.3f} for what is not trained, more than "
            f"{self.tolerance}: {asked} should tell {share:.0%} of how its parts vary"
        )
        return Ask(settings=settings, why=why)

    def answer(self, points: Sequence[Point]) -> Answer:
        import numpy as np

        if all(point.is_lost for point in points):
            low, value, high, note = -math.inf, math.nan, math.inf, "no trial came back"
        else:
            grids_NLS, initial_S, scores_N = self._completed(points)
            value, half = float(np.median(scores_N)), self._half_width(grids_NLS, initial_S)
            low = -math.inf if math.isinf(half) else max(value - half, 0.0)
            high, note = value + half, self._note(points, _deviation(grids_NLS, initial_S))
        return Answer(value=value, low=low, high=high, unit="loss", num_trials=len(points), note=note)

    def _note(self, points: Sequence[Point], deviation: float) -> str:
        half = f"what is not trained makes {_CAUTION * deviation:.3f} of the score uncertain"
        if _CAUTION * deviation <= self.tolerance:
            return f"{half}, at most {self.tolerance}"
        if self.num_left(points) <= 0:
            return f"the budget of {self.budget} trials is spent; {half}"
        return f"{half}" if self.next(points) is None else f"not finished: {half}"

    def _sweep(self, points: Sequence[Point]) -> Ask | None:
        """One value a decade, seeds in turn; shifted by a seed for every sweep that was lost altogether."""
        asked, num_seeds = {(point.value, point.seed) for point in points}, len(self.seeds)
        coarse = tuple(value for value in self.decade_values(1) if value in self.values) or self.values
        for shift in range(num_seeds):
            turns = [(value, self.seeds[(place + shift) % num_seeds]) for place, value in enumerate(coarse)]
            free = tuple(setting for setting in turns if setting not in asked)[: self.num_left(points)]
            if free:
                listed = ", ".join(show(value) for value, _ in free)
                return Ask(settings=free, why=f"one value a decade, seeds in turn, outlines the curve: {listed}")
        return None

    def _completed(self, points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws of the full grid (N, L, S), losses at init (S,), and the score of each draw (N,)."""
        import numpy as np

        from analysis.scores.robustness import lr_sensitivity
        from bench.search.completion import draw_losses_NLS

        values_L = np.array(self.values)
        losses_LS = np.full((len(values_L), len(self.seeds)), np.nan)
        initial_LS = losses_LS.copy()
        for (value, seed), point in by_setting(points).items():
            if not point.is_lost:
                cell = self.values.index(value), self.seeds.index(seed)
                losses_LS[cell], initial_LS[cell] = point.final_loss, point.initial_loss
        known_LS = ~np.isnan(initial_LS)
        counts_S = known_LS.sum(0)
        sums_S = np.where(known_LS, initial_LS, 0).sum(0)
        initial_S = np.where(counts_S > 0, sums_S / np.maximum(counts_S, 1), initial_LS[known_LS].mean())
        # the same random numbers in every round: rounds differ by what came back, not by luck
        rng = np.random.default_rng(0)
        grids_NLS = draw_losses_NLS(np.log10(values_L), losses_LS, initial_S, _NUM_DRAWS, rng)
        return grids_NLS, initial_S, lr_sensitivity(grids_NLS, initial_S[None], values_L)

    def _telling(
        self, points: Sequence[Point], grids_NLS: np.ndarray, initial_S: np.ndarray
    ) -> tuple[tuple[Setting, ...], float]:
        """The settings that tell most of how the parts of the score vary, and which share of it they tell together."""
        import numpy as np

        num_seeds, asked = len(self.seeds), by_setting(points)
        is_free_LS = np.array([[(value, seed) not in asked for seed in self.seeds] for value in self.values])
        parts_NP = _parts_NP(grids_NLS, initial_S)
        parts_NP = parts_NP - parts_NP.mean(0)
        total, told_NQ = (parts_NP**2).sum(), np.zeros((len(parts_NP), 0))
        chosen: list[Setting] = []
        while (room := min(self.batch, self.num_left(points)) - len(chosen)) > 0:
            order_LS, curves_NLS = _curves_of_more(grids_NLS, initial_S, is_free_LS, parts_NP, told_NQ)
            gain_LS, _ = _gain(curves_NLS, parts_NP, told_NQ)
            more_S = np.arange(num_seeds) + 1
            gain_LS = np.where(more_S <= is_free_LS.sum(1)[:, None], gain_LS, 0) / more_S  # per trial
            place, last = divmod(int(gain_LS.argmax()), num_seeds)
            if gain_LS[place, last] <= 0:
                break
            new = order_LS[place, : last + 1][:room]
            chosen.extend((self.values[place], self.seeds[seed]) for seed in new)
            is_free_LS[place, new] = False
            _, left_N = _gain(curves_NLS[:, place, len(new) - 1], parts_NP, told_NQ)
            direction_N1 = left_N[:, None] / max(float(np.linalg.norm(left_N)), 1e-300)
            told_NQ = np.append(told_NQ, direction_N1, 1)
            parts_NP = parts_NP - direction_N1 @ (direction_N1.T @ parts_NP)
        return tuple(chosen), 1 - float((parts_NP**2).sum() / total)

    def _half_width(self, grids_NLS: np.ndarray, initial_S: np.ndarray) -> float:
        """Half the 95% interval: the variance of what is not trained, plus the squared standard error over seeds."""
        import numpy as np

        from analysis.scores.robustness import lr_sensitivity
        from analysis.scores.seeds.intervals import half_width, standard_error

        if len(initial_S) < 2:
            return math.inf
        initial_NS = np.broadcast_to(initial_S, (len(grids_NLS), len(initial_S)))
        errors_N = standard_error(lr_sensitivity, grids_NLS, initial_NS, np.array(self.values))
        return float(
            half_width(math.hypot(_deviation(grids_NLS, initial_S), np.sqrt((errors_N**2).mean())), len(initial_S))
        )


def _parts_NP(grids_NLS: np.ndarray, initial_S: np.ndarray) -> np.ndarray:
    """The two parts of the score of each completed grid: the mean of the clipped curve, and its least."""
    import numpy as np

    from analysis.scores.robustness import clipped_curve

    curve_NL = clipped_curve(grids_NLS, initial_S)
    return np.stack([curve_NL.mean(1), curve_NL.min(1)], 1)


def _deviation(grids_NLS: np.ndarray, initial_S: np.ndarray) -> float:
    """Standard deviation of the score if its parts err in opposite directions: an upper bound for any correlation.

    Of draws of the grid, the correlation is what depends on their model most.
    """
    return float(_parts_NP(grids_NLS, initial_S).std(0).sum())


def _curves_of_more(
    grids_NLS: np.ndarray, initial_S: np.ndarray, is_free_LS: np.ndarray, parts_NP: np.ndarray, told_NQ: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Free seeds of each value, those that tell most first; the clipped curve once the first 1, 2, ... are known.

    (L, S), indices of seeds, the others last; (N, L, S), means over what is known and the first seeds of that order.
    """
    import numpy as np

    gain_LS, _ = _gain(np.minimum(grids_NLS, initial_S), parts_NP, told_NQ)
    order_LS = np.argsort(np.where(is_free_LS, -gain_LS, 1.0), 1, kind="stable")
    known_NL = np.where(is_free_LS, 0.0, grids_NLS).sum(2)
    sums_NLS = known_NL[..., None] + np.take_along_axis(grids_NLS, order_LS[None], 2).cumsum(2)
    counts_LS = (~is_free_LS).sum(1)[:, None] + 1 + np.arange(is_free_LS.shape[1])
    return order_LS, np.minimum(sums_NLS / counts_LS, initial_S.mean())


def _gain(features_NX: np.ndarray, parts_NP: np.ndarray, told_NQ: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance of the parts that each feature explains beyond what is told, (X,), and what of it is new, (N, X).

    `told_NQ` is orthonormal, and `parts_NP` orthogonal to it.
    """
    import numpy as np

    flat_NC = (features_NX - features_NX.mean(0)).reshape(len(features_NX), -1)
    smallest = 1e-8 * float(np.abs(features_NX).max()) ** 2  # a feature that varies less is known
    flat_NC = flat_NC - told_NQ @ (told_NQ.T @ flat_NC)
    variance_C = (flat_NC**2).mean(0)
    explained_C = ((parts_NP.T @ flat_NC / len(flat_NC)) ** 2).sum(0) / np.maximum(variance_C, max(smallest, 1e-300))
    gain_C = np.where(variance_C > smallest, explained_C, 0.0)
    return gain_C.reshape(features_NX.shape[1:]), flat_NC.reshape(features_NX.shape)
