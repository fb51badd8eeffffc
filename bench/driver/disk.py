"""bytes_on_disk(): what the results of trials take in the embedded store."""

from __future__ import annotations

from collections.abc import Sequence

from bench.entry import build
from bench.probes.base import quantities_of
from bench.trace import TRAINING_QUANTITIES
from bench.training.history import observations
from bench.training.pack import Pack, pack_key
from bench.trial import Trial
from bench.workloads import WORKLOADS

BYTES_PER_TRACE_VALUE = 4.5  # in a Parquet artifact, measured
BYTES_PER_TRIAL = 40_000  # of runs, metrics and tags, measured


def bytes_on_disk(packs: Sequence[Pack]) -> int:
    """Bytes that trials of packs take in a store; held-out data as if they were traced with the losses."""
    num_values: dict[str, int] = {}
    total = 0
    for pack in packs:
        key = pack_key(pack.trials[0])
        if key not in num_values:
            num_values[key] = _num_traced(pack.trials[0])
        total += num_values[key] * len(pack.trials)
    return int(total * BYTES_PER_TRACE_VALUE + sum(len(pack.trials) for pack in packs) * BYTES_PER_TRIAL)


def _num_traced(trial: Trial) -> int:
    """Values in a trial's trace."""
    num_layers = build(WORKLOADS, trial.workload).num_layers
    num_values = len(TRAINING_QUANTITIES) * (trial.num_steps // trial.probe_every + 1)
    for each in observations(trial).values():
        quantities = quantities_of(each.probes).values()
        num_values += sum(num_layers if one.per_layer else 1 for one in quantities) * len(each.steps)
    return num_values
