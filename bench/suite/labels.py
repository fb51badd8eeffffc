"""The field `labels` of a suite: what methods and workloads are called where people read, checked with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from analysis.formula import plain_label
from bench.suite.errors import problem, reject, show, suggest

if TYPE_CHECKING:
    from bench.suite.suite import Suite

LABELLED = ("workloads", "methods")  # fields whose entries can have a label


def _labels_given(value: Any) -> dict[str, str]:
    """The mapping, whose labels can all be shown; else the problems are raised, each at its label."""
    if not isinstance(value, Mapping):
        reject(problem(f"labels must be a mapping of names to labels, got {show(value)}", value=value))
    problems = list(_unshowable(value))
    if problems:
        reject(*problems)
    return dict(value)


def _unshowable(labels: Mapping[Any, Any]) -> Iterator[Any]:
    for name, label in labels.items():
        if not isinstance(label, str):
            yield problem(f"the label of {name} must be text, got {show(label)}", value=label, loc=(str(name),))
            continue
        try:
            plain_label(label)
        except ValueError as error:
            yield problem(f"label {error}", value=label, loc=(str(name),))


# The field's type.
LabelsBySuiteName = Annotated[dict[str, str], BeforeValidator(_labels_given)]


def label_problems(suite: Suite) -> list[Any]:
    """Labels of what the suite does not name, and labels that another entry has, or that are another's name."""
    entries = [choice for field in LABELLED for choice in suite.entries[field]]
    known = list(dict.fromkeys(name for choice in entries for name in (choice.label, choice.name)))
    problems, taken = [], {name: name for name in known}
    for name, label in suite.labels.items():
        plain, place = plain_label(label), ("labels", name)
        if name not in known:
            hint = suggest(name, known, existing="workloads and methods of this suite")
            problems.append(
                problem(f"labels names {show(name)}, which is none of this suite; {hint}", loc=place, at_key=True)
            )
        elif taken.setdefault(plain, name) != name:
            problems.append(
                problem(f"label {show(plain)} of {name} is what {taken[plain]} is called; write another", loc=place)
            )
    return problems
