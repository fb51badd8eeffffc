"""Where the searches of a suite stand: one for every combination of entries and setting of knobs that are not searched.

Nothing is kept but results: rounds are decided again from those recorded so far, so a run that was killed asks for the
same settings and ends with the same answers.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.scores.pruning import Rule
from bench.outcome import Outcome
from bench.results.pruning import judged, stale
from bench.search.base import Answer, Ask, Point, Search, replay
from bench.suite import Suite
from bench.suite.box import Box
from bench.suite.box_checks import parameter_sweeps
from bench.suite.box_points import Compared, compared, drawn_labels
from bench.suite.kinds import KINDS
from bench.training.pruning import Judged
from bench.trial import KNOB_NAMES, Knobs, Trial

Rows = Mapping[str, Mapping[str, Any]]  # rows of SEARCH_COLUMNS by trial id
NAMED = ("workload", "method", "optimizer")  # of each answer; other kinds stand among the knobs where they vary


@dataclass(frozen=True, kw_only=True)
class Group:
    """One search, with what says everything of its trials but the setting and the seed.

    name: of the search. labels: of its entries. knob: what is searched. knobs: text, the other knobs that the suite
    varies. rule: what prunes its settings; None: all are trained to the end.
    """

    name: str
    labels: Mapping[str, str]
    knob: str
    knobs: str
    search: Search[Any]
    rule: Rule | None = None

    def trial(self, setting: tuple[Any, int]) -> Trial:
        """The trial of a setting and seed."""
        raise NotImplementedError

    def values(self, value: Any) -> dict[str, Any]:
        """The values by knob that a setting of the search stands for; those that act."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class KnobGroup(Group):
    """A search over one knob. template: a trial of it."""

    template: Trial

    def trial(self, setting: tuple[Any, int]) -> Trial:
        value, seed = setting
        knobs = dataclasses.replace(self.template.knobs, **{self.knob: value})
        return dataclasses.replace(self.template, knobs=knobs, seed=seed)

    def values(self, value: Any) -> dict[str, Any]:
        return {self.knob: value}


@dataclass(frozen=True, kw_only=True)
class BoxGroup(Group):
    """A search over a box. compared: the entries that it is for."""

    compared: Compared

    def trial(self, setting: tuple[Any, int]) -> Trial:
        unit, seed = setting
        return self.compared.trial(self.compared.box.values_at(unit), seed)

    def values(self, value: Any) -> dict[str, Any]:
        return {name: one for name, one in self.compared.box.values_at(value).items() if one is not None}


class Known(Mapping[tuple[Any, int], Point[Any]]):
    """The points of a group among recorded results; a trial that a detector aborted counts as diverged."""

    def __init__(self, group: Group, rows: Rows) -> None:
        self._group, self._rows = group, rows

    def __getitem__(self, setting: tuple[Any, int]) -> Point[Any]:
        row = self._rows[self._group.trial(setting).id]
        outcome = Outcome(row["outcome"])
        is_there = outcome.is_result or outcome.is_stopped
        initial = row["initial_loss"] if is_there else None
        seen = {int(rung): loss for rung, loss in json.loads(row["rung_losses"]).items()}
        return Point(
            value=setting[0],
            seed=setting[1],
            final_loss=_ended(row, seen) if is_there else math.nan,
            initial_loss=math.nan if initial is None else initial,
            pruned_step=row["pruned_step"] if is_there else None,
            rung_losses=seen,
        )

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        raise NotImplementedError("looked up, never listed")

    def __len__(self) -> int:
        raise NotImplementedError("looked up, never listed")


def _ended(row: Mapping[str, Any], seen: Mapping[int, float]) -> float:
    """The final loss of a trial that came back: of a pruned one that of its last rung, NaN of one without any."""
    if row["pruned_step"] is not None:
        return seen[row["pruned_step"] + 1]
    if row["outcome"] == Outcome.ABORTED.value:
        return math.inf
    final = row["final_loss"]
    return math.nan if final is None else math.inf if math.isnan(final) else final


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A search with what it asked for, what came back, and the trials of its last round that are missing."""

    group: Group
    rounds: tuple[Ask[Any], ...]
    points: tuple[Point[Any], ...]  # of the rounds that are complete
    missing: tuple[Trial, ...]

    @property
    def asked(self) -> tuple[Trial, ...]:
        return tuple(self.group.trial(setting) for ask in self.rounds for setting in ask.settings)

    @property
    def answer(self) -> Answer:
        return self.group.search.answer(self.points)

    @property
    def judged(self) -> list[Judged]:
        """The settings of the last round, for what prunes them; none where nothing does, or nothing is missing."""
        if self.group.rule is None or not self.missing:
            return []
        return judged(self.group.rule, self.points, self.rounds[-1], lambda setting: self.group.trial(setting).id)


def groups(suite: Suite) -> tuple[Group, ...]:
    """The searches of a suite that has one."""
    return tuple(_knob_groups(suite) if suite.box is None else _box_groups(suite, suite.box))


def _knob_groups(suite: Suite) -> Iterator[Group]:
    assert suite.search is not None
    knob = suite.search.knob
    others = [name for name in KNOB_NAMES if name != knob]
    beside = _beside(suite)
    for choices in suite.combinations():
        for setting in itertools.product(*(getattr(suite.knobs, name) for name in others)):
            knobs = Knobs(**dict(zip(others, setting, strict=True)), **{knob: getattr(suite.knobs, knob)[0]})
            template = Trial(**choices, knobs=knobs, seed=suite.seeds[0], **suite.traced)
            varied = {n: v for n, v in zip(others, setting, strict=True) if len(getattr(suite.knobs, n)) > 1}
            varied |= {kind: template.labels[kind] for kind in beside}
            yield KnobGroup(
                name=suite.search.name,
                labels=template.labels,
                knob=knob,
                knobs=values_text(varied | template.settings),
                search=suite.searcher,
                rule=None if suite.stop is None else suite.stop.rule(template.num_steps),
                template=template,
            )


def _box_groups(suite: Suite, box: Box) -> Iterator[Group]:
    assert suite.search is not None
    drawn, beside = drawn_labels(suite), _beside(suite)
    for one in compared(suite, box, parameter_sweeps(suite, box)[0]):
        labels = drawn | one.labels
        yield BoxGroup(
            name=suite.search.name,
            labels=labels,
            knob=", ".join(box.names),
            knobs=values_text({kind: one.labels[kind] for kind in beside if kind in one.labels}),
            search=suite.searcher,
            rule=None if suite.stop is None else suite.stop.rule(one.entries["workloads"].params["num_steps"]),
            compared=one,
        )


def _beside(suite: Suite) -> list[str]:
    """The kinds that stand among the knobs where the suite has several entries of them."""
    return [kind.word for field, kind in KINDS.items() if kind.word not in NAMED and len(getattr(suite, field)) > 1]


def values_text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> Any:
    """A knob's value as words show it; a whole number without a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def stand(group: Group, rows: Rows) -> Standing:
    """Where a search stands with these results."""
    known = Known(group, rows)
    rounds, points, missing = replay(group.search, known, stale=functools.partial(stale, group.rule, known))
    return Standing(
        group=group, rounds=tuple(rounds), points=tuple(points), missing=tuple(group.trial(s) for s in missing)
    )


def asked_trials(suite: Suite, rows: Rows) -> tuple[Trial, ...]:
    """The trials that a suite asks for: those of its grid, or those of its searches with these results."""
    if suite.search is None:
        return suite.expand()
    return tuple(trial for group in groups(suite) for trial in stand(group, rows).asked)


def is_spent(suite: Suite, standings: Sequence[Standing], rows: Rows) -> bool:
    """Whether the suite's minutes of training are used up."""
    if suite.search is None or suite.search.gpu_minutes is None:
        return False
    ids = {trial.id for standing in standings for trial in standing.asked}
    return sum(rows[one]["wall_s"] for one in ids if one in rows) >= 60 * suite.search.gpu_minutes
