"""The trials of a suite's box: the same points for every method, each with every seed."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.entry import load_class
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.search.tune_box import BoxSearch
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


def points_of(suite: Suite) -> tuple[BoxPoint, ...]:
    """The points of the suite's design, or of the first round of its search; none of a suite without a box."""
    if suite.box is None:
        return ()
    if suite.design is None:
        search = suite.searcher
        assert isinstance(search, BoxSearch), "what is no design of a box is a search over it"
        return searched_points(suite.box, search.first_settings)
    return box_points(suite.box, suite.design)


def box_points(box: Box, design: Design) -> tuple[BoxPoint, ...]:
    """The points of a box, in the order of its design."""
    return tuple(
        BoxPoint(number=number, replicate=design.replicate_of(number), unit=unit, values=box.values_at(unit))
        for number, unit in enumerate(design.points(len(box.names)))
    )


def searched_points(box: Box, settings: Sequence[tuple[float, ...]]) -> tuple[BoxPoint, ...]:
    """Settings that a search asks for, as points of one replicate."""
    return tuple(
        BoxPoint(number=number, replicate=0, unit=unit, values=box.values_at(unit))
        for number, unit in enumerate(settings)
    )


def crossed_kinds(box: Box) -> list[str]:
    """The kinds of which every entry is trained at every point."""
    return [kind for kind, one in KINDS.items() if one.word not in box.names and kind not in TWINNED]


def num_compared(suite: Suite, box: Box) -> int:
    """How many combinations of entries are trained at every point."""
    return math.prod(len(suite.entries[kind]) for kind in crossed_kinds(box))


def num_box_trials(suite: Suite, box: Box, design: Design) -> int:
    """Points times seeds times the entries that are trained at each."""
    return design.num_points * len(suite.seeds) * num_compared(suite, box)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """A combination of entries that is trained at points of a box.

    entries: by kind, those that the box does not draw. chosen: an entry with the values of a point that are its
    parameters.
    """

    suite: Suite
    box: Box
    entries: Mapping[str, Choice]
    chosen: Callable[[str, Choice, tuple[tuple[str, Any], ...]], Choice]

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the entries, by the word of their kind."""
        return {KINDS[kind].word: entry.label for kind, entry in self.entries.items()}

    def trial(self, values: Mapping[str, Any], seed: int) -> Trial:
        """The trial at a point. Raises ValidationError where an entry refuses it."""
        drawn = [kind for kind in DRAWN_KINDS if KINDS[kind].word in self.box.names]
        of_kind = {**self.entries, **{kind: self._drawn(kind, values) for kind in drawn}}
        given = tuple(sorted((name, value) for name, value in values.items() if value is not None))
        choices = {KINDS[kind].word: self.chosen(kind, entry, given) for kind, entry in of_kind.items()}
        knobs = lane_knobs(self.suite, values, of_kind["optimizers"])
        return Trial(**choices, knobs=knobs, seed=seed, **self.suite.traced)

    def _drawn(self, kind: str, values: Mapping[str, Any]) -> Choice:
        """The entry of a kind that the box draws."""
        label = values[KINDS[kind].word]
        return next(entry for entry in self.suite.entries[kind] if label in (entry.label, entry.name))


def compared(suite: Suite, box: Box, sweeps: Sweeps) -> Iterator[Compared]:
    """Every combination of entries. `sweeps`: which knobs of the box are parameters of which kind of entry."""
    kinds, chosen = crossed_kinds(box), functools.cache(functools.partial(_chosen, sweeps))
    for entries in itertools.product(*(suite.entries[kind] for kind in kinds)):
        yield Compared(suite=suite, box=box, entries=dict(zip(kinds, entries, strict=True)), chosen=chosen)


def box_trials(suite: Suite, box: Box, points: Sequence[BoxPoint], sweeps: Sweeps) -> Iterator[BoxTrial]:
    """Every trial of a suite at these points of its box, by entries that are compared, point and seed.

    `sweeps`: which knobs of the box are parameters of which kind of entry. Raises ValidationError where an entry
    refuses a point.
    """
    for one in compared(suite, box, sweeps):
        labels = one.labels
        for point in points:
            for seed in suite.seeds:
                yield BoxTrial(point=point.number, labels=labels, trial=one.trial(point.values, seed))


def drawn_labels(suite: Suite) -> dict[str, str]:
    """By the word of each kind that a box may choose of, the names of all that there are."""
    return {KINDS[kind].word: " or ".join(one.label for one in getattr(suite, kind)) for kind in DRAWN_KINDS}


def lane_knobs(suite: Suite, values: Mapping[str, Any], optimizer: Choice) -> Knobs:
    """The lane knobs at a point: of one that the box does not have, or that does not act there, what the suite says.

    A knob that the optimizer does not read has its default.
    """
    read = load_class(OPTIMIZERS.get(optimizer.name, optimizer.name)).knobs
    idle = [name for name in Optimizer.knobs if name not in read]
    fixed = {name: ends[0] for name in KNOB_NAMES if (ends := getattr(suite.knobs, name))}
    acting = {name: value for name in KNOB_NAMES if (value := values.get(name)) is not None}
    return Knobs(**{name: value for name, value in (fixed | acting).items() if name == "lr" or name not in idle})


def _chosen(sweeps: Sweeps, kind: str, entry: Choice, given: tuple[tuple[str, Any], ...]) -> Choice:
    """The entry with the values of the point that are its parameters."""
    names = sweeps.names(kind, entry)
    own = {name: value for name, value in given if name in names}
    return variant(kind, entry, own, {name: ("box", name) for name in own})
