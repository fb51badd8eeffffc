"""What a SUITE argument names: a suite by its file, a shipped one, one whose text the store keeps, or imports."""

from __future__ import annotations

from dataclasses import dataclass

from bench.errors import UsageError
from bench.store import Store, imported_trials, own_trials, read_imports, read_suite_text, read_workloads, suite_names
from bench.suite import Document, Suite, find_suite, parse_document, read_document, suite_of
from bench.suite.entry import identity
from bench.suite.entry_class import LOOKED_IN


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A name in the store and the suite of that name; None where runs of others alone are kept under it."""

    name: str
    suite: Suite | None

    @classmethod
    def of(cls, suite: Suite) -> Stored:
        """A suite under its own name."""
        return cls(name=suite.name, suite=suite)


def find_stored(text: str, store: Store, *, allow_code: bool) -> Stored:
    """What `text` names: a suite file, a shipped suite, or a name in the store, of a suite that was run or of imports.

    A file goes before what the store keeps. Raises UsageError if it names nothing, and for a suite that was run before
    stores kept the text of suites.
    """
    missing = _why_no_file(text)
    if missing and not is_path(text) and (store.database is None or store.database.exists()):
        if (suite := stored_suite(text, store, allow_code=allow_code)) is not None:
            return Stored.of(suite)
        if holds_imports(store, text):
            return Stored(name=text, suite=None)
        if imported := suites_of_imports(store):
            raise UsageError(f"{missing}; imported into {store.shown_uri}: {', '.join(imported)}")
    return Stored.of(suite_as_run(read_document(find_suite(text)), store, allow_code=allow_code))


def stored_suite(name: str, store: Store, *, allow_code: bool) -> Suite | None:
    """The suite of this name as it was last run, from the text that the store keeps of it; None if it keeps none.

    Raises UsageError for one that can't be read any more, as where its code or data are not found from here: which
    folder its file lies in is nothing that a store tells.
    """
    text = read_suite_text(store, name)
    if text is None:
        return None
    try:
        document = parse_document(text, f"suite {name} in {store.shown_uri}")
        return suite_as_run(document, store, allow_code=allow_code)
    except UsageError as error:
        if LOOKED_IN not in str(error):
            raise
        raise UsageError(
            f"{error}\nthe store keeps the text of suite {name}, not its folder: name its file, or go where it lies"
        ) from None


def suite_as_run(document: Document, store: Store, *, allow_code: bool) -> Suite:
    """A suite for reading what the store holds of it, wherever that was trained.

    Data are part of what a trial is. Where a suite's are not here, or are others than those that all its trials in the
    store were trained on, the suite stands for theirs, and the store warns that it does.
    """
    suite, broken = None, None
    try:
        suite = suite_of(document, allow_code=allow_code)
    except UsageError as error:
        broken = error
    if suite is not None and not any(workload.digest for workload in suite.entries["workloads"]):
        return suite
    as_run = _with_recorded_data(document, suite, store, allow_code=allow_code) or suite
    if as_run is None:
        assert broken is not None
        raise broken
    return as_run


def _with_recorded_data(document: Document, suite: Suite | None, store: Store, *, allow_code: bool) -> Suite | None:
    """The suite with the data of its trials in the store; None if it holds some of `suite`, or none that way either."""
    name = document.data.get("name")
    is_there = store.database is None or store.database.exists()
    if not is_there or not isinstance(name, str):
        return None
    held = own_trials(store, name)
    if not held or (suite is not None and held & _ids(suite)):
        return None
    recorded = {identity(one.name, one.params): one.digest for one in read_workloads(store, name)}
    try:
        as_run = suite_of(document, allow_code=allow_code, recorded=recorded)
    except UsageError:
        return None
    if not held & _ids(as_run):
        return None
    where = "that are not here" if suite is None else "that differ from those here"
    store.warn(f"{store.shown_uri}: suite {name} was trained on data {where}; its results are read as they are")
    return as_run


def _ids(suite: Suite) -> set[str]:
    """Ids of the suite's trials; of a search, of those that it begins with."""
    return {trial.id for trial in suite.expand()}


def is_path(text: str) -> bool:
    """Whether it can only be a suite file, and no name in a store."""
    return "/" in text or text.endswith((".yaml", ".yml"))


def holds_imports(store: Store, name: str) -> bool:
    """Whether runs of others, and none of ours, are kept under this name.

    Raises UsageError for one with trials of ours, which their suite alone tells from what else they stand among.
    """
    if own := own_trials(store, name):
        raise UsageError(
            f"{name}: {store.shown_uri} has {len(own)} trials of this suite that were trained here; required its file"
        )
    return bool(imported_trials(store, name))


def suites_of_imports(store: Store) -> list[str]:
    """Names that runs of others were imported under."""
    return [name for name in suite_names(store) if read_imports(store, name)]


def _why_no_file(text: str) -> str:
    """Why it names no suite file and no shipped suite; empty if it does."""
    try:
        return "" if find_suite(text).is_file() else f"{text}: required a suite file"
    except UsageError as error:
        return str(error)
