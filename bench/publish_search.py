"""The answers of a suite's searches and their decision trail: on MLflow, as a table, as a report folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from analysis.figures.chart_style import Chart
from analysis.figures.knobs import edge_plot
from analysis.figures.lr_loss import FIGURE_FORMATS, save
from analysis.plain_table import PlainTable, plain_markdown
from bench.errors import UsageError
from bench.lazy import polars
from bench.searching import Standing, answers, groups, stand, trail
from bench.suite import Suite
from bench.tracking import Store, Tracker, read_manifest, read_results

SHOWN = ("workload", "method", "optimizer", "knobs", "value", "ci_low", "ci_high", "unit", "best_value", "num_trials",
         "num_trials_to_target", "flags")  # fmt: skip
NUM_NAMES = 4  # of SHOWN


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
    """Put the answers on the method runs; answers, trail and the plot of the answers on the suite run."""
    board = read_search(suite, store)
    tracker.log_leaderboard(board.answers.drop("num_rounds"))
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(suite, board, Path(folder))
        files: dict[str, Path | str] = {path.name: path for path in paths if path.suffix in (".csv", ".html")}
        told = "Every decision and its reason: `trail.csv` under Artifacts."
        tracker.log_page(f"{suite.description}\n\n{markdown(suite, board)}\n{told}\n", files)
    return board


def markdown(suite: Suite, board: SearchBoard) -> str:
    """The answers as a table."""
    assert suite.search is not None
    titles = tuple(name for name in SHOWN if board.answers[name].is_not_null().any())
    rows = [[_cell(row[name]) for name in titles] for row in board.answers.iter_rows(named=True)]
    heading = f"{suite.search.name} search over {suite.search.knob}"
    return plain_markdown(PlainTable(heading=heading, titles=titles, rows=tuple(map(tuple, rows)), num_names=NUM_NAMES))


def report_search(suite: Suite, store: Store, out: Path) -> list[Path]:
    """Write answers, trail, manifest and the plot of the answers into a folder; the paths, the table first."""
    out.mkdir(parents=True, exist_ok=True)
    written = _write(suite, read_search(suite, store), out)
    (out / "manifest.json").write_text(read_manifest(store, suite.name) or "{}", encoding="utf-8", newline="\n")
    return [*written, out / "manifest.json"]


def _write(suite: Suite, board: SearchBoard, out: Path) -> list[Path]:
    texts = {
        "search.md": markdown(suite, board),
        "search.csv": board.answers.write_csv(),
        "search.json": board.answers.write_json() + "\n",
        "trail.csv": board.trail.write_csv(),
    }
    written = []
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")
        written.append(out / name)
    assert suite.search is not None
    if suite.search.name == "edge":
        for number, ((*place,), rows) in enumerate(
            board.answers.group_by("workload", "optimizer", "knobs", maintain_order=True), start=1
        ):
            subtitle = ", ".join(str(name) for name in place if name)
            chart = _edge_chart(rows, suite.search.knob, subtitle)
            if chart is not None:
                name = "edges" if number == 1 else f"edges-{number}"
                written += [save(chart, out / f"{name}.{suffix}") for suffix in FIGURE_FORMATS]
    return written


def _edge_chart(rows: polars.DataFrame, knob: str, subtitle: str) -> Chart | None:
    """None where no search found an edge."""
    column = polars.col
    found = rows.filter(~column("value").is_nan()).select(
        "method",
        "value",
        low=polars.when(column("ci_low") > 0).then("ci_low"),
        high=polars.when(~column("ci_high").is_nan()).then("ci_high"),
    )
    if not found["value"].is_finite().any():
        return None
    title = f"Largest stable {knob} of each method, with 95% intervals"
    return edge_plot(found, title=title, subtitle=subtitle, knob=knob)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
