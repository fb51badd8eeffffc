"""A leaderboard frame as LaTeX, Markdown, CSV, HTML or JSON text; CSV and JSON carry every digit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from analysis.curves import require_columns
from analysis.labels import Labels
from analysis.losses import EVALUATED_ELSEWHERE, SCORED_LOSSES, ScoredLoss
from analysis.scores.controls import CONTROL_COLUMNS, floor_sentences
from analysis.scores.costs import COST_COLUMNS
from analysis.scores.flags import FLAGS, flags_of, has_flag, used_flags, word_of
from analysis.scores.generalisation import HELD_OUT_MEASURES, HELD_OUT_SCORES
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import BOARD_SCORES, LEADERBOARD_COLUMNS
from analysis.scores.seeds.pairing import PAIRED
from analysis.scores.seeds.rank_ranges import place_of_best, rank_text, rank_texts
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.frames import plain_json
from analysis.tables.forms.html import group_html, tables_html
from analysis.tables.forms.latex import NEEDS, floated, group_latex, line_latex, row_latex
from analysis.tables.forms.markdown import group_markdown, pipe_table
from analysis.tables.forms.table import NOTHING, Cell, Column, Flags, IntervalCell, Name, Number, Table
from analysis.tables.held_out import held_out_group
from analysis.text import decimals, entry_name, escape_latex, escape_markdown, interval_decimals

COLUMN_TITLES: dict[str, str] = {
    "rank": "Rank",
    "method": "Method",
    "optimizer": "Optimizer",
    "knobs": "Knobs",
    "lr_sensitivity": SCORE_KINDS["lr_sensitivity"].title,
    "interval": "95% interval",
    **{name: SCORE_KINDS[name].title for name in BOARD_SCORES[1:]},
    "seeds": "Seeds",
    "flags": "Flags",
}

_LEFT = ("method", "optimizer", "knobs", "flags")


def latex_table(leaderboard: pl.DataFrame) -> str:
    """A booktabs `table` with caption and label; needs \\usepackage{booktabs}."""
    tables, columns = workload_tables(leaderboard), _columns(leaderboard)
    rows: list[str] = []
    for table in tables:
        rows += [r"\midrule"] if rows else []
        if len(tables) > 1:
            rows.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{escape_latex(table.heading)}}}}} \\")
        rows += map(row_latex, table.rows)
    workloads = ", ".join(table.heading for table in tables)
    sides = "".join(column.side for column in columns)
    return NEEDS + floated(
        (sides, line_latex(escape_latex(column.title) for column in columns), rows),
        caption=escape_latex(f"Robustness on {workloads}. {caption(leaderboard)}"),
        label="tab:leaderboard",
    )


def markdown_table(leaderboard: pl.DataFrame) -> str:
    """A pipe table for each workload, then the caption."""
    parts = [f"### {escape_markdown(table.heading)}\n\n{pipe_table(table)}" for table in workload_tables(leaderboard)]
    return "\n".join(parts) + "\n" + escape_markdown(caption(leaderboard)) + "\n"


def html_table(leaderboard: pl.DataFrame) -> str:
    """A fragment: a table for each workload, how to read it, and the flags that occur; every name escaped."""
    return tables_html(workload_tables(leaderboard), reading_note(leaderboard), flag_notes(leaderboard))


def terminal_frames(leaderboard: pl.DataFrame) -> list[pl.DataFrame]:
    """What a terminal shows, a table of few columns each: the scores, and the held-out measures where there are any.

    Where there are, the column `workload`, each table's heading, says as well what is shown and which loss is scored.
    """
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    measures = [name for name in HELD_OUT_SCORES if leaderboard[name].is_not_null().any()]
    scores = leaderboard.drop(
        "rank_worst", "blown_up_loss", "loss", *CONTROL_COLUMNS, *COST_COLUMNS, *HELD_OUT_MEASURES
    ).with_columns(rank=rank_texts(leaderboard))
    if not measures:
        return [scores]
    titles = leaderboard.select(title=pl.col("loss").replace_strict({k: v.title for k, v in SCORED_LOSSES.items()}))
    heading = pl.concat_str("workload", pl.lit(": scores of the "), titles["title"])
    measured = leaderboard.filter(pl.any_horizontal(pl.col(measures).is_not_null())).select(
        pl.concat_str("workload", pl.lit(": on held-out data at each best_lr")).alias("workload"),
        *("method", "optimizer", "knobs", "best_lr", "val_loss"),
        pl.col("val_loss_ci_low").alias("ci_low"),
        pl.col("val_loss_ci_high").alias("ci_high"),
        *(name for name in measures if name != "val_loss"),
    )
    return [scores.with_columns(workload=heading), measured]


def _every_digit(leaderboard: pl.DataFrame) -> pl.DataFrame:
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    return leaderboard.select(*LEADERBOARD_COLUMNS)


def _with_held_out(first: str, leaderboard: pl.DataFrame, write: Callable[..., str]) -> str:
    """What readers see ends with the table of held-out measures, where there are any."""
    group = held_out_group(leaderboard)
    return first if group is None else f"{first}\n{write(group)}"


FORMATS: dict[str, Callable[[pl.DataFrame], str]] = {
    "latex": lambda board: _with_held_out(latex_table(board), board, group_latex),
    "markdown": lambda board: _with_held_out(markdown_table(board), board, group_markdown),
    "html": lambda board: _with_held_out(html_table(board), board, group_html),
    "csv": lambda board: csv_text(_every_digit(board)),
    "json": lambda board: plain_json(_every_digit(board).to_dicts()),
}


def board_text(leaderboard: pl.DataFrame, form: str, labels: Labels) -> str:
    """The leaderboard in a form of FORMATS; what people read calls methods and workloads by their labels."""
    return labels.in_form(FORMATS, form, leaderboard)


def caption(leaderboard: pl.DataFrame) -> str:
    """What the numbers mean, in plain text: definition, seeds, interval, marks, and the flags that occur."""
    names = leaderboard["definition"].unique().sort().to_list()
    parts = [f"{COLUMN_TITLES['lr_sensitivity']} ({name}): {SCORE_KINDS[name].definition}." for name in names]
    parts += [reading_note(leaderboard), f"Stable decades: {SCORE_KINDS['stable_decades'].definition}."]
    parts += [f"{word}: {sentence}" for word, sentence in flag_notes(leaderboard)]
    return " ".join(parts)


def reading_note(leaderboard: pl.DataFrame) -> str:
    """Which loss is scored, and what intervals, bold and ranks mean, with the number of seeds."""
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    seeds = leaderboard["num_seeds"].unique().sort().to_list()
    seeds_text = "no seeds" if not seeds else str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    losses = [SCORED_LOSSES[name] for name in leaderboard["loss"].unique().sort()]
    parts = [f"Scores are of the {loss.title} ({_measured(loss, leaderboard)})." for loss in losses]
    parts += notes_on_entries(leaderboard)
    parts.append(
        f"Brackets: 95% interval over seeds ({seeds_text}; Student's t on the wider of the jackknife's and the single "
        "seeds' standard error). Bold: the best that learned. Rank: the ranks that the seeds leave possible, from 1 + "
        "the number of entries significantly better to n - the number significantly worse, of the n that can be tested "
        f"({_how_compared(leaderboard)}, Holm corrected, 5%: all ranges hold at once with 95% confidence); none at "
        "chance or with one seed."
    )
    return " ".join(parts)


def notes_on_entries(leaderboard: pl.DataFrame) -> list[str]:
    """How far A/A controls lie from what they are controls of, and which optimizers are evaluated elsewhere."""
    names = dict.fromkeys(entry_name(label) for label in leaderboard["optimizer"])
    elsewhere = [f"{name}: {EVALUATED_ELSEWHERE[name]}." for name in names if name in EVALUATED_ELSEWHERE]
    return [*floor_sentences(leaderboard), *elsewhere]


def _how_compared(leaderboard: pl.DataFrame) -> str:
    is_mixed = "unpaired" in used_flags(leaderboard)
    return "paired by seed where entries have the same seeds, else unpaired by Welch's t-test" if is_mixed else PAIRED


def _measured(loss: ScoredLoss, leaderboard: pl.DataFrame) -> str:
    """How the loss of a run was measured; of imported runs their files say it."""
    is_imported = leaderboard.select(has_flag("imported")).to_series()
    if len(is_imported) and is_imported.all():
        return "as the files of these imported runs state it"
    return f"{loss.definition}{'; of imported runs, as their files state it' if is_imported.any() else ''}"


def flag_notes(leaderboard: pl.DataFrame) -> list[tuple[str, str]]:
    """(flag in words, what it means) of the flags that occur."""
    used = used_flags(leaderboard)
    return [(word_of(word), sentence) for word, sentence in FLAGS.items() if word in used]


def workload_tables(leaderboard: pl.DataFrame) -> list[Table]:
    """A table for each workload, headed by its name; columns that say nothing are left out.

    Cells stand under the names of COLUMN_TITLES. In bold: the best of the workload (`place_of_best`).
    """
    columns = _columns(leaderboard)
    return [
        Table(heading=str(workload), columns=columns, rows=_rows(group, columns), kind="board")
        for (workload,), group in leaderboard.group_by("workload", maintain_order=True)
    ]


def _columns(leaderboard: pl.DataFrame) -> tuple[Column, ...]:
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    idle = {"optimizer"} if leaderboard["optimizer"].n_unique() <= 1 else set()
    idle |= {name for name in ("blown_up_share", "stuck_share") if not (leaderboard[name] > 0).any()}
    idle |= {name for name in ("knobs", "flags") if not (leaderboard[name] != "").any()}
    return tuple(
        Column(title=title, is_name=name in _LEFT, name=name)
        for name, title in COLUMN_TITLES.items()
        if name not in idle
    )


def _rows(group: pl.DataFrame, columns: tuple[Column, ...]) -> tuple[tuple[Cell, ...], ...]:
    digits = {name: decimals(group[name].drop_nulls(), 3) for name in ("lr_sensitivity", "best_loss")}
    entries = group.to_dicts()
    best = place_of_best(entries)
    cells = [_cells(entry, digits, is_best=place == best) for place, entry in enumerate(entries)]
    return tuple(tuple(of_entry[column.name] for column in columns) for of_entry in cells)


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}"


def _cells(entry: dict[str, Any], digits: dict[str, int], *, is_best: bool) -> dict[str, Cell]:
    """The cells of an entry by COLUMN_TITLES; `digits` are decimals."""
    return {
        "rank": rank_text(entry["rank"], entry["rank_worst"]),
        "method": Name(text=entry["method"], is_best=is_best),
        "optimizer": entry["optimizer"],
        "knobs": entry["knobs"],
        "lr_sensitivity": Number(
            value=entry["lr_sensitivity"],
            decimals=interval_decimals(entry["ci_low"], entry["ci_high"], digits["lr_sensitivity"]),
            is_best=is_best,
        ),
        "interval": IntervalCell(low=entry["ci_low"], high=entry["ci_high"], decimals=digits["lr_sensitivity"]),
        "best_loss": Number(value=entry["best_loss"], decimals=digits["best_loss"]),
        "best_lr": Number(value=entry["best_lr"]),
        "stable_decades": Number(value=entry["stable_decades"], decimals=1),
        **{name: _share(entry[name]) for name in ("diverged_share", "blown_up_share", "stuck_share")},
        "seeds": str(entry["num_seeds"]),
        "flags": Flags(flags=flags_of(entry["flags"])),
    }
