"""Pruning: the lanes of settings that a rule takes no further are frozen at a rung, and their neighbours train on.

The rule (analysis.scores.pruning) compares a setting with those of earlier rounds, never with its neighbours in the
pack, so that packs of any size, in any order, and runs that are resumed prune the same. What was pruned is part of a
run's state. All seeds of a setting share a pack and end together; a setting of which a pack lacks seeds, after one that
did not fit was halved, is trained to the end. Shapes: L lanes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.scores.pruning import Peer, Rule
from bench.lazy import torch
from bench.outcome import Outcome
from bench.training.history import History, Stop
from bench.training.living import Living
from bench.training.pack import Pack

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A setting in training: its number in the order of asking, ids of its trials by seed, whom it is compared with."""

    number: int
    ids: Mapping[int, str]
    rule: Rule
    peers: tuple[Peer, ...]


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """What prunes the settings of a round."""

    settings: tuple[Judged, ...]

    @property
    def digest(self) -> str:
        """8 hexadecimal digits: the same of what prunes the same."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]


class Pruner:
    """What prunes lanes of one pack. tensors: what a checkpoint keeps; steps: those after which it looks.

    rungs: the numbers of steps made then. pruned_step, (L,): the step after which each lane was pruned, -1: none.
    """

    def __init__(self, pruning: Pruning, pack: Pack, history: History) -> None:
        self._pack, self._history = pack, history
        self.tensors: dict[str, Tensor] = {"pruned_step": torch.full((len(pack.trials),), -1)}
        lanes = {trial.id: lane for lane, trial in enumerate(pack.trials)}
        self._settings: list[tuple[Judged, dict[int, int]]] = []
        rungs: set[int] = set()
        for one in pruning.settings:
            if not lanes.keys().isdisjoint(one.ids.values()):
                rungs.update(one.rule.rungs)
            if lanes.keys() >= set(one.ids.values()):
                self._settings.append((one, {seed: lanes[trial_id] for seed, trial_id in one.ids.items()}))
        self.rungs = tuple(sorted(rungs))
        self.steps = frozenset(rung - 1 for rung in rungs)

    @property
    def stopped(self) -> dict[str, Stop]:
        """By id of each pruned trial, how it ended."""
        ends = zip(self._pack.trials, self.tensors["pruned_step"].tolist(), strict=True)
        rules = {trial_id: one.rule.worse_than for one, _ in self._settings for trial_id in one.ids.values()}
        return {
            trial.id: Stop(step=step, outcome=Outcome.PRUNED, why=f"pruned by {rules[trial.id]} after {step + 1} steps")
            for trial, step in ends
            if step >= 0
        }

    def look(self, step: int, living: Living) -> None:
        """After a step, freeze the lanes that live of the settings that the rule takes no further, and note it."""
        if step not in self.steps:
            return
        whole = living.whole()
        alive_L, diverged_L = whole["alive"].cpu(), whole["diverged_step"].cpu()
        so_far = [rung for rung in self.rungs if rung <= step + 1]
        losses = {rung: self._history.losses_after(rung, diverged_L) for rung in so_far}
        ended_L = torch.zeros_like(alive_L)
        for one, lanes in self._settings:
            own_S = torch.tensor(list(lanes.values()))
            if not alive_L[own_S].any():
                continue  # pruned before, or nothing is left to prune
            seen = {rung: {seed: losses[rung][lane] for seed, lane in lanes.items()} for rung in so_far}
            if one.rule.prunes(one.number, seen, one.peers):
                ended_L[own_S] = True
        ended_L &= alive_L
        if ended_L.any():
            self.tensors["pruned_step"].masked_fill_(ended_L, step)
            living.freeze(ended_L)
