"""The trials of a suite's box: the same points for every method, each with every seed."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.entry import load_class
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.suite.box import Box, Design
from bench.suite.kinds import KINDS, TWINNED
from bench.suite.sweeps import Sweeps, variant
from bench.trial import KNOB_NAMES, Choice, Knobs, Trial

if TYPE_CHECKING:
    from bench.suite.suite import Suite

DRAWN_KINDS = ("optimizers", "schedules")  # whose entries a box may choose among; all others are compared, or crossed


@dataclass(frozen=True, kw_only=True)
class BoxPoint:
    """A setting of the box. unit: its place in the unit cube. values: by knob, None of one that does not act there."""

    number: int
    replicate: int
    unit: tuple[float, ...]
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class BoxTrial:
    """A trial, and the number of the point that it is at; `labels`: of the entries that the box does not choose."""

    point: int
    labels: Mapping[str, str]
    trial: Trial


def box_points(box: Box, design: Design) -> tuple[BoxPoint, ...]:
    """The points of a box, in the order of its design."""
    return tuple(
        BoxPoint(number=number, replicate=design.replicate_of(number), unit=unit, values=box.values_at(unit))
        for number, unit in enumerate(design.points(len(box.names)))
    )


def crossed_kinds(box: Box) -> list[str]:
    """The kinds of which every entry is trained at every point."""
    return [kind for kind, one in KINDS.items() if one.word not in box.names and kind not in TWINNED]


def num_box_trials(suite: Suite, box: Box, design: Design) -> int:
    """Points times seeds times the entries that are trained at each."""
    return design.num_points * len(suite.seeds) * math.prod(len(suite.entries[kind]) for kind in crossed_kinds(box))


def box_trials(suite: Suite, box: Box, points: Sequence[BoxPoint], sweeps: Sweeps) -> Iterator[BoxTrial]:
    """Every trial of a suite at these points of its box, by entries that are compared, point and seed.

    `sweeps`: which knobs of the box are parameters of which kind of entry. Raises ValidationError where an entry
    refuses a point.
    """
    drawn, compared = [kind for kind in DRAWN_KINDS if KINDS[kind].word in box.names], crossed_kinds(box)
    chosen = functools.cache(functools.partial(_chosen, sweeps))
    for entries in itertools.product(*(suite.entries[kind] for kind in compared)):
        labels = {KINDS[kind].word: entry.label for kind, entry in zip(compared, entries, strict=True)}
        for point in points:
            of_kind = dict(zip(compared, entries, strict=True))
            of_kind |= {kind: _entry(suite.entries[kind], point.values[KINDS[kind].word]) for kind in drawn}
            given = tuple(sorted((name, value) for name, value in point.values.items() if value is not None))
            choices = {KINDS[kind].word: chosen(kind, entry, given) for kind, entry in of_kind.items()}
            knobs = lane_knobs(suite, point.values, of_kind["optimizers"])
            for seed in suite.seeds:
                trial = Trial(**choices, knobs=knobs, seed=seed, **suite.traced)
                yield BoxTrial(point=point.number, labels=labels, trial=trial)


def lane_knobs(suite: Suite, values: Mapping[str, Any], optimizer: Choice) -> Knobs:
    """The lane knobs at a point: of one that the box does not have, or that does not act there, what the suite says.

    A knob that the optimizer does not read has its default.
    """
    read = load_class(OPTIMIZERS.get(optimizer.name, optimizer.name)).knobs
    idle = [name for name in Optimizer.knobs if name not in read]
    fixed = {name: ends[0] for name in KNOB_NAMES if (ends := getattr(suite.knobs, name))}
    acting = {name: value for name in KNOB_NAMES if (value := values.get(name)) is not None}
    return Knobs(**{name: value for name, value in (fixed | acting).items() if name == "lr" or name not in idle})


def _entry(entries: tuple[Choice, ...], label: str) -> Choice:
    return next(entry for entry in entries if label in (entry.label, entry.name))


def _chosen(sweeps: Sweeps, kind: str, entry: Choice, given: tuple[tuple[str, Any], ...]) -> Choice:
    """The entry with the values of the point that are its parameters."""
    names = sweeps.names(kind, entry)
    own = {name: value for name, value in given if name in names}
    return variant(kind, entry, own, {name: ("box", name) for name in own})
