"""`bench compare`: methods over the workloads of several suites, reports, imports and files at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli.options import AllowCode, LossOption, StoreOption, UriOption, WideOption
from bench.cli.shared import DEFAULT_STORE, open_store, say
from bench.errors import UsageError
from bench.files import make_folder, write_file

if TYPE_CHECKING:
    from analysis.across.ranking import AcrossBoard

FORMATS = ("png", "pdf")  # of figures, beside SVG
PROFILES, RANKS = FIGURES = ("profiles", "ranks")  # which some comparisons lack

SidesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SIDE...",
        help="suite files, suites or imports of the store by name, folders of reports, CSV or Parquet files",
    ),
]
FormatOption = Annotated[Literal["table", "csv", "json", "md", "latex"], typer.Option("--format")]
AnyScoreOption = Annotated[str, typer.Option("--score", help="any score that needs no traces, as bench scores has it")]
KeepSameOption = Annotated[
    bool,
    typer.Option("--keep-same", help="also the conditions whose runs an earlier side has, which else count once"),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="folder for every table as CSV and the figures, made if missing")
]


def add_compare_command(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    sides: SidesArgument,
    score: AnyScoreOption = "lr_sensitivity",
    format: FormatOption = "table",
    wide: WideOption = False,
    keep_same: KeepSameOption = False,
    out: OutOption = None,
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Say which methods are best over several workloads, and which of them can't be told apart.

    Each workload of each side counts by itself, and so does each optimizer and setting of the knobs that a side has:
    these are the conditions. Methods are matched by name, and those on every condition are ranked. Prints their scores,
    mean ranks and performance profiles, Friedman's test with Nemenyi's critical difference, and whether other scores
    agree on the order. The test is over workloads: conditions of one share its data and seeds, so a method's ranks are
    averaged over them first.
    """
    from analysis.across.conditions import conditions
    from analysis.across.ranking import across_board, compared_score
    from analysis.labels import merged
    from bench.results.named import compared_subjects

    compared_score(score)  # before anything is read
    if out is not None:
        _make(out)
    subjects = compared_subjects(sides, open_store(store, tracking_uri), loss=loss, allow_code=allow_code)
    frames = {name: one.compared for name, one in subjects.items()}
    labels = merged(one.labels for one in subjects.values())
    board = across_board(conditions(frames, loss, keeps_same=keep_same), score, labels)
    _print(board, format, is_wide=wide)
    if out is not None:
        written = _write(board, out)
        for path in written:
            say(str(path))
        _remove_stale(out, written)


def _make(out: Path) -> None:
    try:
        make_folder(out)
    except OSError as error:
        raise UsageError(f"--out {out}: required a folder, or a place to make one: {error.strerror}") from None


def _print(board: AcrossBoard, format: str, *, is_wide: bool) -> None:
    from analysis.tables.across import board_csv, board_json, board_latex, board_markdown, verdict

    forms: dict[str, Callable[[AcrossBoard], str]] = {
        "table": lambda board: _terminal(board, is_wide=is_wide),
        "csv": board_csv,
        "json": board_json,
        "md": board_markdown,
        "latex": board_latex,
    }
    print(forms[format](board), end="")
    if format == "csv":
        say("\n".join(board.labels.plain.in_texts(verdict(board))))


def _terminal(board: AcrossBoard, *, is_wide: bool) -> str:
    from analysis.tables.across import board_tables, reading_note, verdict
    from bench.cli.terminal import sentences_text, table_text

    parts = [table_text(table, numbers="left", is_wide=is_wide) for table in board_tables(board)]
    said = sentences_text(board.labels.plain.in_texts(verdict(board)), is_wide=is_wide)
    return "\n".join([*parts, f"{said}\n{sentences_text([reading_note(board)], is_wide=is_wide)}"])


def _remove_stale(out: Path, written: list[Path]) -> None:
    """Removes the figures of an earlier comparison that this one has not."""
    for path in (out / f"{name}.{form}" for name in FIGURES for form in ("svg", *FORMATS)):
        if path not in written and path.exists():
            path.unlink()
            say(f"{path}: removed, this comparison has none")


def _write(board: AcrossBoard, out: Path) -> list[Path]:
    """Every frame as CSV, and the figures that there are."""
    from analysis.across.ranking import REACHES
    from analysis.figures.lr_loss import save_spec
    from analysis.figures.profiles import profile_plot
    from analysis.figures.rank_diagram import rank_diagram
    from analysis.figures.style.named import named_spec
    from analysis.scores.kinds import SCORE_KINDS
    from analysis.tables.across import board_frames
    from analysis.tables.forms.csv_text import csv_text

    paths = []
    for name, frame in board_frames(board).items():
        paths.append(out / f"{name}.csv")
        write_file(paths[-1], csv_text(frame))
    kind, num_conditions = SCORE_KINDS[board.score], board.conditions.height
    title = f"{kind.title} over {num_conditions} conditions"
    if board.profiles.height:
        reach = REACHES[kind.unit]
        subtitle = (
            f"no step lies between the end of the axis and τ = {reach.end:.3g}, up to which profiles are integrated"
        )
        chart = profile_plot(board.profiles, title=title, subtitle=subtitle, distance=reach.words)
        paths += save_spec(named_spec(chart.to_dict(), board.labels.plain), out, PROFILES, FORMATS)
    if board.test is not None:
        how = "exact" if board.test.p_is_exact else "by chi-square"
        subtitle = (
            f"Mean ranks over {board.test.num_workloads} independent workloads; Friedman's test: p "
            f"{board.test.p_value:.2g} ({how}); bars join methods that are not separated"
        )
        chart = rank_diagram(
            board.test.mean_ranks,
            board.groups,
            title=title,
            subtitle=subtitle,
            critical_difference=board.test.critical_difference,
        )
        paths += save_spec(named_spec(chart.to_dict(), board.labels.plain), out, RANKS, FORMATS)
    return paths
