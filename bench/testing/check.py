"""check_entry(): all properties of the kind of an entry; refuse_broken(): a sample of them before a suite trains."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.text import counted
from bench.entry import build
from bench.errors import ENTRY_ERRORS, UsageError, place_of, reason
from bench.interventions.base import OnAttention
from bench.methods.base import Heads
from bench.probes.model import ModelProbe
from bench.suite import Suite
from bench.suite.kinds import ENTRY_FIELDS
from bench.testing.advice import advice
from bench.testing.method_case import HEADS, MethodCase
from bench.testing.methods import METHOD_PROPERTIES
from bench.testing.model_probes import MODEL_PROBE_PROPERTIES
from bench.testing.optimizers import OPTIMIZER_PROPERTIES
from bench.testing.probes import PROBE_PROPERTIES
from bench.testing.properties import Property, PropertyError
from bench.testing.rows import FOLLOWS_LOGITS
from bench.testing.schedules import SCHEDULE_PROPERTIES
from bench.testing.workloads import PARAMETERS_OF_A_WORKLOAD, WORKLOAD_PROPERTIES
from bench.workloads import WORKLOADS

MAX_SAMPLED_KEYS = 32  # of a method that is tried in the shapes of a suite's workload

# By the fields of a suite that hold entries.
PROPERTIES: dict[str, Mapping[str, Property]] = {
    "workloads": WORKLOAD_PROPERTIES | PARAMETERS_OF_A_WORKLOAD,
    "methods": METHOD_PROPERTIES,
    "optimizers": OPTIMIZER_PROPERTIES,
    "schedules": SCHEDULE_PROPERTIES,
    "probes": PROBE_PROPERTIES,
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Whether an entry has a property: `text` has the numbers, or what is wrong and where."""

    property: str
    has_passed: bool
    text: str


def check_entry(field: str, entry: Any) -> Iterator[Finding]:
    """A finding for each property of the kind of entry that a field of a suite holds; none after a basic one fails.

    What the entry prints meanwhile goes to stderr; that it prints nothing is the last property.
    """
    subject, heard = MethodCase(method=entry) if field == "methods" else entry, Heard()
    for name, one in properties_of(field, entry).items():
        with contextlib.redirect_stdout(heard):
            finding = _finding(name, one, entry, subject)
        yield finding
        if one.is_basic and not finding.has_passed:
            return
    words = (
        f"{counted(heard.num_lines, 'line')}, the first is {heard.first.strip()!r}; leave print out of what is traced"
    )
    yield Finding(
        property="prints nothing", has_passed=not heard.num_lines, text=words if heard.num_lines else "no line"
    )


class Heard(io.TextIOBase):
    """A stream that hands all on to stderr, and counts its lines."""

    def __init__(self) -> None:
        self.num_lines, self.first = 0, ""

    def write(self, text: str) -> int:
        if not self.num_lines:
            self.first += text.partition("\n")[0]
        self.num_lines += text.count("\n")
        return sys.stderr.write(text)


def properties_of(field: str, entry: Any) -> Mapping[str, Property]:
    """Properties of the kind of entry that a field of a suite holds."""
    return MODEL_PROBE_PROPERTIES if isinstance(entry, ModelProbe) else PROPERTIES[field]


def refuse_broken(suite: Suite) -> None:
    """Raises UsageError for entries of a suite that are a user's own and lack a property of the sample.

    Methods are tried in the shapes of the suite's first workload. What is shipped is not tried again.
    """
    broken: list[str] = []
    own = {place: choice for place, choice in suite.own_entries.items() if place[0] in PROPERTIES}
    for (field, index), choice in own.items():
        entry = build(ENTRY_FIELDS[field].entries, choice)
        subject = _sampled_case(suite, entry) if field == "methods" else entry
        sampled = {name: one for name, one in properties_of(field, entry).items() if one.is_sampled}
        if field == "methods" and _intervenes_in_logits(suite):
            sampled["weights follow from logits, or `reads_logits = False`"] = FOLLOWS_LOGITS
        for finding in (_finding(name, one, entry, subject) for name, one in sampled.items()):
            if not finding.has_passed:
                place = suite.place((field, index))
                broken.append(f"{place}: {choice.label} lacks a property, {finding.property!r}: {finding.text}")
                break  # what follows from the first is not said again
    if broken:
        raise UsageError("\n".join(broken))


def _intervenes_in_logits(suite: Suite) -> bool:
    interventions = [build(ENTRY_FIELDS["interventions"].entries, one) for one in suite.interventions]
    return any(isinstance(one, OnAttention) and one.acts_on_logits for one in interventions)


def _sampled_case(suite: Suite, method: Any) -> MethodCase:
    """Raises UsageError if the workload, a user's own, can't say which attention it has."""
    workload = suite.entries["workloads"][0]
    try:
        heads: Heads = build(WORKLOADS, workload).attention[0]
    except ENTRY_ERRORS as error:
        raise UsageError(f"{suite.place(('workloads', 0))}: attention of {workload.label}: {reason(error)}") from error
    num_keys = max(HEADS.num_keys, min(heads.num_keys, MAX_SAMPLED_KEYS))
    return MethodCase(method=method, heads=dataclasses.replace(heads, num_keys=num_keys), is_single=True)


def _finding(name: str, one: Property, entry: Any, subject: Any) -> Finding:
    try:
        return Finding(property=name, has_passed=True, text=_numbers(one, entry, subject))
    except PropertyError as error:
        return Finding(property=name, has_passed=False, text=str(error))


def _numbers(one: Property, entry: Any, subject: Any) -> str:
    """What the check of a property gives. Raises PropertyError with the line, whatever the code of the entry raises."""
    try:
        return one.check(subject)
    except PropertyError as error:
        raise PropertyError(f"{error}{_place(type(entry), error.of or one.of)}") from error
    except (Exception, SystemExit) as error:
        file, words = inspect.getsourcefile(type(entry)) or "", advice(error)
        is_own = any(frame.filename == file for frame in traceback.extract_tb(error.__traceback__))
        place = f" ({place_of(error, file)})" if is_own else _place(type(entry), one.of)
        raise PropertyError(f"{words}{place}" if words else reason(error, file)) from error


def _place(entry_class: type, of: str) -> str:
    """The file and line of the class's own function that a property is about; of the class if it has none."""
    thing: Any = inspect.getattr_static(entry_class, of, entry_class)
    owner = next((each for each in entry_class.__mro__ if of in vars(each)), entry_class)
    if not inspect.isfunction(thing) or owner.__module__.startswith("bench."):
        thing, of = entry_class, entry_class.__name__
    try:
        lines, first = inspect.getsourcelines(thing)
        shift = next((index for index, line in enumerate(lines) if line.lstrip().startswith(("def ", "class "))), 0)
        return f" ({Path(inspect.getsourcefile(thing) or '').name}:{first + shift} in {of})"
    except (OSError, TypeError):
        return ""
