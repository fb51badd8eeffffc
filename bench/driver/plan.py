"""Which packs the trials of a suite become."""

from __future__ import annotations

from collections.abc import Sequence

from bench.suite import Suite
from bench.training.pack import Pack, make_packs
from bench.training.pack_size import Placement, busy_lanes
from bench.trial import Trial


def plan(suite: Suite, missing: Sequence[Trial], placement: Placement) -> list[Pack]:
    """Packs of the trials to train.

    Those of a grid are made of all its trials and then lose the finished ones: a resume trains what is left in the same
    packs.
    """
    trials = suite.expand() if suite.search is None else missing
    lanes = placement.lanes
    if placement.resources.device == "cpu":
        lanes = busy_lanes(lanes, num_trials=len(trials), num_slots=placement.num_slots)
    wanted = {trial.id for trial in missing}
    packs = []
    for pack in make_packs(trials, max_lanes=lambda trial: lanes[trial.workload]):
        left = tuple(trial for trial in pack.trials if trial.id in wanted)
        if left:
            packs.append(Pack(trials=left))
    return packs
