"""Tune over a box: the least loss that a budget of trials buys when all knobs of a box are turned at once."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

from analysis.text import counted
from bench.search.base import Answer, Ask, Point, Search, by_setting
from bench.search.samplers import Losses, SamplerName, Told, Unit, first_settings, next_settings, num_objectives

_DIGITS = 4  # significant ones of a loss that a sampler is told: packs of another size round the rest differently


@dataclass(frozen=True, kw_only=True)
class TuneBoxAnswer(Answer):
    """The least mean loss over seeds with its interval, where it is, and how soon the search was near it."""

    best: Mapping[str, Any]  # values by knob, those that act; none if no trial came back
    num_trials_to_target: int | None  # after which one was near the best; None if there is none
    front: Sequence[OnFront] = ()  # of a sampler with two objectives, the least mean first


@dataclass(frozen=True, kw_only=True)
class OnFront:
    """A setting that no other betters in both losses: the mean over seeds and the worst seed's."""

    values: Mapping[str, Any]  # by knob, those that act
    mean: float
    worst: float


@dataclass(frozen=True, kw_only=True)
class BoxSearch(Search[Unit]):
    """A search over all knobs of a box at once: every setting with every seed. Subclass it as Search."""

    space: Any = None  # a Space: the box of the suite

    @property
    def first_settings(self) -> tuple[Unit, ...]:
        """The settings of the first round, which are the same for every method."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TuneBox(BoxSearch):
    """The setting of a box with the least mean loss over seeds that a budget of trials finds, by a sampler of Optuna's.

    Every setting is trained with every seed and counts as its mean loss, of which a diverged seed's share is the loss
    at init: the median of the seed's over the first round, as a knob may move it. First `startup` points of a
    scrambled Sobol sequence, the same for every method, then rounds of `batch` settings that fill packs, each round
    given all earlier ones, settings in training counted as the sampler does (TPE: constant liar; GP: improvement over
    those too). A setting that was trained is not asked for again.

    nsga2 weighs that mean against the loss of the worst seed (Deb et al. 2002; a generation is of `batch` settings that
    came back whole, the first round the first one): the answer is that of the other samplers, and beside it stands the
    front, the settings that no other betters in both.

    A setting that was pruned counts for the sampler as the loss that it had then. The answer is the least of the
    settings that have most seeds and neither diverged nor were pruned. It is the least of many: the
    mean of the same setting with other seeds is expected above it.
    """

    budget: Annotated[int, Ge(1)] = 240
    sampler: SamplerName = "tpe"
    startup: Annotated[int, Ge(2)] = 16  # settings
    batch: Annotated[int, Ge(1)] = 8  # settings a round
    target_fraction: Annotated[float, Gt(0), Lt(1)] = 0.05  # of the best loss
    sampler_seed: Annotated[int, Ge(0)] = 0

    @property
    def num_settings(self) -> int:
        """That the budget pays for."""
        return self.budget // len(self.seeds)

    @property
    def first_settings(self) -> tuple[Unit, ...]:
        return first_settings(self.space, self.startup, self.sampler_seed)[: self.num_settings]

    def next(self, points: Sequence[Point[Unit]]) -> Ask[Unit] | None:
        rounds, units = self._walk(points)
        if not units:
            return None
        settings = tuple((unit, seed) for unit in units for seed in self.seeds)
        if not rounds:
            return Ask(settings=settings, why=f"{len(units)} points of a Sobol sequence outline the box")
        losses = [mean for of_round in rounds for _, (mean, *_) in of_round if not math.isnan(mean)]
        least = f"the least loss is {min(losses):g}" if losses else "no trial came back"
        why = f"{self.sampler} asks for {counted(len(units), 'setting')}, given {sum(map(len, rounds))}; {least}"
        return Ask(settings=settings, why=why)

    def answer(self, points: Sequence[Point[Unit]]) -> TuneBoxAnswer:
        import numpy as np

        from analysis.scores.seeds.intervals import mean_interval

        ask = self.next(points)
        is_spent = len(points) + len(self.seeds) > self.budget
        ended = "the budget is spent" if is_spent else f"{self.sampler} asks for no setting that there was not"
        best = self._best(points)
        losses_S = np.array([loss for unit, loss in self._trial_losses(points) if unit == best])
        low, high = -math.inf, math.inf
        if len(losses_S) > 1:
            interval = mean_interval(losses_S).within((0.0 if losses_S.min() >= 0 else -math.inf, math.inf))
            low, high = (low, high) if interval.low is None or interval.high is None else (interval.low, interval.high)
        values = {} if best is None else self.space.values_at(best)
        return TuneBoxAnswer(
            value=float(losses_S.mean()) if len(losses_S) else math.nan,
            low=low,
            high=high,
            unit="loss",
            num_trials=len(points),
            note=ended if ask is None else "not finished: " + ask.why,
            best={name: value for name, value in values.items() if value is not None},
            num_trials_to_target=self._num_to_target(points),
            front=self._front(points),
        )

    def _walk(self, points: Sequence[Point[Unit]]) -> tuple[list[Told], tuple[Unit, ...]]:
        """The rounds that these points answer in full, with losses; the settings of the next, none if it is done."""
        losses, rounds, units = self._objectives(points), list[Told](), self.first_settings
        while units and all(unit in losses for unit in units):
            rounds.append(tuple((unit, tuple(float(f"{x:.{_DIGITS}g}") for x in losses[unit])) for unit in units))
            num = min(self.batch, self.num_settings - sum(map(len, rounds)))
            if num <= 0:
                return rounds, ()
            units = next_settings(self.sampler, self.space, tuple(rounds), num, self.batch, self.sampler_seed)
        return rounds, units

    def _initial(self, points: Sequence[Point[Unit]]) -> dict[int, float]:
        """The loss at init that counts, by seed: the median over the first round; of a seed without any over all."""
        first = set(self.first_settings)
        there = [point for point in points if point.value in first and not point.is_lost]
        if not there:
            there = [point for point in points if not point.is_lost]
        of_all = statistics.median([point.initial_loss for point in there]) if there else math.nan
        of_seed = {seed: [point.initial_loss for point in there if point.seed == seed] for seed in self.seeds}
        return {seed: statistics.median(losses) if losses else of_all for seed, losses in of_seed.items()}

    def _trial_losses(self, points: Sequence[Point[Unit]]) -> list[tuple[Unit, float]]:
        """Setting and loss of every trial that came back, at most the loss at init."""
        initial = self._initial(points)
        known = by_setting(points)
        return [(unit, min(p.final_loss, initial[seed])) for (unit, seed), p in known.items() if not p.is_lost]

    def _objectives(self, points: Sequence[Point[Unit]]) -> dict[Unit, Losses]:
        """What the sampler is told of every setting that was asked for: the mean loss and, of two, the worst seed's.

        NaN where all its trials were lost, of two where one was: the worst of fewer seeds is better by chance.
        """
        of_unit = self._seed_losses(points)
        if num_objectives(self.sampler) == 1:
            return {unit: (_mean(losses),) for unit, losses in of_unit.items()}
        return {
            unit: (_mean(losses), max(losses)) if len(losses) == len(self.seeds) else (math.nan, math.nan)
            for unit, losses in of_unit.items()
        }

    def _losses(self, points: Sequence[Point[Unit]]) -> dict[Unit, float]:
        """The mean loss of every setting that was asked for; NaN where all its trials were lost."""
        return {unit: _mean(losses) for unit, losses in self._seed_losses(points).items()}

    def _seed_losses(self, points: Sequence[Point[Unit]]) -> dict[Unit, list[float]]:
        """The losses that came back of every setting that was asked for."""
        of_unit: dict[Unit, list[float]] = {point.value: [] for point in points}
        for unit, loss in self._trial_losses(points):
            of_unit[unit].append(loss)
        return of_unit

    def _front(self, points: Sequence[Point[Unit]]) -> tuple[OnFront, ...]:
        """The front of settings that have a result of every seed; empty for a sampler with one objective.

        Settings of which a seed diverged or was pruned are not on it; of settings that are equal in both the first that
        was asked for is.
        """
        if num_objectives(self.sampler) == 1:
            return ()
        counts = Counter(point.value for point in points if point.is_whole)
        both = {unit: x for unit, x in self._objectives(points).items() if counts[unit] == len(self.seeds)}
        front, least = list[OnFront](), math.inf
        for unit, (mean, worst) in sorted(both.items(), key=lambda item: item[1]):
            if worst < least:
                values = {name: value for name, value in self.space.values_at(unit).items() if value is not None}
                front.append(OnFront(values=values, mean=mean, worst=worst))
                least = worst
        return tuple(front)

    def _best(self, points: Sequence[Point[Unit]]) -> Unit | None:
        """The setting with the least loss, of those with most results that neither diverged nor were pruned; else of
        all."""
        losses = {unit: loss for unit, loss in self._losses(points).items() if not math.isnan(loss)}
        spoiled = {point.value for point in points if not (point.is_whole or point.is_lost)}
        counts = Counter(point.value for point in points if not point.is_lost)
        return min(losses, key=lambda unit: (unit in spoiled, -counts[unit], losses[unit], unit), default=None)

    def _num_to_target(self, points: Sequence[Point[Unit]]) -> int | None:
        """Trials asked for until a setting was within `target_fraction` of the final best."""
        best, losses = self._best(points), self._losses(points)
        if best is None:
            return None
        bound = losses[best] + self.target_fraction * abs(losses[best])
        pruned = {point.value for point in points if point.pruned_step is not None}
        num_settings = 0
        for of_round in self._walk(points)[0]:
            num_settings += len(of_round)
            if any(losses[unit] <= bound and unit not in pruned for unit, _ in of_round):
                return num_settings * len(self.seeds)
        return None


def _mean(losses: Sequence[float]) -> float:
    return statistics.fmean(losses) if losses else math.nan
