"""Import other people's runs: from a file into the store of record, marked as imported.

A file is an import, named as the file. Its runs stand in a suite of their own, or beside the trials of a suite of ours.
The same import again replaces its runs: what did not change stays as it is.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.scores.leaderboard import leaderboard
from analysis.subject import Subject
from bench.errors import UsageError
from bench.imports.runs import ABSENT, ImportedRuns, Reading, imported_runs
from bench.imports.tidy_file import TidyFile
from bench.results.imports_delivery import put_import
from bench.results.stored import Stored
from bench.results.subjects import NO_GRID
from bench.store import Store, own_trials, read_imports, records
from bench.suite import Suite, shipped_names
from bench.suite.errors import suggest
from bench.trial import KINDS, KNOB_NAMES

SUITE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did to the store, and the leaderboard that its runs stand on."""

    name: str
    runs: ImportedRuns
    subject: Subject
    num_new: int
    num_replaced: int
    num_removed: int

    @property
    def is_unchanged(self) -> bool:
        return self.num_new + self.num_replaced + self.num_removed == 0


def import_runs(
    file: TidyFile,
    store: Store,
    *,
    beside: Stored | None,
    workload: str | None = None,
    initial_loss: float | None = None,
    settings: tuple[str, ...] = (),
    blown_up_margin: float | None = None,
    replaces: bool = False,
    score: str = "lr_sensitivity",
    loss: str = "train",
) -> Imported:
    """Put the runs of a file into the store and publish their leaderboard; the same file again changes nothing.

    beside: a suite of ours, beside whose trials they stand, or the name of imports alone (None: the file's).
    blown_up_margin: of these runs, kept with the import; None: that of the suite, or bench.trial.BLOWN_UP_MARGIN.

    replaces: whether the runs of another file of the same name may go; a corrected file in the same place replaces its
    own.

    Raises UsageError for a file that is not right, before anything is stored, for a name that our own trials or another
    file have, and while the suite is being run.
    """
    name, stored = _place(file, beside)
    options = {"workload": workload, "initial_loss": initial_loss, "settings": settings}
    runs = check_runs(file, beside=beside, score=score, loss=loss, **options)
    store.create()
    if not replaces:
        _refuse_other_file(store, stored.name, name, file)
    if stored.suite is None:
        _refuse_own_trials(store, stored.name)
    texts = {result.trial.id: records.result_text(records.trial_tags(result)) for result in runs.results}
    record = _record(file, runs, blown_up_margin)
    held, subject = put_import(runs, texts, store, name=name, record=record, stored=stored)
    return Imported(
        name=name,
        runs=runs,
        subject=subject.scored_as(score, loss),
        num_new=len(texts.keys() - held.keys()),
        num_replaced=sum(held[trial_id] != texts[trial_id] for trial_id in held.keys() & texts.keys()),
        num_removed=len(held.keys() - texts.keys()),
    )


def check_runs(
    file: TidyFile,
    *,
    beside: Stored | None,
    workload: str | None = None,
    initial_loss: float | None = None,
    settings: tuple[str, ...] = (),
    blown_up_margin: float | None = None,
    score: str = "lr_sensitivity",
    loss: str = "train",
) -> ImportedRuns:
    """The runs that `import_runs` would store; parameters, and errors of a file, as there."""
    name, stored = _place(file, beside)
    runs = _read(file, name, stored, workload, initial_loss, settings)
    leaderboard(runs.frame, score, loss)  # what can't be scored is not stored
    return runs


def _place(file: TidyFile, beside: Stored | None) -> tuple[str, Stored]:
    """The name of the import of a file, and what it stands in."""
    name = _import_name(file)
    stored = Stored(name=name, suite=None) if beside is None else beside
    _check_name(stored)
    return name, stored


def _read(
    file: TidyFile,
    name: str,
    stored: Stored,
    workload: str | None,
    initial_loss: float | None,
    settings: tuple[str, ...],
) -> ImportedRuns:
    """The runs of the file, and beside a suite's trials on one of its workloads."""
    absent = ABSENT if stored.suite is None else {**ABSENT, **_same_as(stored.suite, workload)}
    has_company = stored.suite is not None or stored.name != name
    reading = Reading(
        name=name,
        workload=workload,
        initial_loss=initial_loss,
        settings=settings,
        absent=absent,
        label=(lambda method: f"{method}(imported={name})") if has_company else str,
    )
    runs = imported_runs(file, reading)
    if stored.suite is not None:
        _check_workloads(file, runs, stored.suite)
    return runs


def _same_as(suite: Suite, workload: str | None) -> dict[str, Any]:
    """What all trials of a suite, or of its workload, have in common; it counts where a file is silent."""
    if suite.search is not None:
        raise UsageError(NO_GRID.format(name=suite.name))
    trials = [trial for trial in suite.expand() if workload in (None, trial.workload.label)]
    common: dict[str, set[Any]] = {"num_steps": {trial.num_steps for trial in trials}}
    for kind in (kind for kind in KINDS if kind != "method"):
        common[kind] = {trial.labels[kind] for trial in trials}
    for name in KNOB_NAMES[1:]:
        common[name] = {getattr(trial.knobs, name) for trial in trials}
    return {name: values.pop() for name, values in common.items() if len(values) == 1}


def _check_workloads(file: TidyFile, runs: ImportedRuns, suite: Suite) -> None:
    labels = [choice.label for choice in suite.entries["workloads"]]
    for row, result in enumerate(runs.results, 1):
        label = result.trial.workload.label
        if label not in labels:
            raise UsageError(
                f"{file.file_name}: row {row}, column 'workload': {label!r}; required a workload of suite "
                f"{suite.name!r}, here or by --workload: {suggest(label, labels, existing='there are')}"
            )


def _record(file: TidyFile, runs: ImportedRuns, blown_up_margin: float | None) -> dict[str, Any]:
    """What is kept of an import: plain data for JSON."""
    margin = {} if blown_up_margin is None else {"blown_up_margin": blown_up_margin}
    notes = {"notes": list(file.notes)} if file.notes else {}
    traces = {"traces": len(runs.traces)} if runs.traces else {}
    return (
        margin
        | notes
        | traces
        | {
            "file": file.name,
            "sha256": file.sha256,
            "place": file.place,
            "sources": list(runs.sources),
            "num_runs": len(runs.results),
            "assumed": {name: plain_value(value) for name, value in runs.assumed.items()},
        }
    )


def plain_value(value: Any) -> Any:
    """A value that stands for what a file leaves out, as messages and JSON show it."""
    if value is None:
        return "unknown"
    return "off" if value == math.inf else value


def _import_name(file: TidyFile) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(file.name).stem).lstrip("_.-")[:100] or "runs"


def _check_name(stored: Stored) -> None:
    if stored.suite is None and stored.name in shipped_names():
        raise UsageError(
            f"{stored.name} is a shipped suite, whose board that name shows; required another name of the file, or "
            f"`--suite NAME` to import under"
        )
    if stored.suite is None and not re.fullmatch(SUITE_NAME, stored.name):
        raise UsageError(
            f"--suite {stored.name!r}: required a suite file, or a name of letters, digits, _ - . to import under"
        )


def _refuse_own_trials(store: Store, suite_name: str) -> None:
    if own := own_trials(store, suite_name):
        raise UsageError(
            f"{store.shown_uri}: suite {suite_name!r} has {len(own)} trials of our own; required --suite with its "
            "file, to stand beside them, or another name"
        )


def _refuse_other_file(store: Store, suite_name: str, name: str, file: TidyFile) -> None:
    """Raises UsageError where the import of this name is of another file: of other content, from another place."""
    held = read_imports(store, suite_name).get(name)
    if held is not None and held["sha256"] != file.sha256 and ("place" not in held or held["place"] != file.place):
        raise UsageError(
            f"{file.file_name}: import {name!r} holds {held['num_runs']} runs of another file of that name (sha256 "
            f"{held['sha256'][:12]}, this one {file.sha256[:12]}); required a file of another name, or --replace"
        )
