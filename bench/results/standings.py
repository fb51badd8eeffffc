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
from analysis.text import counted
from bench.lazy import polars
from bench.results.pruning import judged, stale
from bench.search.base import Answer, Ask, Point, Search, replay
from bench.search.tune_box import TuneBoxAnswer
from bench.suite import Suite
from bench.suite.box import Box
from bench.suite.box_checks import parameter_sweeps
from bench.suite.box_points import Compared, compared, drawn_labels
from bench.suite.kinds import KINDS
from bench.training.pruning import Judged
from bench.trial import KNOB_NAMES, Knobs, Outcome, Trial

Rows = Mapping[str, Mapping[str, Any]]  # rows of SEARCH_COLUMNS by trial id

ANSWER_COLUMNS: dict[str, str] = {
    "workload": "String",
    "method": "String",
    "optimizer": "String",
    "search": "String",
    "knob": "String",  # what was searched; of a box all knobs, with commas
    "value": "Float64",
    "ci_low": "Float64",
    "ci_high": "Float64",
    "unit": "String",
    "best_value": "Float64",  # tune: where the least loss is; else null
    "best_setting": "String",  # tune_box: where the least loss is, as name=value of every knob that acts; else null
    "num_trials_to_target": "Int64",  # tune, tune_box: trials until the leader was near the final best; else null
    "num_trials": "Int64",  # asked for so far, lost ones included
    "num_rounds": "Int64",
    "flags": "String",  # unfinished: rounds are left
    "knobs": "String",  # the other knobs that the suite varies
    "note": "String",  # why the search stopped
}
_NAMED = ("workload", "method", "optimizer")  # of each answer; other kinds stand among the knobs where they vary
TRAIL_COLUMNS: dict[str, str] = {
    "workload": "String",
    "method": "String",
    "optimizer": "String",
    "knobs": "String",
    "round": "Int64",  # from 1
    "value": "Float64",  # of the searched knob; null of a box
    "setting": "String",  # name=value of every searched knob that acts
    "seed": "Int64",
    "final_loss": "Float64",  # +inf if diverged, null if lost or not there yet
    "initial_loss": "Float64",
    "pruned_step": "Int64",  # the last step of a trial that was pruned, which has no final loss; else null
    "why": "String",  # why the round was asked for
}


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


class _Known(Mapping[tuple[Any, int], Point[Any]]):
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
                knobs=_text(varied | template.settings),
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
            knobs=_text({kind: one.labels[kind] for kind in beside if kind in one.labels}),
            search=suite.searcher,
            rule=None if suite.stop is None else suite.stop.rule(one.entries["workloads"].params["num_steps"]),
            compared=one,
        )


def _beside(suite: Suite) -> list[str]:
    """The kinds that stand among the knobs where the suite has several entries of them."""
    return [kind.word for field, kind in KINDS.items() if kind.word not in _NAMED and len(getattr(suite, field)) > 1]


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> Any:
    """A knob's value as words show it; a whole number without a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def stand(group: Group, rows: Rows) -> Standing:
    """Where a search stands with these results."""
    known = _Known(group, rows)
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


def answers(standings: Sequence[Standing]) -> polars.DataFrame:
    """ANSWER_COLUMNS, one row a search, within a workload the best first: the largest edge, the least loss or score."""
    rows = []
    for standing in standings:
        answer, group = standing.answer, standing.group
        rows.append(
            _names(group)
            | {
                "search": group.name,
                "knob": group.knob,
                "value": answer.value,
                "ci_low": answer.low,
                "ci_high": answer.high,
                "unit": answer.unit,
                "best_value": getattr(answer, "best_value", None),
                "best_setting": _text(answer.best) if isinstance(answer, TuneBoxAnswer) else None,
                "num_trials_to_target": getattr(answer, "num_trials_to_target", None),
                "num_trials": len(standing.asked) - len(standing.missing),
                "num_rounds": len(standing.rounds) - bool(standing.missing),
                "flags": "unfinished" if standing.missing else "",
                "note": answer.note + _pruned_words(standing),
            }
        )
    largest_first = any(row["search"] == "edge" for row in rows)
    table = polars.DataFrame(rows, schema=_schema(ANSWER_COLUMNS))
    return table.sort(
        "workload", polars.col("value").fill_nan(None), descending=[False, largest_first], nulls_last=True
    )


def trail(standings: Sequence[Standing], rows: Rows) -> polars.DataFrame:
    """TRAIL_COLUMNS, one row a setting that was asked for, in the order of asking."""
    found = []
    for standing in standings:
        known = _Known(standing.group, rows)
        for number, ask in enumerate(standing.rounds, start=1):
            for setting in ask.settings:
                point = known.get(setting)
                is_there = point is not None and not point.is_lost
                is_pruned = point is not None and point.pruned_step is not None
                found.append(
                    _names(standing.group)
                    | {
                        "round": number,
                        "value": None if isinstance(standing.group, BoxGroup) else setting[0],
                        "setting": _text(standing.group.values(setting[0])),
                        "seed": setting[1],
                        "final_loss": point.final_loss if point is not None and is_there and not is_pruned else None,
                        "initial_loss": point.initial_loss if point is not None and is_there else None,
                        "pruned_step": point.pruned_step if point is not None else None,
                        "why": ask.why,
                    }
                )
    return polars.DataFrame(found, schema=_schema(TRAIL_COLUMNS))


def _pruned_words(standing: Standing) -> str:
    """What a rule pruned, in words; empty if nothing."""
    group, pruned = standing.group, [point for point in standing.points if point.pruned_step is not None]
    if group.rule is None or not pruned:
        return ""
    saved = sum(group.rule.num_steps - point.pruned_step - 1 for point in pruned if point.pruned_step is not None)
    share = saved / (len(standing.points) * group.rule.num_steps)
    return f"; {group.rule.worse_than} pruned {counted(len(pruned), 'trial')}, which saved {share:.0%} of all steps"


def _names(group: Group) -> dict[str, str]:
    return {**{kind: group.labels[kind] for kind in _NAMED}, "knobs": group.knobs}


def _schema(columns: Mapping[str, str]) -> dict[str, Any]:
    return {name: getattr(polars, kind) for name, kind in columns.items()}
