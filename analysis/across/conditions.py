"""Several results frames as conditions: what methods share wherever they are compared, so that only they differ.

A condition is one workload of one side under one optimizer and one setting of the knobs. Methods are matched by their
label across conditions: an optimizer that one side has and another lacks makes a condition more, and is never set
against another optimizer within one. A knob that only some methods have, such as a parameter of a method, is no
condition: it is part of the method's label.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from analysis.across.learned import why_not_learned
from analysis.curves import LossGrid, label_of
from analysis.scores.parts import ScoredEntry
from analysis.scores.table import measured_entries
from analysis.spelling import with_one_spelling
from analysis.text import entry_name

CONDITION_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("condition", "side", "workload", "optimizer", "knobs"), pl.String),
    **dict.fromkeys(("num_methods", "num_seeds"), pl.Int64),
}

RULE = (
    "A condition is one workload of one side under one optimizer and one setting of the knobs; methods are matched by "
    "name, and a knob that only some methods have is part of their name."
)

_SAME_SHARE = 0.5  # of the runs at the same method, lr and seed: more that end in the same loss are the same runs


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """`frame`: CONDITION_COLUMNS, a row a condition. `entries`, of the `loss`, by the key (condition, method, '', '').

    Their at_chance holds as well where a method learned little; `flags` says which, by (condition, method).
    `notes` say what was left out, and why.
    """

    frame: pl.DataFrame
    entries: tuple[ScoredEntry, ...]
    loss: str
    flags: Mapping[tuple[str, str], str]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Condition:
    """One condition before it has a name; `entries` by method."""

    side: str
    workload: str
    optimizer: str
    knobs: str
    entries: dict[str, ScoredEntry]
    flags: dict[str, str]

    @property
    def place(self) -> str:
        return f"{label_of((self.workload, self.optimizer, self.knobs))} of {self.side}"


def conditions(sides: Mapping[str, pl.DataFrame], loss: str, *, keeps_same: bool = False) -> Conditions:
    """The conditions of all sides, in their order; `sides` has RESULT_COLUMNS by name, `loss` is one of SCORED_LOSSES.

    A method that learned little, less than half of what the best one did, ranks with those at chance: its sensitivity
    comes as easily. Left out are conditions that compare nothing, with a single method or with none that learned, and
    those whose runs an earlier side has (equal final losses), unless `keeps_same`. Raises UsageError as `choose_loss`
    does.
    """
    sides = dict(zip(sides, with_one_spelling(*sides.values()), strict=True))
    kept: list[_Condition] = []
    notes = []
    for one in itertools.chain.from_iterable(_of_side(name, results, loss) for name, results in sides.items()):
        reason = _reason_to_leave_out(one, [] if keeps_same else kept)
        if reason:
            notes.append(f"left out: {one.place}: {reason}")
        else:
            kept.append(one)
    names = _names(kept)
    named = [(name, method, one) for name, one in zip(names, kept, strict=True) for method in sorted(one.entries)]
    return Conditions(
        frame=_frame(names, kept),
        entries=tuple(
            replace(one.entries[method], key=(name, method, "", ""), at_chance=bool(one.flags[method]))
            for name, method, one in named
        ),
        loss=loss,
        flags={(name, method): one.flags[method] for name, method, one in named},
        notes=tuple(notes),
    )


def _of_side(side: str, results: pl.DataFrame, loss: str) -> list[_Condition]:
    """The conditions of one side, by workload, optimizer and knobs."""
    entries = {entry.key: entry for entry in measured_entries(results, None, loss)}
    own = _knobs_of_methods(list(entries))
    flags = why_not_learned(list(entries.values()))
    by_place: dict[tuple[str, str, str], _Condition] = {}
    for key, entry in entries.items():
        workload, method, optimizer, text = key
        parts = _parts(text)
        names = own[workload, optimizer]
        shared = ", ".join(part for name, part in parts.items() if name not in names)
        label = label_of((method, *(part for name, part in parts.items() if name in names)))
        place = (workload, optimizer, shared)
        if place not in by_place:
            by_place[place] = _Condition(
                side=side, workload=workload, optimizer=optimizer, knobs=shared, entries={}, flags={}
            )
        by_place[place].entries[label] = entry
        by_place[place].flags[label] = flags[key]
    return [by_place[place] for place in sorted(by_place)]


def _knobs_of_methods(keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, str], set[str]]:
    """By workload and optimizer, the knobs that some methods have and others lack."""
    methods: dict[tuple[str, str], dict[str, set[str]]] = {}
    for workload, method, optimizer, text in keys:
        methods.setdefault((workload, optimizer), {}).setdefault(method, set()).update(_parts(text))
    return {
        group: set().union(*by_method.values()) - set.intersection(*by_method.values())
        for group, by_method in methods.items()
    }


def _parts(knobs: str) -> dict[str, str]:
    """'width=4, depth=2' by name; a comma within a value does not end it."""
    return {part.partition("=")[0]: part for part in re.split(r", (?=[\w.]+=)", knobs) if part}


def _reason_to_leave_out(one: _Condition, earlier: Sequence[_Condition]) -> str:
    if len(one.entries) < 2:
        return f"it has a single method, {next(iter(one.entries))}"
    if all(one.flags.values()):
        return "no method learned there"
    for other in earlier:
        alike = _alike(one, other) if other.side != one.side else []
        if alike and float(np.mean(alike)) > _SAME_SHARE:
            equal = f"{sum(alike)} of {len(alike)} end in the same loss to the last bit at the same method, lr and seed"
            return f"its runs are those of {other.place}: {equal}; --keep-same compares them"
    return ""


def _alike(one: _Condition, other: _Condition) -> list[bool]:
    """Whether the runs that both have at a method, lr and seed end in the same loss to the last bit."""
    return [
        same
        for method, entry in one.entries.items()
        if method in other.entries
        for same in _same_losses(entry.grid, other.entries[method].grid)
    ]


def _same_losses(first: LossGrid, second: LossGrid) -> list[bool]:
    """Of every finite final loss of the first whether the second has it at the same lr and seed, where it has one."""
    _, rows_one, rows_two = np.intersect1d(first.lrs, second.lrs, return_indices=True)
    _, columns_one, columns_two = np.intersect1d(first.seeds, second.seeds, return_indices=True)
    one, two = first.losses[np.ix_(rows_one, columns_one)], second.losses[np.ix_(rows_two, columns_two)]
    return (one == two)[np.isfinite(one) & np.isfinite(two)].tolist()


def _names(named: Sequence[_Condition]) -> list[str]:
    """What tables call each condition: the workload, as briefly as tells it apart; optimizer and knobs where several.

    The workload alone without its parameters, else with the side's name, else with its parameters, else with both.
    """
    places = list(dict.fromkeys((one.side, one.workload) for one in named))
    forms = [
        {place: entry_name(place[1]) for place in places},
        {place: f"{entry_name(place[1])} ({place[0]})" for place in places},
        {place: place[1] for place in places},
        {place: f"{place[1]} ({place[0]})" for place in places},
    ]
    of_place = next((form for form in forms if len(set(form.values())) == len(places)), forms[-1])
    optimizers: dict[tuple[str, str], set[str]] = {}
    for one in named:
        optimizers.setdefault((one.side, one.workload), set()).add(one.optimizer)
    names = []
    for one in named:
        place = (one.side, one.workload)
        optimizer = one.optimizer if len(optimizers[place]) > 1 else ""
        detail = label_of((optimizer, one.knobs))
        names.append(detail if len(places) == 1 and detail else label_of((of_place[place], detail)))
    return names


def _frame(names: Sequence[str], named: Sequence[_Condition]) -> pl.DataFrame:
    rows = [
        (
            *(name, one.side, one.workload, one.optimizer, one.knobs),
            len(one.entries),
            max(len(entry.grid.seeds) for entry in one.entries.values()),
        )
        for name, one in zip(names, named, strict=True)
    ]
    return pl.DataFrame(rows, schema=CONDITION_COLUMNS, orient="row")
