"""What the fields of a suite, each valid by itself, make impossible or idle together; each problem with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.entry import load_class
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.probes import PROBES
from bench.suite.errors import dotted, problem
from bench.suite.kinds import KINDS
from bench.suite.knobs import KnobGrid
from bench.trace import TRAINING_QUANTITIES
from bench.trial import KNOB_NAMES

if TYPE_CHECKING:
    from bench.suite.suite import Suite

MAX_TRIALS = 1_000_000


def axes(suite: Suite) -> dict[tuple[str, ...], int]:
    """Lengths of what is crossed with the entries."""
    return {("seeds",): len(suite.seeds)} | {("knobs", name): len(getattr(suite.knobs, name)) for name in KNOB_NAMES}


def too_large(suite: Suite) -> list[Any]:
    """More than MAX_TRIALS trials, at the longest of what they are the product of."""
    if suite.num_trials <= MAX_TRIALS:
        return []
    entries: dict[tuple[str, ...], int] = {(name,): len(getattr(suite, name)) for name in KINDS}
    swept: dict[tuple[str, ...], int] = {("knobs", name): len(values) for name, values in suite.knobs.swept.items()}
    crossed = {loc: length for loc, length in (entries | axes(suite) | swept).items() if length > 1}
    product = " x ".join(f"{length} {loc[-1]}" for loc, length in crossed.items())
    message = f"{product} = {suite.num_trials:,} trials; a suite must have at most {MAX_TRIALS:,}"
    return [problem(message, loc=max(crossed, key=lambda loc: crossed[loc]))]


def warmups_too_long(suite: Suite) -> list[Any]:
    """A warmup longer than the run never reaches its learning rate."""
    shortest = min(workload.params["num_steps"] for workload in suite.entries["workloads"])
    return [
        problem(
            f"warmup_steps must be at most num_steps of every workload ({shortest}), got {steps:g}",
            loc=("knobs", "warmup_steps", index),
        )
        for index, steps in enumerate(suite.knobs.warmup_steps)
        if steps > shortest
    ]


def idle_knobs(suite: Suite) -> list[Any]:
    """Knobs of `Optimizer.knobs` are the optimizer's to read; a value for one that it does not read is refused."""
    problems = []
    for index, choice in enumerate(suite.optimizers):
        read = load_class(OPTIMIZERS.get(choice.name, choice.name)).knobs
        for knob in (knob for knob in Optimizer.knobs if knob not in read):
            values = getattr(suite.knobs, knob)
            if len(values) > 1 or (values != KnobGrid.model_fields[knob].default and knob != "lr"):
                place = dotted(("optimizers", index))
                message = f"{knob} has no effect with optimizer {choice.label!r} ({place}); remove one of them"
                problems.append(problem(message, loc=("knobs", knob), at_key=True))
    return problems


def probes_of_one_quantity(suite: Suite) -> list[Any]:
    """A trace has one column for each quantity, so two probes must not measure one of the same name."""
    problems, taken = [], dict.fromkeys(TRAINING_QUANTITIES, "every trial")
    for index, choice in enumerate(suite.probes):
        quantities = load_class(PROBES.get(choice.name, choice.name)).quantities
        if not quantities:
            problems.append(problem(f"{choice.label} declares no quantities", loc=("probes", index)))
        for name in quantities:
            if name in taken:
                message = f"{choice.label} measures {name!r}, which {taken[name]} traces; remove one of them"
                problems.append(problem(message, loc=("probes", index)))
            taken.setdefault(name, choice.label)
    return problems
