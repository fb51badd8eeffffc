"""Packs: trials that differ only in lane knobs, the optimizer's constants, seed and intervention: a batch of models."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.trial import KNOB_NAMES, Trial, canonical_json

_OF_LANES = ("knobs", "seed", "intervention")  # what trials of one pack may differ in


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Trials of one workload, method, optimizer, schedule and probing; lane i is `trials[i]`."""

    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        assert self.trials, "a pack has at least one lane"
        assert len({pack_key(trial) for trial in self.trials}) == 1, (
            "lanes differ in more than lane knobs, seed and intervention"
        )

    @property
    def id(self) -> str:
        """16 hexadecimal digits from the ids of the lanes, in order."""
        return hashlib.sha256(" ".join(trial.id for trial in self.trials).encode()).hexdigest()[:16]

    def knob_lanes(self, name: str) -> list[float]:
        """One value of a lane knob for each lane."""
        assert name in KNOB_NAMES
        return [getattr(trial.knobs, name) for trial in self.trials]

    def constant_lanes(self) -> dict[str, list[float]]:
        """Lane constants that differ among the lanes, one value for each lane."""
        by_lane = [lane_constants(trial) for trial in self.trials]
        values = {name: [constants[name] for constants in by_lane] for name in by_lane[0]}
        return {name: column for name, column in values.items() if len(set(column)) > 1}


def lane_constants(trial: Trial) -> dict[str, float]:
    """The optimizer's constants that are fractions, such as beta1 and eps: lanes of a pack may differ in them.

    None of a user's own optimizer, whose code may not take tensors for them.
    """
    if ":" in trial.optimizer.name:
        return {}
    return {name: value for name, value in trial.optimizer.params.items() if isinstance(value, float)}


def pack_key(trial: Trial) -> str:
    """What the lanes of a pack have in common, as text."""
    plain = trial.to_dict(labels=False)
    params, of_lanes = plain["optimizer"]["params"], lane_constants(trial)
    plain["optimizer"]["params"] = {name: None if name in of_lanes else value for name, value in params.items()}
    return canonical_json({name: value for name, value in plain.items() if name not in _OF_LANES})


def untouched(trial: Trial) -> str:
    """The id of a trial without its intervention."""
    return (trial if trial.intervention is None else dataclasses.replace(trial, intervention=None)).id


def setting(trial: Trial) -> str:
    """The id of the trial with seed 0 and without its intervention, which trials that differ in these alone share."""
    return dataclasses.replace(trial, intervention=None, seed=0).id


def _units(trials: Sequence[Trial], unit: Callable[[Trial], str]) -> list[list[Trial]]:
    """Trials of one unit side by side, in the order of the first of each."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(unit(trial), []).append(trial)
    return list(groups.values())


def make_packs(
    trials: Iterable[Trial],
    *,
    max_lanes: int | Callable[[Trial], int],
    unit: Callable[[Trial], str] = untouched,
) -> list[Pack]:
    """Packs of nearly equal size in the order of the trials' first appearance; units share one, if one can hold them.

    max_lanes: the most lanes, or what gives it for a pack of trials like this one. unit: what trials that belong
    together have in common; else they are twins.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(pack_key(trial), []).append(trial)
    packs = []
    for group in groups.values():
        limit = max_lanes if isinstance(max_lanes, int) else max_lanes(group[0])
        units = _units(group, unit)
        widest = max(map(len, units))
        if widest > limit:  # what no pack can hold together
            units, widest = [[trial] for trial in group], 1
        num_packs = -(-len(units) // (limit // widest))
        bounds = [len(units) * i // num_packs for i in range(num_packs + 1)]
        packs += [Pack(trials=tuple(itertools.chain(*units[a:b]))) for a, b in itertools.pairwise(bounds)]
    return packs
