"""Settings of a box that Optuna's samplers ask for, a batch at a time, given the losses of all earlier ones.

A setting is a point of the unit cube, one coordinate a knob: a knob that is a number is uniform there, one that is a
list is a category of Optuna's, and stands at the middle of its value. What a sampler asks for follows from its
arguments alone: its study is made anew from the rounds so far, and it is seeded by (seed, number of settings).
What it is told of a setting is its mean loss over seeds; nsga2 is told that of the worst seed beside it.
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.search.designs import unit_points
from bench.search.quiet import quiet_optuna

if TYPE_CHECKING:
    import optuna

SamplerName = Literal["tpe", "gp", "cmaes", "nsga2", "random", "qmc"]
Unit = tuple[float, ...]  # a setting: a point of the unit cube
Losses = tuple[float, ...]  # of a setting, one an objective; NaN if it was lost
Told = tuple[tuple[Unit, Losses], ...]  # of a round
_DRAWS = 4  # a setting that is asked for so often in vain, each time as one that there was, is left out


class Space(Protocol):
    """A box: names of its knobs, of lists the number of values, else 0, how many settings it has, values at a point."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def counts(self) -> tuple[int, ...]: ...

    @property
    def num_settings(self) -> float: ...

    def values_at(self, point: Unit) -> dict[str, Any]:
        """Values by knob; None of one that does not act there."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """make: from a seed and the settings of a round.

    num_objectives: it is told so many losses of a setting. keeps_state: it goes on from what it asked itself, so that
    its study is asked anew from the start. facts: attributes by which it knows the first round, which it did not ask
    for, as its own. acting_only: it takes trials with different parameters; the others are asked for knobs that do not
    act, too, and nothing is made of the answer.
    """

    make: Callable[[int, int], optuna.samplers.BaseSampler]
    num_objectives: int = 1
    keeps_state: bool = False
    facts: tuple[tuple[str, Any], ...] = ()
    acting_only: bool = False


def _tpe(seed: int, batch: int) -> optuna.samplers.BaseSampler:
    """Multivariate, in groups of knobs that act together; settings in training count as bad (constant liar)."""
    import optuna

    return optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, n_startup_trials=1, seed=seed)


def _gp(seed: int, batch: int) -> optuna.samplers.BaseSampler:
    """A Gaussian process; expected improvement over settings in training, too."""
    import optuna

    return optuna.samplers.GPSampler(n_startup_trials=1, seed=seed)


def _cmaes(seed: int, batch: int) -> optuna.samplers.BaseSampler:
    """From the middle of the box on, whatever the first round was; lists, which it can't move, are drawn."""
    import optuna

    return optuna.samplers.CmaEsSampler(n_startup_trials=1, seed=seed, warn_independent_sampling=False)


def _nsga2(seed: int, batch: int) -> optuna.samplers.BaseSampler:
    """Crossed and changed settings of those that no other betters in both losses, Deb et al. 2002.

    A generation is of `batch` settings that came back: a round, where none was lost.
    """
    import optuna

    return optuna.samplers.NSGAIISampler(population_size=max(2, batch), seed=seed)


def _random(seed: int, batch: int) -> optuna.samplers.BaseSampler:
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


def _qmc(seed: int, batch: int) -> optuna.samplers.BaseSampler:
    import optuna

    return optuna.samplers.QMCSampler(
        scramble=True, seed=seed, warn_independent_sampling=False, warn_asynchronous_seeding=False
    )


SAMPLERS: dict[SamplerName, _Kind] = {
    "tpe": _Kind(make=_tpe, acting_only=True),
    "gp": _Kind(make=_gp),
    "cmaes": _Kind(make=_cmaes, keeps_state=True),
    "nsga2": _Kind(make=_nsga2, num_objectives=2, keeps_state=True, facts=(("NSGAIISampler:generation", 0),)),
    "random": _Kind(make=_random),
    "qmc": _Kind(make=_qmc, keeps_state=True),
}


def num_objectives(name: SamplerName) -> int:
    """Losses that a sampler is told of a setting: the mean over seeds; of two also the worst seed's."""
    return SAMPLERS[name].num_objectives


def first_settings(space: Space, num: int, seed: int) -> tuple[Unit, ...]:
    """The first points of a scrambled Sobol sequence, those of equal values once."""
    points = unit_points("qmc", len(space.names), num, 1, seed).tolist()
    by_values = {_values(space, unit): unit for unit in (_placed(space, point) for point in reversed(points))}
    return tuple(reversed(by_values.values()))


@functools.lru_cache(maxsize=4096)
def next_settings(
    name: SamplerName, space: Space, rounds: tuple[Told, ...], num: int, batch: int, seed: int
) -> tuple[Unit, ...]:
    """At most `num` settings that one of SAMPLERS asks for after these rounds, none of whose values there were.

    rounds: the first is not the sampler's; each later one was asked for as `batch` at once; `num_objectives` losses of
    each setting. Fewer than `num` where the sampler asks for nothing new.
    """
    import optuna

    kind, (first, *later) = SAMPLERS[name], rounds
    asker = _Asker(space, kind)
    earlier = first if kind.keeps_state else tuple(itertools.chain(*rounds))
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = kind.make(_entropy(seed, len(earlier)), batch)
        study = optuna.create_study(sampler=sampler, directions=("minimize",) * kind.num_objectives)
        study.add_trials([asker.trial(unit, losses) for unit, losses in earlier])
        taken = {_values(space, unit) for unit, _ in earlier}
        for again in later if kind.keeps_state else ():
            asked = asker.ask(study, batch, taken)
            for (trial, _), (_, losses) in zip(asked, again, strict=True):
                _tell(study, trial, losses)
        return tuple(unit for _, unit in asker.ask(study, num, taken))


class _Asker:
    """Between points of the unit cube and Optuna's trials."""

    def __init__(self, space: Space, kind: _Kind) -> None:
        import optuna

        self._space, self._acting_only, self._facts = space, kind.acting_only, kind.facts
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            name: optuna.distributions.CategoricalDistribution(range(count))
            if count
            else optuna.distributions.FloatDistribution(0.0, 1.0)
            for name, count in zip(space.names, space.counts, strict=True)
        }

    def params(self, unit: Unit) -> dict[str, Any]:
        """The parameters of Optuna's at a point."""
        values = self._space.values_at(unit)
        return {
            name: int(share * count) if count else share
            for name, share, count in zip(self._space.names, unit, self._space.counts, strict=True)
            if not self._acting_only or values[name] is not None
        }

    def trial(self, unit: Unit, losses: Losses) -> optuna.trial.FrozenTrial:
        """A trial that came back; a failed one where its losses are NaN."""
        import optuna

        params, is_lost = self.params(unit), math.isnan(losses[0])
        return optuna.trial.create_trial(
            params=params,
            distributions={name: self._distributions[name] for name in params},
            state=optuna.trial.TrialState.FAIL if is_lost else optuna.trial.TrialState.COMPLETE,
            values=None if is_lost else losses,
            system_attrs=dict(self._facts),
        )

    def ask(self, study: optuna.Study, num: int, taken: set[Hashable]) -> list[tuple[optuna.trial.Trial, Unit]]:
        """At most `num` trials, whose settings are added to `taken`."""
        asked: list[tuple[optuna.trial.Trial, Unit]] = []
        for _ in range(_DRAWS * num):
            if len(asked) == num:
                break
            trial = study.ask()
            unit = self._unit(trial)
            values = _values(self._space, unit)
            if values in taken:
                _tell(study, trial, (math.nan,))
            else:
                taken.add(values)
                asked.append((trial, unit))
        return asked

    def _unit(self, trial: optuna.trial.Trial) -> Unit:
        """The point that a trial suggests: lists first, which say which other knobs act."""
        counts = dict(zip(self._space.names, self._space.counts, strict=True))
        shares = dict.fromkeys(counts, 0.0)
        for is_list in (True, False):
            values = self._space.values_at(tuple(shares.values()))
            for name in (name for name, count in counts.items() if bool(count) == is_list):
                acts = values[name] is not None
                if self._acting_only and not acts:
                    continue
                share = self._suggested(trial, name, counts[name])
                shares[name] = share if acts else 0.0
        return _placed(self._space, tuple(shares.values()))

    def _suggested(self, trial: optuna.trial.Trial, name: str, count: int) -> float:
        if count:
            return (trial.suggest_categorical(name, range(count)) + 0.5) / count
        return trial.suggest_float(name, 0.0, 1.0)


def _tell(study: optuna.Study, trial: optuna.trial.Trial, losses: Losses) -> None:
    import optuna

    if math.isnan(losses[0]):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, losses)


def _placed(space: Space, point: Sequence[float]) -> Unit:
    """The point with every list at the middle of its value, and 0 of every knob that does not act."""
    counts = space.counts
    unit = tuple((int(share * n) + 0.5) / n if n else share for share, n in zip(point, counts, strict=True))
    values = space.values_at(unit)
    return tuple(0.0 if values[name] is None else share for name, share in zip(space.names, unit, strict=True))


def _values(space: Space, unit: Unit) -> Hashable:
    return tuple(space.values_at(unit).values())


def _entropy(seed: int, number: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
