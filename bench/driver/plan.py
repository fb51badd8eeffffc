"""Which packs the trials of a suite become."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UsageError
from bench.suite import Suite
from bench.training.pack import Pack, make_packs, setting, untouched
from bench.training.pack_size import Placement, busy_lanes
from bench.trial import Trial


def plan(suite: Suite, missing: Sequence[Trial], placement: Placement) -> list[Pack]:
    """Packs of the trials to train.

    Those of a grid are made of all its trials and then lose the finished ones: a resume trains what is left in the same
    packs. Where settings of a box are pruned, all seeds of one share a pack. Raises UsageError if none can hold them.
    """
    trials = suite.expand() if suite.search is None else missing
    lanes = placement.lanes
    if placement.resources.device == "cpu":
        lanes = busy_lanes(lanes, num_trials=len(trials), num_slots=placement.num_slots)
    unit = untouched
    if suite.stop is not None and suite.box is not None:  # a search over one knob asks for one seed at a time
        unit, lanes = setting, {one: max(most, len(suite.seeds)) for one, most in lanes.items()}
        if (most := min(placement.lanes[trial.workload] for trial in missing)) < len(suite.seeds):
            raise UsageError(
                f"stop: a pack must hold the {len(suite.seeds)} seeds of a setting, and it holds {most} trials; "
                "required fewer seeds, a larger --max-lanes, or a suite without stop"
            )
    wanted = {trial.id for trial in missing}
    packs = []
    for pack in make_packs(trials, max_lanes=lambda trial: lanes[trial.workload], unit=unit):
        left = tuple(trial for trial in pack.trials if trial.id in wanted)
        if left:
            packs.append(Pack(trials=left))
    return packs
