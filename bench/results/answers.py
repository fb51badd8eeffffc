"""The answers of a suite's searches and their decision trail: on MLflow, as a table, as a report folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from analysis.figures.lr_loss import FIGURE_FORMATS
from analysis.report.provenance import provenance_of
from analysis.report.search_folder import write_search_report
from analysis.tables.markdown import table_markdown
from analysis.tables.table import Table, columns, plain_cell
from bench.errors import UsageError
from bench.lazy import polars
from bench.results.standings import Standing, answers, groups, stand, trail
from bench.store import Store, Tracker, read_manifest, read_results
from bench.suite import Suite

SHOWN = ("workload", "method", "optimizer", "knobs", "value", "ci_low", "ci_high", "unit", "best_value", "num_trials",
         "num_trials_to_target", "flags")  # fmt: skip
NUM_NAMES = 4  # of SHOWN
PAGE_FORMATS = ("html",)  # of its figures; the page itself holds them as SVG


@dataclass(frozen=True, kw_only=True)
class SearchBoard:
    """answers: ANSWER_COLUMNS; trail: TRAIL_COLUMNS; num_missing: trials that the last rounds still wait for."""

    answers: polars.DataFrame
    trail: polars.DataFrame
    num_missing: int


def read_search(suite: Suite, store: Store) -> SearchBoard:
    """Where the searches of a suite stand. Raises UsageError if none has a result."""
    rows = {row["trial_id"]: row for row in read_results(store, suite.name).iter_rows(named=True)}
    standings: list[Standing] = [stand(group, rows) for group in groups(suite)]
    if not any(standing.points for standing in standings):
        raise UsageError(f"{store.shown_uri}: no round of suite {suite.name!r} is finished yet; run it first")
    begun = [standing for standing in standings if standing.points]
    return SearchBoard(
        answers=answers(begun),
        trail=trail(standings, rows),
        num_missing=sum(trial.id not in rows for standing in standings for trial in standing.missing),
    )


def publish_search(suite: Suite, store: Store, tracker: Tracker) -> SearchBoard:
    """Put the answers on the method runs; answers, every decision and their page on the suite run."""
    board = read_search(suite, store)
    tracker.log_leaderboard(board.answers.drop("num_rounds"))
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(suite, store, board, Path(folder), formats=PAGE_FORMATS, is_linked=False)
        names = {"index.html": "search.html"}
        kept = [path for path in paths if path.suffix in (".csv", ".html", ".md")]
        files: dict[str, Path | str] = {
            names.get(path.name, path.relative_to(folder).as_posix()): path for path in kept
        }
        told = "Every decision and its reason: `search.html` and `trail.csv` under Artifacts."
        tracker.log_page(f"{suite.description}\n\n{markdown(suite, board)}\n{told}\n", files)
    return board


def markdown(suite: Suite, board: SearchBoard) -> str:
    """The answers as a table."""
    assert suite.search is not None
    titles = tuple(name for name in SHOWN if board.answers[name].is_not_null().any())
    rows = tuple(
        tuple("" if cell is None else plain_cell(cell) for cell in row)
        for row in board.answers.select(titles).iter_rows()
    )
    heading = f"{suite.search.name} search over {suite.search.knob}"
    return table_markdown(Table(heading=heading, columns=columns(*titles, num_names=NUM_NAMES), rows=rows))


def report_search(suite: Suite, store: Store, out: Path) -> list[Path]:
    """Write the report folder of a suite's searches; the paths written, the page first."""
    return _write(suite, store, read_search(suite, store), out)


def _write(
    suite: Suite,
    store: Store,
    board: SearchBoard,
    out: Path,
    *,
    formats: Collection[str] = tuple(FIGURE_FORMATS),
    is_linked: bool = True,
) -> list[Path]:
    manifest = read_manifest(store, suite.name)
    num_asked = board.trail.height
    return write_search_report(
        board.answers,
        board.trail,
        out,
        title=suite.name,
        provenance=provenance_of(
            json.loads(manifest or "{}"),
            description=suite.description or suite.name,
            trials=f"{num_asked - board.num_missing} of the {num_asked} asked for are finished",
            seeds=suite.seeds,
        ),
        manifest=manifest,
        formats=formats,
        is_linked=is_linked,
    )
