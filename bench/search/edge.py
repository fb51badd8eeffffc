"""Edge: the largest stable value of a knob, by replicated bisection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from bench.search.base import Answer, Ask, KnobSearch, Point, Setting, loss_grid, show

if TYPE_CHECKING:
    import numpy as np

    from analysis.curves import LossGrid
    from bench.search.censored import Edges


@dataclass(frozen=True, kw_only=True)
class Edge(KnobSearch):
    """The value of the knob above which half of the seeds are no longer stable, with a 95% interval.

    A seed is stable at a value if it did not diverge and its loss lies below the mean loss at init by half of what the
    least seed-mean of the clipped curve does at least (analysis' stable_lrs, for each seed). The edge
    is the upper one: low values at which nothing is learned are not its concern.

    Nothing is stable where even the best value takes less than `least_learned` off the loss at init: else noise among
    values that learn nothing would pass for a best region.

    First one value a decade with the first seed; if none is stable, the values between with the second, then ever
    closer below the smallest value that diverged. Then every round halves the bracket of each seed, at the median of
    where its edge may be given all seeds (bench.search.censored). It stops when half the interval is at most `width`,
    or every seed's own bracket is: then what is left is how seeds differ, which more seeds would tell and more trials
    of these would not.

    If most seeds are stable at the largest value, the answer is that value with an interval up to inf. If nothing is
    stable there is no edge: NaN, in (0, smallest value that was tried] if all diverged, else anywhere.
    """

    width: Annotated[float, Gt(0)] = 0.15  # decades
    least_learned: Annotated[float, Ge(0), Lt(1)] = 0.1  # share of the loss at init

    def next(self, points: Sequence[Point]) -> Ask | None:
        return self._decide(points)[0]

    def answer(self, points: Sequence[Point]) -> Answer:
        ask, note = self._decide(points)
        note = note if ask is None else "not finished: " + ask.why
        grid = loss_grid(points)
        posterior = self.posterior(points)
        if posterior is None:
            all_diverged = grid is not None and not (grid.losses < math.inf).any()
            value, low, high = math.nan, 0.0, float(grid.lrs[0]) if grid is not None and all_diverged else math.inf
        else:
            low, value, high = (self._inside(10 ** posterior.location(share)) for share in (0.025, 0.5, 0.975))
            low, value = min(low, self.high), min(value, self.high)
        return Answer(value=value, low=low, high=high, unit="value of the knob", num_trials=len(points), note=note)

    def _decide(self, points: Sequence[Point]) -> tuple[Ask | None, str]:
        """The next round and, if there is none, why."""
        if not points:
            return self._sweep((), self.decade_values(1), self.seeds[0], "one value a decade brackets the edge"), ""
        if self.num_left(points) <= 0:
            return None, f"the budget of {self.budget} trials is spent"
        posterior = self.posterior(points)
        if posterior is None:
            return self._look_between(points), f"no value in [{show(self.low)}, {show(self.high)}] is stable"
        half = (posterior.location(0.975) - posterior.location(0.025)) / 2
        if half <= self.width:
            return None, f"half the 95% interval is {half:.2f} decades, at most {self.width}"
        settings = self._halve(points, posterior)
        if not settings:
            if not math.isfinite(self._inside(10 ** posterior.location(0.5))):
                return None, f"most seeds are stable at {show(self.high)}, the largest value"
            return None, f"each seed's edge is bracketed within {self.width} decades or as closely as values allow"
        tried = ", ".join(show(value) for value in sorted({value for value, _ in settings}))
        why = (
            f"the edge is near {show(10 ** posterior.location(0.5))}, give or take {half:.2f} decades (seeds differ by "
            f"a scale of {posterior.scale:.2f}): halve the brackets of {len(settings)} seeds at {tried}"
        )
        return Ask(settings=settings, why=why), ""

    def _sweep(self, points: Sequence[Point], values: Sequence[float], seed: int, why: str) -> Ask | None:
        asked = {(point.value, point.seed) for point in points}
        settings = [(value, seed) for value in values if (value, seed) not in asked][: self.num_left(points)]
        described = f"{why}: {', '.join(show(value) for value, _ in settings)} with seed {seed}"
        return Ask(settings=tuple(settings), why=described) if settings else None

    def _look_between(self, points: Sequence[Point]) -> Ask | None:
        """Where a narrow stable region may hide: midway between values, then below the smallest that diverged."""
        between, seed = self.decade_values(2), self.seeds[min(1, len(self.seeds) - 1)]
        between = tuple(value for value in between if value not in self.decade_values(1))
        ask = self._sweep(points, between, seed, "no value is stable so far: values between them may be")
        diverged = min((p.value for p in points if p.final_loss == math.inf), default=math.inf)
        finite = max((p.value for p in points if p.final_loss < math.inf and p.value < diverged), default=math.inf)
        if ask is not None or not finite < diverged < math.inf or math.log10(diverged / finite) <= self.width:
            return ask
        asked = {point.value for point in points if point.seed == self.seeds[0]}
        value = self.place(math.sqrt(finite * diverged), asked, finite, diverged)
        why = f"no value is stable so far: one between {show(finite)}, finite, and {show(diverged)}, diverged, may be"
        return None if value is None else self._sweep(points, (value,), self.seeds[0], why)

    def _halve(self, points: Sequence[Point], posterior: Edges) -> tuple[Setting, ...]:
        """One value for each seed whose bracket is wider than `width` and has one left."""
        settings: list[Setting] = []
        for seed, target, low, high in zip(
            self.seeds, posterior.halving_S(), posterior.lows_S, posterior.highs_S, strict=True
        ):
            asked = {point.value for point in points if point.seed == seed}
            wide = high - low > self.width
            value = self.place(10**target, asked, 10.0**low, 10.0**high) if wide else None
            if value is not None:
                settings.append((value, seed))
        return tuple(settings[: self.num_left(points)])

    def posterior(self, points: Sequence[Point]) -> Edges | None:
        """The posterior of the edges of all seeds, in the order of `seeds`; None if nothing is stable."""
        import numpy as np

        from bench.search.censored import brackets, edges

        grid = loss_grid(points)
        if grid is None:
            return None
        stable_LS, unstable_LS, learned = stable_seeds(grid)
        if not stable_LS.any() or learned < self.least_learned:
            return None
        known_lows, known_highs = brackets(np.log10(grid.lrs), stable_LS, unstable_LS)
        ends = dict(zip(grid.seeds, zip(known_lows, known_highs, strict=True), strict=True))
        lows_S, highs_S = np.array([ends.get(seed, (-math.inf, math.inf)) for seed in self.seeds]).T
        return edges(lows_S, highs_S, self.low, self.high)

    def _inside(self, value: float) -> float:
        """0 below the range of the knob and inf above: there the edge can't be told."""
        return 0.0 if value < self.low else math.inf if value > self.high else float(value)


def stable_seeds(grid: LossGrid) -> tuple[np.ndarray, np.ndarray, float]:
    """Where a seed is stable at a value, where it is past its edge, (L, S) each, and the share that the best learns.

    Stable as analysis' stable_lrs has it, for each seed. Past its edge: diverged, or not stable at the best value
    or above. What is finite and not stable below the best value is neither: there too little was learned.
    """
    import numpy as np

    from analysis.scores.robustness import clipped_curve, keeps_half

    curve_L = clipped_curve(grid.losses, grid.initial_losses)
    initial, least = float(grid.initial_losses.mean()), float(np.nanmin(curve_L))
    stable_LS = keeps_half(grid.losses, least, initial)
    from_best_L1 = np.arange(len(curve_L))[:, None] >= np.nanargmin(curve_L)
    past_LS = np.isinf(grid.losses) | (from_best_L1 & ~np.isnan(grid.losses) & ~stable_LS)
    return stable_LS, past_LS, (initial - least) / initial
