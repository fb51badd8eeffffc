"""What makes the box of a suite impossible, or idle; each problem with its place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench.entry import load_class
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.suite.box import MAX_COMBINATIONS, Box, Design, KnobRange
from bench.suite.box_points import DRAWN_KINDS, num_box_trials
from bench.suite.contradictions import shortest_run
from bench.suite.errors import OURS, problem, show, suggest
from bench.suite.fields import MAX_TRIALS
from bench.suite.file import Loc
from bench.suite.kinds import KINDS, TWINNED
from bench.suite.knobs import FixedKnobs
from bench.suite.sweeps import Sweeps, assign, num_keys, variant
from bench.trial import KNOB_NAMES, Choice

if TYPE_CHECKING:
    from bench.suite.suite import Suite

_WORDS = {kind.word: field for field, kind in KINDS.items()}


def parameter_sweeps(suite: Suite, box: Box) -> tuple[Sweeps, list[Any]]:
    """Which knobs of the box are parameters of which kind of entry, and the problems of names that are of none."""
    named = {name: one.ends for name, one in box.root.items() if name not in (*KNOB_NAMES, *_WORDS)}
    return assign(named, {kind: suite.entries[kind] for kind in KINDS}, KNOB_NAMES, field="box")


def box_problems(suite: Suite) -> list[Any]:
    """The problems of a suite that has a box or a design, but for those of its search."""
    box, design = suite.box, suite.design
    if box is None:
        return [problem("a suite with a design must have a box, too", loc=("design",), at_key=True)]
    if design is None and suite.search is None:
        return [problem("a suite with a box must have a design, or a search, too", loc=("box",), at_key=True)]
    if design is not None and suite.search is not None:
        return [problem("a box has a design or a search; remove one of them", loc=("search",), at_key=True)]
    problems = [
        *(problem(f"a box has no {word}; remove one of them", loc=(word,), at_key=True) for word in _beside(suite)),
        *_fixed(suite, box),
        *(of_knob for name in box.names if name in KNOB_NAMES for of_knob in _of_lane_knob(suite, box, name)),
        *(of_knob for name in box.names if name in _WORDS for of_knob in _of_kind(suite, box, name)),
    ]
    sweeps, unknown = parameter_sweeps(suite, box)
    problems += unknown
    sizes = _of_design(suite, box, design) if design is not None else ()
    return problems or [*_of_parameters(suite, box, sweeps), *_of_packs(box, sweeps), *sizes]


def _beside(suite: Suite) -> Iterator[str]:
    """What a suite with a box has no use for."""
    yield from (name for name in TWINNED if getattr(suite, name))


def _fixed(suite: Suite, box: Box) -> Iterator[Any]:
    """Beside a box a knob has one value, and none that the box has."""
    values = {name: getattr(suite.knobs, name) for name in KNOB_NAMES} | dict(suite.knobs.swept)
    for name, listed in values.items():
        if name in box.names and (name in suite.knobs.model_fields_set or name in suite.knobs.swept):
            yield problem(f"{name} is in the box, too; remove one of them", loc=("knobs", name), at_key=True)
        elif len(listed) > 1:
            message = f"beside a box {name} must have one value, got {len(listed)}; draw it in the box"
            yield problem(message, loc=("knobs", name))
    if not suite.knobs.lr and "lr" not in box.names:
        yield problem("lr is required, in the box or under knobs", loc=("box",), at_key=True)


def _places(name: str, one: KnobRange) -> list[Loc]:
    """Where each end, or value, of a knob stands."""
    return [("box", name, one.form, place) for place in range(len(one.ends))]


def _of_lane_knob(suite: Suite, box: Box, name: str) -> Iterator[Any]:
    """Ends that the knob can't have, a warmup beyond the last step, what no optimizer reads."""
    one = box.root[name]
    if name == "lr" and one.when:
        yield problem("lr acts everywhere; remove when", loc=("box", name, "when"), at_key=True)
    if name == "warmup_steps" and one.form in ("log", "linear"):
        yield problem(f"warmup_steps are whole numbers; write int instead of {one.form}", loc=("box", name, one.form))
        return
    if one.zero is not None and name in ("lr", "grad_clip", "init_scale"):
        yield problem(f"{name} must be above 0 everywhere; remove zero", loc=("box", name, "zero"), at_key=True)
    try:
        FixedKnobs.model_validate({name: list(one.ends)})
    except ValidationError as error:
        yield from _at_ends(error, name, one)
        return
    shortest = shortest_run(suite)
    if name == "warmup_steps" and max(one.ends) > shortest:
        message = f"warmup_steps must be at most num_steps of every workload ({shortest}), got {max(one.ends)}"
        yield problem(message, loc=_places(name, one)[-1])
    readers = [entry for entry in suite.optimizers if _reads(entry, name)]
    if not readers or (len(readers) < len(suite.optimizers) and "optimizer" not in box.names):
        idle = next(entry.label for entry in suite.optimizers if entry not in readers)
        message = f"{name} has no effect with optimizer {idle!r}; remove one of them"
        yield problem(message, loc=("box", name), at_key=True)


def _reads(optimizer: Choice, knob: str) -> bool:
    """Whether a lane knob acts with the optimizer; those that are no optimizer's always do."""
    return knob not in Optimizer.knobs or knob in load_class(OPTIMIZERS.get(optimizer.name, optimizer.name)).knobs


def _of_kind(suite: Suite, box: Box, name: str) -> Iterator[Any]:
    """A knob whose values are entries: they must be those of the suite, all of them."""
    field, one = _WORDS[name], box.root[name]
    if field not in DRAWN_KINDS:
        yield problem(f"a box does not draw {field}; list them under {field}", loc=("box", name), at_key=True)
        return
    labels = [entry.label for entry in getattr(suite, field)]
    if one.form != "values":
        yield problem(f"{name} must be a list of {field}", loc=("box", name))
        return
    for place, value in zip(_places(name, one), one.ends, strict=True):
        if value not in labels:
            hint = suggest(str(value), labels, existing=f"{field} of this suite")
            yield problem(f"{show(value)} is none of the suite's {field}; {hint}", loc=place)
    for index, label in enumerate(labels):
        if label not in one.ends:
            yield problem(f"{label} is not among the {field} of the box; remove it", loc=(field, index))


def _of_parameters(suite: Suite, box: Box, sweeps: Sweeps) -> Iterator[Any]:
    """Ends that an entry refuses, and those that make another task of it."""
    for kind, names in sweeps.by_kind.items():
        for name, entry in ((name, entry) for name in names for entry in suite.entries[kind]):
            if name not in sweeps.names(kind, entry):
                continue
            one = box.root[name]
            for value, place in zip(one.ends, _places(name, one), strict=True):
                try:
                    new = variant(kind, entry, {name: value}, {name: place})
                except ValidationError as error:
                    yield from _at_ends(error, name, one, place)
                    return
                if kind == "workloads" and num_keys(new) != num_keys(entry):
                    yield problem(f"{name} makes another task of {entry.label}; list workloads instead", loc=place)
                    return


def _at_ends(error: ValidationError, name: str, one: KnobRange, place: Loc | None = None) -> Iterator[Any]:
    """The problems of a list of the ends at the places of these."""
    places = _places(name, one)
    for details in error.errors(include_url=False):
        index = details["loc"][1] if len(details["loc"]) > 1 and isinstance(details["loc"][1], int) else 0
        loc, context = place or places[index], details.get("ctx", {})
        if details["type"] == OURS:
            yield problem(context["message"], loc=loc)
        else:
            yield {"type": details["type"], "loc": loc, "input": details["input"], "ctx": context}


def _of_packs(box: Box, sweeps: Sweeps) -> Iterator[Any]:
    """Too many kinds of packs."""
    packs = {name: box.root[name].num_values for name in box.names if _makes_packs(box, sweeps, name)}
    combinations = math.prod(packs.values())
    if combinations > MAX_COMBINATIONS:
        worst = max(packs, key=lambda name: packs[name])
        count = "a pack of each of its points" if combinations == math.inf else f"{combinations:,} kinds of packs"
        message = f"{' x '.join(packs)} make {count}; they must make at most {MAX_COMBINATIONS:,}: list values"
        yield problem(message, loc=("box", worst))


def _of_design(suite: Suite, box: Box, design: Design) -> Iterator[Any]:
    """Too many trials, or fewer settings than points."""
    num_points = design.num_points
    if box.num_settings < num_points:
        message = f"num_points must be at most the {box.num_settings:,} settings of the box, got {num_points}"
        yield problem(message, loc=("design", "num_points"))
    num_trials = num_box_trials(suite, box, design)
    if num_trials > MAX_TRIALS:
        message = f"{num_points:,} points x {num_trials // num_points:,} entries and seeds = {num_trials:,} trials"
        yield problem(f"{message}; a suite must have at most {MAX_TRIALS:,}", loc=("design", "num_points"))


def budgets_too_large(suite: Suite) -> Iterator[Any]:
    """More than MAX_TRIALS trials of all searches over the box; none where it is not searched."""
    if suite.search is not None and suite.box is not None and suite.most_trials > MAX_TRIALS:
        budget = suite.searcher.budget
        message = f"{budget:,} trials x {suite.most_trials // budget:,} searches = {suite.most_trials:,} trials"
        yield problem(f"{message}; a suite must have at most {MAX_TRIALS:,}", loc=("search", "budget"))


def _makes_packs(box: Box, sweeps: Sweeps, name: str) -> bool:
    """Whether trials that differ in the knob can share no pack."""
    is_constant = name in sweeps.by_kind["optimizers"] and box.root[name].form in ("log", "linear")
    return name not in KNOB_NAMES and not is_constant
