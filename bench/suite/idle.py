"""Combinations of a suite that are valid, and of which it can be proved that they change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.entry import build, load_class
from bench.lazy import torch
from bench.methods import METHODS
from bench.methods.base import Method
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.optimizers.decay import Decaying
from bench.roles import RATES, Role, role_of
from bench.suite.suite import Suite
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload


def without_effect(suite: Suite) -> Iterator[str]:
    """In words, a line each.

    Methods that scale the loss, under optimizers that divide gradients by their own size; rates and decay of roles that
    no parameter has.
    """
    classes = {choice.label: load_class(OPTIMIZERS.get(choice.name, choice.name)) for choice in suite.optimizers}
    deaf = [label for label, one in classes.items() if one.ignores_scale]
    for choice in suite.methods:
        scales = load_class(METHODS.get(choice.name, choice.name)).scale_loss is not Method.scale_loss
        if scales and deaf:
            yield (
                f"{choice.label} scales the loss, which has no effect under {', '.join(deaf)}: a constant factor "
                "leaves its update as it is, but for eps; what is left is how averages lag behind a factor that changes"
            )
    yield from _of_no_parameter(suite)


def _of_no_parameter(suite: Suite) -> Iterator[str]:
    """Settings by role of roles that no parameter has under any method and workload."""
    asked: dict[tuple[str, str], Role] = {}
    for choice in suite.entries["optimizers"]:
        optimizer: Optimizer = build(OPTIMIZERS, choice)
        asked |= {(choice.label, RATES[role]): role for role in optimizer.rates}
        if isinstance(optimizer, Decaying):
            asked |= {(choice.label, f"no_decay {role}"): role for role in optimizer.no_decay or ()}
    if not asked:
        return
    there = {
        role_of(name)
        for workload in suite.entries["workloads"]
        for method in suite.entries["methods"]
        for name in _parameters(build(WORKLOADS, workload), build(METHODS, method))
    }
    for (label, setting), role in asked.items():
        if role not in there:
            yield f"{setting} of {label} has no effect: no parameter of a model here has the role {role!r}"


def _parameters(workload: Workload, method: Method) -> Iterable[str]:
    """Names of a model's parameters; none is made."""
    params, _ = workload.init(method, lambda _, shape: torch.zeros(shape, device="meta"), torch.ones((), device="meta"))
    return params
