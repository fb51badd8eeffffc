"""How each kind of subject is shown: its board as text, its report folder, and what MLflow's page of it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analysis.across.comparison import compare, rank_correlations, unranked
from analysis.losses import unscored_held_out
from analysis.scores.controls import CONTROL_COLUMNS
from analysis.scores.seeds.rank_ranges import rank_texts
from analysis.subject import AnySubject, BoxSubject, SearchSubject, Subject
from analysis.tables.box import board_group
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.markdown import group_markdown, table_markdown
from analysis.tables.forms.named import named_group
from analysis.tables.forms.table import Table, columns, plain_cell
from analysis.tables.leaderboard import board_text, terminal_frames
from analysis.tables.published import comparison_text

# Of ANSWER_COLUMNS, in a table for people; the first NUM_NAMES are names.
ANSWERS_SHOWN = ("workload", "method", "optimizer", "knobs", "value", "ci_low", "ci_high", "unit", "best_value",
                 "best_setting", "num_trials", "num_trials_to_target", "flags")  # fmt: skip
NUM_NAMES = 4
DECISIONS_NOTE = "Every decision and its reason: `search.html` and `trail.csv` under Artifacts."


@dataclass(frozen=True, kw_only=True)
class View:
    """The doors of a kind of subject.

    forms: its board as text, by --format. frames: the same as a terminal's tables. remarks: what else is said of it.
    page: what MLflow calls the report's page.
    page_text: the Markdown above that, of the subject and the report's folder. asks: what its suite does, in words.
    refused: of --compare, --score and --loss those that mean nothing.
    """

    forms: Mapping[str, Callable[[Any], str]]
    frames: Callable[[Any], list[pl.DataFrame]]
    remarks: Callable[[Any], list[str]]
    page: str
    page_text: Callable[[Any, Path], str]
    asks: str
    refused: tuple[str, ...]


def view_of(subject: AnySubject) -> View:
    """How it is shown."""
    return VIEWS[type(subject)]


def answers_markdown(subject: SearchSubject) -> str:
    """The answers as a table."""
    answers = subject.labels.plain.in_frame(subject.answers)
    titles = tuple(name for name in ANSWERS_SHOWN if answers[name].is_not_null().any())
    rows = tuple(
        tuple("" if cell is None else plain_cell(cell) for cell in row) for row in answers.select(titles).iter_rows()
    )
    return table_markdown(Table(heading=subject.question, columns=columns(*titles, num_names=NUM_NAMES), rows=rows))


def _board_text(form: str) -> Callable[[Subject], str]:
    """The leaderboard in a form of FORMATS, or beside the published numbers if the subject has some."""

    def text(subject: Subject) -> str:
        if subject.published is None:
            return board_text(subject.board, form, subject.labels)
        return comparison_text(compare(subject.board, subject.published), form, subject.labels)

    return text


def _board_frames(subject: Subject) -> list[pl.DataFrame]:
    if subject.published is None:
        return terminal_frames(subject.board)
    return [compare(subject.board, subject.published).drop("at_chance", "is_variant")]


def _remarks(subject: Subject) -> list[str]:
    """Why held-out losses have no scores, and how the order compares with published numbers."""
    return [*unscored_held_out(subject.results).values(), *_rank_correlations(subject)]


def _rank_correlations(subject: Subject) -> list[str]:
    """How far the order of methods is that of the published numbers, a line a workload and optimizer; who lacks one."""
    if subject.published is None:
        return []
    compared = compare(subject.board, subject.published)
    left_out = unranked(compared)
    return [
        f"{row['workload']}, {row['optimizer']}: rank correlation over {row['num_methods']} methods: "
        f"Spearman {_correlation(row['spearman'])}, Kendall {_correlation(row['kendall'])}"
        for row in rank_correlations(compared).iter_rows(named=True)
    ] + ([left_out] if left_out else [])


def _correlation(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _answers_frames(subject: SearchSubject) -> list[pl.DataFrame]:
    answers, front = subject.answers, subject.front
    present = answers.select(name for name in answers.columns if answers[name].is_not_null().any())
    return [present, front] if front.height else [present]


def _board_page(subject: Subject, folder: Path) -> str:
    return f"{(folder / 'leaderboard.md').read_text(encoding='utf-8')}\n{subject.description}\n"


def _answers_page(subject: SearchSubject, folder: Path) -> str:
    return f"{subject.description}\n\n{answers_markdown(subject)}\n{DECISIONS_NOTE}\n"


def _box_frames(subject: BoxSubject) -> list[pl.DataFrame]:
    """The board with rank ranges as text, without what controls alone have."""
    board = subject.board
    named = [name for name in ("optimizer", "knobs") if board[name].n_unique() > 1]
    dropped = {"rank", "rank_worst", "method", "workload", "optimizer", "knobs", *CONTROL_COLUMNS}
    numbers = [name for name in board.columns if name not in dropped]
    ranked = board.with_columns(rank=rank_texts(board))
    return [ranked.select("workload", "rank", "method", *named, *numbers)]


def _box_remarks(subject: BoxSubject) -> list[str]:
    from analysis.report.box import box_sentences

    return box_sentences(subject)


def _box_markdown(subject: BoxSubject) -> str:
    return group_markdown(named_group(board_group(subject.board), subject.labels.plain))


def _box_page(subject: BoxSubject, folder: Path) -> str:
    lines = (*subject.labels.plain.in_texts(_box_remarks(subject)), _box_markdown(subject), subject.description)
    return "\n\n".join(lines) + "\n"


VIEWS: dict[type, View] = {
    Subject: View(
        forms={"md": _board_text("markdown"), **{form: _board_text(form) for form in ("csv", "json", "latex", "html")}},
        frames=_board_frames,
        remarks=_remarks,
        page="leaderboard.html",
        page_text=_board_page,
        asks="trains a grid",
        refused=(),
    ),
    SearchSubject: View(
        forms={
            "md": answers_markdown,
            "csv": lambda subject: csv_text(subject.answers),
            "json": lambda subject: subject.answers.write_json() + "\n",
        },
        frames=_answers_frames,
        remarks=lambda subject: [],
        page="search.html",
        page_text=_answers_page,
        asks="asks for a search",
        refused=("--compare", "--score", "--loss"),
    ),
    BoxSubject: View(
        forms={
            "md": _box_markdown,
            "csv": lambda subject: csv_text(subject.board),
            "json": lambda subject: subject.board.write_json() + "\n",
        },
        frames=_box_frames,
        remarks=_box_remarks,
        page="box.html",
        page_text=_box_page,
        asks="draws a box",
        refused=("--compare", "--score"),
    ),
}
