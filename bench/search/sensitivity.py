"""Sensitivity: the score lr_sensitivity of a dense grid, from few of its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from bench.search.base import Answer, Ask, Point, Search, Setting, by_setting, show

if TYPE_CHECKING:
    import numpy as np

_NUM_DRAWS = 400
_CAUTION = 2.576  # 99%, not 95%: the draws do not know what their model gets wrong


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Search):
    """What analysis.scores.lr_sensitivity would be if every value of the grid were trained with every seed.

    `grid` is the dense grid that the score is the mean over; without one, `per_decade` values a decade of [low, high].
    First one value a decade, seeds in turn. Then, each round, the missing cells are drawn many times
    (bench.search.completion), each completed grid is scored, and the `batch` cells are asked for whose losses explain
    most of how the scores vary (greedy linear regression). It stops when the scores of the completed grids lie within
    `tolerance` of their mean (2.58 standard deviations), or the budget is spent.

    The answer is the median score of the completed grids. Its interval holds both what is not trained and how seeds
    differ (analysis.intervals): the latter does not shrink with more trials and has no say in when to stop.
    """

    tolerance: Annotated[float, Gt(0)] = 0.05  # in units of loss
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
        half = _CAUTION * float(scores_N.std())
        if half <= self.tolerance:
            return None
        settings, share = self._telling(points, grids_NLS, initial_S, scores_N)
        if not settings:
            return None
        asked = ", ".join(f"{show(value)} (seed {seed})" for value, seed in settings)
        why = (
            f"the score is {float(scores_N.mean()):.3f}, give or take {half:.3f} for what is not trained, more than "
            f"{self.tolerance}: {asked} should tell {share:.0%} of that variance"
        )
        return Ask(settings=settings, why=why)

    def answer(self, points: Sequence[Point]) -> Answer:
        import numpy as np

        if all(point.is_lost for point in points):
            low, value, high, note = -math.inf, math.nan, math.inf, "no trial came back"
        else:
            grids_NLS, initial_S, scores_N = self._completed(points)
            value, half = float(np.median(scores_N)), self._half_width(grids_NLS, initial_S, scores_N)
            low, high, note = value - half, value + half, self._note(points, float(scores_N.std()))
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

        from analysis.scores import lr_sensitivity
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
        self, points: Sequence[Point], grids_NLS: np.ndarray, initial_S: np.ndarray, scores_N: np.ndarray
    ) -> tuple[tuple[Setting, ...], float]:
        """The settings whose losses tell most of the scores' variance, and which share of it they tell together."""
        import numpy as np

        asked = {(point.value, point.seed) for point in points}
        settings = [(value, seed) for value in self.values for seed in self.seeds]
        is_free_C = np.array([setting not in asked for setting in settings])
        cells_NC = np.minimum(grids_NLS, initial_S).reshape(len(scores_N), -1)
        cells_NC, left_N = cells_NC - cells_NC.mean(0), scores_N - scores_N.mean()
        smallest = 1e-8 * float(initial_S.mean()) ** 2  # a cell that varies less is known
        chosen: list[Setting] = []
        for _ in range(min(self.batch, self.num_left(points))):
            variance_C = (cells_NC**2).mean(0)
            gain_C = (left_N @ cells_NC / len(left_N)) ** 2 / np.maximum(variance_C, smallest)
            gain_C = np.where(is_free_C & (variance_C > smallest), gain_C, 0.0)
            cell = int(gain_C.argmax())
            if gain_C[cell] <= 0:
                break
            chosen.append(settings[cell])
            is_free_C[cell] = False
            direction_N = cells_NC[:, cell] / np.linalg.norm(cells_NC[:, cell])
            left_N = left_N - direction_N * (direction_N @ left_N)
            cells_NC = cells_NC - np.outer(direction_N, direction_N @ cells_NC)
        return tuple(chosen), 1 - float(left_N.var() / scores_N.var())

    def _half_width(self, grids_NLS: np.ndarray, initial_S: np.ndarray, scores_N: np.ndarray) -> float:
        """Half the 95% interval: the draws' variance, plus the squared standard error over seeds."""
        import numpy as np

        from analysis.intervals import half_width, standard_error
        from analysis.scores import lr_sensitivity

        if len(initial_S) < 2:
            return math.inf
        initial_NS = np.broadcast_to(initial_S, (len(scores_N), len(initial_S)))
        errors_N = standard_error(lr_sensitivity, grids_NLS, initial_NS, np.array(self.values))
        return float(half_width(math.sqrt(scores_N.var() + (errors_N**2).mean()), len(initial_S)))
