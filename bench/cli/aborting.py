"""Options of runs that a detector aborts, and what is said of them. Heavy imports happen inside functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.streams import prints_aside

if TYPE_CHECKING:
    from bench.driver.summary import Summary
    from bench.results.thresholds import Abort
    from bench.store import Store
    from bench.suite import Suite

AbortOption = Annotated[
    str | None,
    typer.Option(
        "--abort-on-warning",
        metavar="DETECTOR",
        help="freeze a run at the first alarm of this detector; it has no result, and a run without this trains it on",
    ),
]
WarningsOption = Annotated[
    str | None,
    typer.Option(
        "--warnings-of",
        metavar="SUITE|CSV",
        help="where the detector's thresholds are: a suite in the store, or what `bench warnings --format csv` wrote; "
        "else the suite's own results so far",
    ),
]


def read_abort(
    loaded: Suite, detector: str | None, source: str | None, opened: Store, *, allow_code: bool
) -> Abort | None:
    """What aborts runs, of the options --abort-on-warning and --warnings-of."""
    from bench.errors import UsageError
    from bench.results import thresholds

    if detector is None:
        if source is not None:
            raise UsageError("--warnings-of names thresholds for --abort-on-warning, which is not given")
        return None
    with prints_aside():
        return thresholds.read_abort(loaded, detector, source, opened, allow_code=allow_code)


def aborted_words(summary: Summary) -> str:
    """What a detector aborted, in words; empty if nothing."""
    from analysis.subject import Subject
    from analysis.tables.causes.aborts import abort_sentence

    if not summary.progress or not summary.progress.aborted:
        return ""
    sentence = abort_sentence(summary.subject.aborts) if isinstance(summary.subject, Subject) else ""
    return f", {summary.progress.aborted} aborted{sentence and f' ({sentence})'}"
