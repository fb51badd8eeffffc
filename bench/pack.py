"""Packs: trials that differ only in lane knobs and seed, trained together as a batch of models."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.trial import KNOB_NAMES, Trial, canonical_json


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Trials of one workload, method, optimizer, schedule and probing; lane i is `trials[i]`."""

    trials: tuple[Trial, ...]

    def __post_init__(self) -> None:
        assert self.trials, "a pack has at least one lane"
        assert len({pack_key(trial) for trial in self.trials}) == 1, "lanes differ in more than lane knobs and seed"

    @property
    def id(self) -> str:
        """16 hexadecimal digits from the ids of the lanes, in order."""
        return hashlib.sha256(" ".join(trial.id for trial in self.trials).encode()).hexdigest()[:16]

    def knob_lanes(self, name: str) -> list[float]:
        """One value of a lane knob for each lane."""
        assert name in KNOB_NAMES
        return [getattr(trial.knobs, name) for trial in self.trials]


def pack_key(trial: Trial) -> str:
    """What the lanes of a pack have in common, as text."""
    plain = trial.to_dict(labels=False)
    return canonical_json({name: value for name, value in plain.items() if name not in ("knobs", "seed")})


def make_packs(trials: Iterable[Trial], *, max_lanes: int | Callable[[Trial], int]) -> list[Pack]:
    """Packs of nearly equal size in the order of the trials' first appearance.

    max_lanes: the most lanes, or what gives it for a pack of trials like this one.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(pack_key(trial), []).append(trial)
    packs = []
    for group in groups.values():
        limit = max_lanes if isinstance(max_lanes, int) else max_lanes(group[0])
        num_packs = -(-len(group) // limit)
        bounds = [len(group) * i // num_packs for i in range(num_packs + 1)]
        packs += [Pack(trials=tuple(group[a:b])) for a, b in itertools.pairwise(bounds)]
    return packs
