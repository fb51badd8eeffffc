"""Options of runs that end early, and what is said of them. Heavy imports happen inside functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.streams import prints_aside

if TYPE_CHECKING:
    from bench.driver.summary import Summary
    from bench.results.thresholds import Abort
    from bench.store import Store
    from bench.suite import Suite

NO_DETECTOR = "--warnings-of names thresholds for --abort-on-warning, which is not given; name both"

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
            raise UsageError(NO_DETECTOR)
        return None
    with prints_aside():
        return thresholds.read_abort(loaded, detector, source, opened, allow_code=allow_code)


def is_file(source: str) -> bool:
    """Whether --warnings-of names a file, and no suite of the store."""
    return source.endswith(".csv")


def abort_words(loaded: Suite, detector: str | None, source: str | None) -> list[str]:
    """The options of `bench run` that say the same in a job, in whose folder the file of thresholds lies.

    Raises UsageError for a detector that can't abort the suite's runs, and for a file that has no thresholds for them.
    """
    from bench.errors import UsageError
    from bench.results import thresholds

    if detector is None:
        if source is not None:
            raise UsageError(NO_DETECTOR)
        return []
    thresholds.check_detector(loaded, detector)
    if source is None:
        return ["--abort-on-warning", detector]
    if is_file(source):
        thresholds.abort_by(loaded, detector, thresholds.read_board(Path(source)), source)
    return ["--abort-on-warning", detector, "--warnings-of", Path(source).name if is_file(source) else source]


def stopped_words(summary: Summary) -> str:
    """What a detector aborted and a rule pruned, in words; empty if nothing."""
    from analysis.subject import Subject
    from analysis.tables.causes.aborts import abort_sentence

    pruned = f", {summary.progress.pruned} pruned" if summary.progress and summary.progress.pruned else ""
    if not summary.progress or not summary.progress.aborted:
        return pruned
    sentence = abort_sentence(summary.subject.aborts) if isinstance(summary.subject, Subject) else ""
    return f", {summary.progress.aborted} aborted{sentence and f' ({sentence})'}{pruned}"
