"""Tune: the least loss that a tuning budget buys, and how much of the budget it took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from bench.search.base import Answer, Ask, KnobSearch, Point, Setting, by_setting, loss_grid, replay, show
from bench.search.quiet import quiet_optuna


@dataclass(frozen=True, kw_only=True)
class TuneAnswer(Answer):
    """The least mean loss over seeds with its interval, where it is, and how soon the search was near it."""

    best_value: float  # of the knob; NaN if no trial came back
    num_trials_to_target: int | None  # trials after which the leader stayed near the final best; None if there is none


@dataclass(frozen=True, kw_only=True)
class Tune(KnobSearch):
    """The value of the knob with the least mean loss over seeds that a budget of trials finds, as a person would tune.

    A setting is one value; it counts as its mean loss over the seeds that it has, or the loss at init if one diverged
    (best_loss of analysis). First one value a decade with the first seed, then `batch` values a round from Optuna's
    TPE sampler, until half of the budget is spent. Then settings race: the `batch` best that are not finished get their
    next seed, as long as their loss on the seeds that they share with the leader is near the leader's: within
    `target_fraction`, times all seeds over shared seeds, because few seeds prove little. When no setting is left in the
    race, what remains of the budget goes to new values and their races, or, if no value is left, to the next best.

    The answer is the best of the settings that have most seeds and neither diverged nor were pruned. A setting
    that was pruned counts for the sampler as the loss that it had then. Optuna's study is made anew from
    the points in each round, its sampler seeded with (`sampler_seed`, number of points).
    """

    batch: Annotated[int, Ge(1)] = 4  # trials a round
    target_fraction: Annotated[float, Gt(0), Lt(1)] = 0.05  # of the best loss
    sampler_seed: Annotated[int, Ge(0)] = 0

    def next(self, points: Sequence[Point]) -> Ask | None:
        left = self.num_left(points)
        if left <= 0:
            return None
        if not points:
            settings = tuple((value, self.seeds[0]) for value in self.decade_values(1))[:left]
            return Ask(settings=settings, why=f"one value a decade: {_listed(settings)}")
        racing = self._racing(points) if len(points) >= self.budget / 2 else ()
        settings = racing or self._sampled(points, min(self.batch, left))
        if settings and not racing:
            return Ask(settings=settings, why=f"TPE expects most of {_listed(settings)}, given {len(points)} trials")
        settings = settings or self._racing(points, allowance=math.inf)
        if not settings:
            return None
        leader, loss = self._best(points, leaders=True)
        near = f"{show(leader)} leads with a loss of {loss:.4g}: what is nearest to it gets its next seed"
        return Ask(settings=settings, why=f"{near}: {_listed(settings)}")

    def answer(self, points: Sequence[Point]) -> TuneAnswer:
        import numpy as np

        from analysis.scores.seeds.intervals import mean_interval

        ask = self.next(points)
        spent = f"the budget of {self.budget} trials is spent" if self.num_left(points) <= 0 else "no value is left"
        note = spent if ask is None else "not finished: " + ask.why
        best_value, loss = self._best(points)
        low, high = -math.inf, math.inf
        losses_S = np.array([p.final_loss for p in points if p.value == best_value and not p.is_lost])
        if len(losses_S) > 1 and np.isfinite(losses_S).all():
            bounds = (0.0 if losses_S.min() >= 0 else -math.inf), math.inf
            interval = mean_interval(losses_S).within(bounds)
            low, high = (low, high) if interval.low is None or interval.high is None else (interval.low, interval.high)
        return TuneAnswer(
            value=loss,
            low=low,
            high=high,
            unit="loss",
            num_trials=len(points),
            note=note,
            best_value=best_value,
            num_trials_to_target=self._num_to_target(points),
        )

    def _losses(self, points: Sequence[Point], seeds: Sequence[int] | None = None) -> dict[float, float]:
        """Loss of each setting that has a result, over these seeds alone if they are given."""
        from analysis.scores.robustness import clipped_curve

        grid = loss_grid([point for point in points if seeds is None or point.seed in seeds])
        if grid is None:
            return {}
        return dict(zip(grid.lrs.tolist(), clipped_curve(grid.losses, grid.initial_losses).tolist(), strict=True))

    def _best(self, points: Sequence[Point], *, leaders: bool = False) -> tuple[float, float]:
        """The best setting and its loss, of those with most results or of all (`leaders`).

        Diverged and pruned ones come last.
        """
        losses, counts = self._losses(points), self._counts(points)
        if not losses:
            return math.nan, math.nan
        spoiled = {point.value for point in points if not (point.is_whole or point.is_lost)}
        rank = {v: (v in spoiled, 0 if leaders else -counts[v], loss, v) for v, loss in losses.items()}
        value = min(rank, key=lambda value: rank[value])
        return value, losses[value]

    def _counts(self, points: Sequence[Point]) -> dict[float, int]:
        return {p.value: sum(q.value == p.value and not q.is_lost for q in points) for p in points}

    def _racing(self, points: Sequence[Point], allowance: float | None = None) -> tuple[Setting, ...]:
        """The next seed of the settings near the leader that are not finished, the nearest first, at most `batch`.

        No more than could be finished within the budget. `allowance` is how much worse than the leader they may be, as
        a fraction of its loss; None is the race's own rule.
        """
        losses, known = self._losses(points), by_setting(points)
        ended = {value for (value, _), point in known.items() if not (point.is_whole or point.is_lost)}
        finite = {value for value, _ in known} - ended
        leader, _ = self._best(points, leaders=True)
        racing: list[tuple[float, float, list[int]]] = []
        for value in sorted(finite & losses.keys()):
            missing = [seed for seed in self.seeds if (value, seed) not in known]
            shared = [
                s for s in self.seeds if all((v, s) in known and not known[v, s].is_lost for v in (value, leader))
            ]
            there = self._losses(points, shared) if shared else losses
            excess = there[value] / max(there[leader], 1e-12) - 1
            few = self.target_fraction * len(self.seeds) / max(len(shared), 1)
            if missing and excess <= (few if allowance is None else allowance):
                racing.append((excess, value, missing))
        racing.sort()
        left = self.num_left(points)
        num_affordable = max(left // len(racing[0][2]), 1) if racing else 0
        return tuple((value, missing[0]) for _, value, missing in racing[: min(self.batch, num_affordable)])

    def _sampled(self, points: Sequence[Point], num_values: int) -> tuple[Setting, ...]:
        """New values for the first seed, from Optuna's TPE sampler."""
        import numpy as np
        import optuna

        space: dict[str, optuna.distributions.BaseDistribution] = {
            "value": optuna.distributions.FloatDistribution(self.low, self.high, log=True)
        }
        losses, asked = self._losses(points), {point.value for point in points}
        entropy = np.random.SeedSequence([self.sampler_seed, len(points)]).generate_state(1)
        sampler = optuna.samplers.TPESampler(seed=int(entropy[0]), n_startup_trials=len(self.decade_values(1)))
        with quiet_optuna():
            study = optuna.create_study(sampler=sampler)
        for value in sorted(losses):
            study.add_trial(
                optuna.trial.create_trial(params={"value": value}, distributions=space, value=losses[value])
            )
        settings: list[Setting] = []
        for _ in range(num_values):
            value = self.place(study.ask(space).params["value"], asked, 0.0, math.inf)
            if value is not None:
                settings.append((value, self.seeds[0]))
                asked.add(value)
        return tuple(settings)

    def _num_to_target(self, points: Sequence[Point]) -> int | None:
        """Trials asked for until the setting that leads is, by its final loss, near the final best and stays so."""
        rounds, _, _ = replay(self, by_setting(points))
        final, (_, best) = self._losses(points), self._best(points)
        known, so_far, num_trials = by_setting(points), [], None
        for ask in rounds:
            so_far += [known[setting] for setting in ask.settings if setting in known]
            leader, _ = self._best(so_far)
            is_near = leader in final and final[leader] <= (1 + self.target_fraction) * best
            num_trials = (num_trials or len(so_far)) if is_near else None
        return num_trials


def _listed(settings: Sequence[Setting]) -> str:
    return ", ".join(f"{show(value)} (seed {seed})" for value, seed in settings)
