"""What the fields of a suite, each valid by itself, make impossible or idle together; each problem with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.entry import build, load_class
from bench.interventions import INTERVENTIONS
from bench.interventions.base import Intervention, OnAttention
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.probes import PROBES
from bench.probes.model import ModelProbe
from bench.suite.errors import dotted, problem
from bench.suite.fields import MAX_TRIALS
from bench.suite.kinds import KINDS
from bench.suite.knobs import KnobGrid
from bench.suite.needs import lacking
from bench.trace import TRAINING_QUANTITIES
from bench.trial import KNOB_NAMES, Choice
from bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from bench.suite.suite import Suite
    from bench.workloads.base import Workload


def contradictions(suite: Suite) -> list[Any]:
    """All problems of a suite whose knobs are known."""
    return [
        *warmups_too_long(suite),
        *idle_knobs(suite),
        *probes_of_one_quantity(suite),
        *probes_without_effect(suite),
        *interventions_without_effect(suite),
    ]


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


def shortest_run(suite: Suite) -> int:
    """The least number of steps of a trial: of the workloads, or where a box draws it of its values."""
    named = () if suite.box is None else suite.box.root.items()
    drawn = [one for name, one in named if name.rpartition(".")[2] == "num_steps"]
    values = [value for one in drawn for value in one.ends if isinstance(value, int)]
    if not values or any(one.when for one in drawn):
        values += [workload.params["num_steps"] for workload in suite.entries["workloads"]]
    return min(values)


def warmups_too_long(suite: Suite) -> list[Any]:
    """A warmup longer than the run never reaches its learning rate."""
    shortest = shortest_run(suite)
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


def interventions_without_effect(suite: Suite) -> list[Any]:
    """An intervention after the last step, on a layer or head that no workload has, or on logits that no row reads."""
    problems = {}
    for choice in suite.entries["interventions"]:
        place = ("interventions", [one.name for one in suite.interventions].index(choice.name))
        intervention: Intervention = build(INTERVENTIONS, choice)
        for message in (
            *(text for one in suite.entries["workloads"] for text in _misplaced(intervention, build(WORKLOADS, one))),
            *_unread(intervention, suite.methods),
        ):
            problems.setdefault(message, problem(f"{choice.label}: {message}", loc=place))
    return list(problems.values())


def _misplaced(intervention: Intervention, workload: Workload) -> Iterator[str]:
    """What a workload lacks of the places and times at which an intervention acts."""
    counts = {"layer": workload.num_layers, "head": workload.attention[0].num_heads}
    for (name, count), numbers in zip(counts.items(), intervention.where, strict=True):
        if missing := [number for number in numbers or () if number >= count]:
            yield f"{name} {missing[0]} is not there; every workload must have it, and one has {name}s 0 to {count - 1}"
    if intervention.repeats_examples and workload.couples_examples:
        yield f"it repeats examples, which the loss of {workload.title} tells apart; remove one of them"
    if intervention.from_step >= workload.num_steps:
        yield (
            f"from_step must be below num_steps of every workload ({workload.num_steps}), got {intervention.from_step}"
        )


def _unread(intervention: Intervention, methods: Sequence[Choice]) -> Iterator[str]:
    deaf = [one.label for one in methods if not load_class(METHODS.get(one.name, one.name)).reads_logits]
    if deaf and isinstance(intervention, OnAttention) and intervention.acts_on_logits:
        yield f"it acts on logits, and the rows of {', '.join(deaf)} follow from none; remove one of them"


def probes_of_one_quantity(suite: Suite) -> list[Any]:
    """A trace has one column for each quantity, so two probes must not measure one of the same name."""
    problems, taken = [], dict.fromkeys(TRAINING_QUANTITIES, "every trial")
    for index, choice in enumerate(suite.probes):
        quantities = load_class(PROBES.get(choice.name, choice.name)).quantities
        if not quantities:
            problems.append(
                problem(f"{choice.label} declares no quantities; a probe must have one", loc=("probes", index))
            )
        for name in quantities:
            if name in taken:
                message = f"{choice.label} measures {name!r}, which {taken[name]} traces; remove one of them"
                problems.append(problem(message, loc=("probes", index)))
            taken.setdefault(name, choice.label)
    return problems


def probes_without_effect(suite: Suite) -> list[Any]:
    """A probe that nothing in the suite lets measure anything, or that a workload stands in the way of."""
    return [
        problem(f"{choice.label} {message}", loc=("probes", index))
        for index, choice in enumerate(suite.probes)
        if isinstance(probe := build(PROBES, choice), ModelProbe)
        for message in lacking(probe, suite.entries)
    ]
