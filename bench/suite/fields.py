"""What the fields of a suite hold: entries as choices, seeds, and what validation knows beside the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator, ValidationInfo

from bench.entry import load_class
from bench.probes import DEFAULT_PROBES
from bench.suite.entry import resolve
from bench.suite.errors import problem, reject, show
from bench.suite.file import Document
from bench.suite.kinds import ENTRY_FIELDS
from bench.suite.knobs import distinct, listed
from bench.trial import Choice
from bench.workloads import WORKLOADS

MAX_TRIALS = 1_000_000
PATH_ADVICE = (
    "a suite from elsewhere must not read what it likes: link the data below it, or `bench data prepare` it there"
)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What validation knows beside the data: the file that it came from, and whether its code may be imported."""

    document: Document | None = None
    allow_code: bool = False


def seeds_of(value: Any) -> Any:
    """A count as the seeds from 0; a list as it is."""
    if isinstance(value, bool) or not isinstance(value, int | list | tuple):
        reject(problem(f"seeds must be a count or a list of whole numbers, got {show(value)}", value=value))
    if isinstance(value, int):
        if not 1 <= value <= MAX_TRIALS:
            reject(problem(f"seeds must be a count from 1 to {MAX_TRIALS:,}, got {show(value)}", value=value))
        return tuple(range(value))
    return tuple(value)


def choice_of(value: Any, info: ValidationInfo) -> Choice:
    """The choice that an entry of the field stands for."""
    assert info.field_name is not None
    kind = ENTRY_FIELDS[info.field_name]
    document = None if info.context is None else info.context.document
    folder = None if document is None else document.folder
    choice = resolve(kind, value, allow_code=info.context is not None and info.context.allow_code, folder=folder)
    if kind.word == "workload" and info.context is not None and info.context.document is not None:
        for name, path in leaving_paths(choice):
            reject(problem(f"{name} {show(path)} leaves the folder that suites run in; {PATH_ADVICE}", loc=(name,)))
    return choice


def leaving_paths(choice: Choice) -> list[tuple[str, str]]:
    """Parameters of a workload that name something outside of the working directory."""
    values = [(name, choice.params[name]) for name in load_class(WORKLOADS.get(choice.name, choice.name)).paths]
    return [(name, path) for name, path in values if path.startswith(("/", "~")) or ".." in PurePath(path).parts]


def _write_choice(choice: Choice) -> dict[str, Any]:
    return {"name": choice.name, **choice.params}


def are_default_probes(probes: tuple[Choice, ...]) -> bool:
    return {(probe.label, probe.digest) for probe in probes} == {(name, "") for name in DEFAULT_PROBES}


# The entries of a kind, under the field that names the kind.
Entry = Annotated[Choice, PlainValidator(choice_of), PlainSerializer(_write_choice)]
Entries = Annotated[tuple[Entry, ...], BeforeValidator(listed), AfterValidator(distinct)]
