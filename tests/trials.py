"""Small trials for tests, every choice complete with its defaults, and their training."""

import functools
from collections.abc import Mapping
from typing import Any

from bench.entry import load_class, parameters
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.pack import Pack
from bench.train import train_pack
from bench.trial import Choice, Knobs, Trial
from bench.workloads import WORKLOADS

SMALL = {"num_steps": 8, "final_loss_steps": 3, "batch_size": 4, "num_pairs": 5, "dimension": 2, "depth": 1}


def choice(entries: Mapping[str, str], name: str, **params: Any) -> Choice:
    """An entry with its defaults, changed by `params`."""
    declared = parameters(load_class(entries[name]))
    assert params.keys() <= declared.keys()
    return Choice(name=name, params={name: default for name, (_, default) in declared.items()} | params)


def trial(
    *,
    method: str = "softmax",
    method_params: Mapping[str, Any] | None = None,
    optimizer: str = "sgd",
    optimizer_params: Mapping[str, Any] | None = None,
    schedule: str = "constant",
    schedule_params: Mapping[str, Any] | None = None,
    workload_params: Mapping[str, Any] | None = None,
    seed: int = 0,
    probe_every: int = 3,
    **knobs: float,
) -> Trial:
    """A trial of a small in-context regression; lr is 0.1 unless given among the knobs."""
    return Trial(
        workload=choice(WORKLOADS, "in_context_regression", **(SMALL | dict(workload_params or {}))),
        method=choice(METHODS, method, **(method_params or {})),
        optimizer=choice(OPTIMIZERS, optimizer, **(optimizer_params or {})),
        schedule=choice(SCHEDULES, schedule, **(schedule_params or {})),
        knobs=Knobs(**({"lr": 0.1} | knobs)),
        seed=seed,
        probe_every=probe_every,
    )


@functools.cache
def trained(*trials: Trial):
    """Results and traces of a pack of these trials, trained once however many tests look at them."""
    return train_pack(Pack(trials=trials))
