"""Parameters of entries as knobs: `batch_size: [16, 32]` under knobs is every workload with either value.

A sweep is named as the parameter, or `workload.width` where entries of several kinds have one of that name. An entry
without the parameter stays as it is.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from bench.entry import build
from bench.suite.entry import resolve
from bench.suite.errors import OURS, problem, show, suggest
from bench.suite.file import Loc
from bench.suite.kinds import KINDS
from bench.trial import Choice

# Parameters that decide what a score means, not how a method is set; a suite lists entries for them.
NOT_KNOBS = ("final_loss_steps",)

Values = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Sweeps:
    """Which knob names sweep parameters of which kind of entry: kind -> knob name -> values."""

    by_kind: Mapping[str, Values]

    def num_variants(self, kind: str, choice: Choice) -> int:
        """Length of `variants`."""
        return math.prod(len(values) for _, values in self._own(kind, choice))

    def variants(self, kind: str, choice: Choice) -> list[Choice]:
        """The entry with every combination of its swept values, all under the label of the entry.

        One whose attention has another number of keys is another task: it keeps a label of its own. Raises
        ValidationError, placed at the value, where an entry refuses it.
        """
        own = self._own(kind, choice)
        variants = []
        for combination in itertools.product(*(range(len(values)) for _, values in own)):
            given = {name: values[index] for (name, values), index in zip(own, combination, strict=True)}
            places = {name: ("knobs", name, index) for name, index in zip(given, combination, strict=True)}
            variants.append(variant(kind, choice, given, places))
        return variants

    def names(self, kind: str, choice: Choice) -> list[str]:
        """The knobs that sweep parameters of the entry."""
        return [name for name, _ in self._own(kind, choice)]

    def _own(self, kind: str, choice: Choice) -> list[tuple[str, tuple[Any, ...]]]:
        swept = self.by_kind.get(kind, {})
        return [(name, values) for name, values in swept.items() if _key(name) in choice.params]


def assign(
    swept: Values, choices: Mapping[str, Sequence[Choice]], lane_knobs: Sequence[str], *, field: str = "knobs"
) -> tuple[Sweeps, list[InitErrorDetails]]:
    """The kind of entry that each knob name belongs to, and the problems of names that belong to none or to several.

    `field`: of the suite, where the names stand.
    """
    by_kind: dict[str, dict[str, tuple[Any, ...]]] = {kind: {} for kind in choices}
    problems: list[InitErrorDetails] = []
    for name, values in swept.items():
        word, _, key = name.rpartition(".")
        having = [
            kind
            for kind, entries in choices.items()
            if word in ("", KINDS[kind].word) and any(key in entry.params for entry in entries)
        ]
        place = {"loc": (field, name), "at_key": True}
        if len(having) == 1 and key not in NOT_KNOBS:
            by_kind[having[0]][name] = values
        elif len(having) > 1:
            options = " or ".join(f"{KINDS[kind].word}.{key}" for kind in having)
            problems.append(problem(f"{show(name)} is a parameter of several entries; write {options}", **place))
        else:
            known = dict.fromkeys(key for entries in choices.values() for entry in entries for key in entry.params)
            hint = suggest(name, [*lane_knobs, *(key for key in known if key not in NOT_KNOBS)], existing="knobs here")
            problems.append(problem(f"unknown knob {show(name)}; {hint}", **place))
    return Sweeps(by_kind=by_kind), problems


def variant(kind: str, choice: Choice, given: Mapping[str, Any], places: Mapping[str, Loc]) -> Choice:
    """The entry with these values of the knobs that sweep its parameters, under its label, as `Sweeps.variants` says.

    Raises ValidationError where the entry refuses a value, at the place of its knob; of a combination, of the first.
    """
    if not given:
        return choice
    params = {**choice.params, **{_key(name): value for name, value in given.items()}}
    try:
        folder = Path(choice.folder) if choice.folder else None
        new = resolve(KINDS[kind], {"name": choice.name, **params}, allow_code=True, folder=folder)
    except ValidationError as error:
        raise ValidationError.from_exception_data("suite", _placed(error, places)) from error
    is_same_task = kind != "workloads" or num_keys(new) == num_keys(choice)
    label = choice.label if is_same_task else new.label
    return dataclasses.replace(new, label=label, swept=tuple(given))


def num_keys(workload: Choice) -> int:
    """Number of keys of the workload's attention."""
    return build(KINDS["workloads"].entries, workload).num_keys


def _placed(error: ValidationError, places: Mapping[str, Loc]) -> list[InitErrorDetails]:
    """The problems of a variant at the knobs that gave rise to them; of a combination, at its first."""
    by_key = {_key(name): loc for name, loc in places.items()}
    problems = []
    for details in error.errors(include_url=False):
        loc = by_key.get(str(details["loc"][0])) if details["loc"] else None
        place = loc or next(iter(by_key.values()))
        context = details.get("ctx", {})
        if details["type"] == OURS:
            problems.append(problem(context["message"], loc=place))
        else:
            problems.append(InitErrorDetails(type=details["type"], loc=place, input=details["input"], ctx=context))
    return problems


def _key(name: str) -> str:
    return name.rpartition(".")[2]
