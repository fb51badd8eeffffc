"""A leaderboard frame as LaTeX, Markdown, CSV, HTML or JSON text; CSV and JSON carry every digit."""

from __future__ import annotations

import html as html_text
import json as json_text
import re
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from analysis.curves import require_columns
from analysis.losses import SCORED_LOSSES, ScoredLoss
from analysis.scores.generalisation import (
    HELD_OUT_DEFINITIONS,
    HELD_OUT_MEASURES,
    generalisation_html,
    generalisation_latex,
    generalisation_markdown,
)
from analysis.scores.guards import FLAGS
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.leaderboard import LEADERBOARD_COLUMNS
from analysis.text import breakable, decimals, escape_latex, escape_markdown, lr_text, number

TIE_MARK = "†"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry as plain text, a cell a column."""

    cells: tuple[str, ...]
    is_best: bool  # lowest score of the workload among entries that learned
    is_tied: bool  # not the best, but no entry is significantly better


@dataclass(frozen=True, kw_only=True)
class Section:
    """The lines of one workload."""

    workload: str
    lines: tuple[Line, ...]


def latex_table(leaderboard: pl.DataFrame) -> str:
    """A booktabs `table` with caption and label; needs \\usepackage{booktabs}."""
    names, sections = board_sections(leaderboard)
    body = []
    for section in sections:
        body.append(r"\midrule")
        if len(sections) > 1:
            body.append(rf"\multicolumn{{{len(names)}}}{{l}}{{\emph{{{escape_latex(section.workload)}}}}} \\")
        body += [" & ".join(_latex_cells(line, names)) + r" \\" for line in section.lines]
    workloads = ", ".join(section.workload for section in sections)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{escape_latex(f'Robustness on {workloads}. ' + caption(leaderboard))}}}",
        r"\label{tab:leaderboard}",
        rf"\begin{{tabular}}{{{''.join(_align(name) for name in names)}}}",
        r"\toprule",
        " & ".join(escape_latex(COLUMN_TITLES[name]) for name in names) + r" \\",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def markdown_table(leaderboard: pl.DataFrame) -> str:
    """A pipe table for each workload, then the caption."""
    names, sections = board_sections(leaderboard)
    rule = "|" + "|".join(" --- " if _align(name) == "l" else " ---: " for name in names) + "|"
    parts = []
    for section in sections:
        parts.append(f"### {escape_markdown(section.workload)}\n")
        parts += ["| " + " | ".join(escape_markdown(COLUMN_TITLES[name]) for name in names) + " |", rule]
        for line in section.lines:
            cells = [
                f"**{escape_markdown(cell)}**" if line.is_best and name in _BOLD else escape_markdown(cell)
                for name, cell in zip(names, line.cells, strict=True)
            ]
            parts.append("| " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts) + "\n" + escape_markdown(caption(leaderboard)) + "\n"


def html_table(leaderboard: pl.DataFrame) -> str:
    """A fragment: a table for each workload, how to read it, and the flags that occur; every name escaped."""
    names, sections = board_sections(leaderboard)
    parts = []
    for section in sections:
        head = "".join(f'<th class="{_align(name)}">{html_text.escape(COLUMN_TITLES[name])}</th>' for name in names)
        rows = "\n".join(_html_row(line, names) for line in section.lines)
        parts.append(
            f"<h3>{html_text.escape(section.workload)}</h3>\n"
            f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
        )
    parts.append(f"<p>{html_text.escape(reading_note(leaderboard))}</p>")
    notes = [f"<dt>{word}</dt><dd>{html_text.escape(meaning)}</dd>" for word, meaning in flag_notes(leaderboard)]
    if notes:
        parts.append(f"<dl>{''.join(notes)}</dl>")
    return "\n".join(parts) + "\n"


def csv_table(leaderboard: pl.DataFrame) -> str:
    """All LEADERBOARD_COLUMNS, every digit."""
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    return leaderboard.select(*LEADERBOARD_COLUMNS).write_csv()


def json_table(leaderboard: pl.DataFrame) -> str:
    """A list of objects with all LEADERBOARD_COLUMNS, every digit."""
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    return json_text.dumps(leaderboard.select(*LEADERBOARD_COLUMNS).to_dicts(), indent=1, allow_nan=False) + "\n"


def terminal_frames(leaderboard: pl.DataFrame) -> list[pl.DataFrame]:
    """What a terminal shows, a table of few columns each: the scores, and the held-out measures where there are any.

    Where there are, the column `workload`, each table's heading, says as well what is shown and which loss is scored.
    """
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    measures = [name for name in HELD_OUT_DEFINITIONS if leaderboard[name].is_not_null().any()]
    scores = leaderboard.drop("loss", *HELD_OUT_MEASURES)
    if not measures:
        return [scores]
    titles = leaderboard.select(title=pl.col("loss").replace_strict({k: v.title for k, v in SCORED_LOSSES.items()}))
    heading = pl.concat_str("workload", pl.lit(": scores of the "), titles["title"])
    measured = leaderboard.filter(pl.any_horizontal(pl.col(measures).is_not_null())).select(
        pl.concat_str("workload", pl.lit(": on held-out data at each best_lr")).alias("workload"),
        *("method", "optimizer", "knobs", "best_lr", "val_loss"),
        pl.col("val_loss_ci_low").alias("ci_low"),
        pl.col("val_loss_ci_high").alias("ci_high"),
        *measures[1:],
    )
    return [scores.with_columns(workload=heading), measured]


# Those for readers end with the table of held-out measures, where there are any.
FORMATS: dict[str, Callable[[pl.DataFrame], str]] = {
    "latex": lambda board: "\n".join(filter(None, (latex_table(board), generalisation_latex(board)))),
    "markdown": lambda board: "\n".join(filter(None, (markdown_table(board), generalisation_markdown(board)))),
    "html": lambda board: html_table(board) + generalisation_html(board),
    "csv": csv_table,
    "json": json_table,
}


def caption(leaderboard: pl.DataFrame) -> str:
    """What the numbers mean, in plain text: definition, seeds, interval, marks, and the flags that occur."""
    names = leaderboard["definition"].unique().sort().to_list()
    parts = [f"{COLUMN_TITLES['lr_sensitivity']} ({name}): {SCORE_KINDS[name].definition}." for name in names]
    parts += [reading_note(leaderboard), f"Stable decades: {SCORE_KINDS['stable_decades'].definition}."]
    parts += [f"{word}: {sentence}" for word, sentence in flag_notes(leaderboard)]
    return " ".join(parts)


def reading_note(leaderboard: pl.DataFrame) -> str:
    """Which loss is scored, and what intervals, marks and ranks mean, with the number of seeds."""
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    seeds = leaderboard["num_seeds"].unique().sort().to_list()
    seeds_text = "no seeds" if not seeds else str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    losses = [SCORED_LOSSES[name] for name in leaderboard["loss"].unique().sort()]
    parts = [f"Scores are of the {loss.title} ({_measured(loss, leaderboard)})." for loss in losses]
    parts.append(
        f"Brackets: 95% interval over seeds ({seeds_text}; Student's t on the wider of the jackknife's and the single "
        f"seeds' standard error). Bold: the best that learned; {TIE_MARK}: no entry is significantly better (paired by "
        "seed, Holm corrected, 5%). Rank: 1 + the number of entries significantly better; none at chance."
    )
    return " ".join(parts)


def _measured(loss: ScoredLoss, leaderboard: pl.DataFrame) -> str:
    """How the loss of a run was measured; of imported runs their files say it."""
    is_imported = ["imported" in flags.split(",") for flags in leaderboard["flags"]]
    if is_imported and all(is_imported):
        return "as the files of these imported runs state it"
    return f"{loss.definition}{'; of imported runs, as their files state it' if any(is_imported) else ''}"


def flag_notes(leaderboard: pl.DataFrame) -> list[tuple[str, str]]:
    """(flag in words, what it means) of the flags that occur."""
    used = {word for flags in leaderboard["flags"] for word in flags.split(",")}
    return [(word_of(word), sentence) for word, sentence in FLAGS.items() if word in used]


def word_of(flag: str) -> str:
    """A flag as readers see it."""
    return flag.replace("_", " ")


COLUMN_TITLES: dict[str, str] = {
    "rank": "Rank",
    "method": "Method",
    "optimizer": "Optimizer",
    "knobs": "Knobs",
    "lr_sensitivity": "LR sensitivity",
    "interval": "95% interval",
    "best_loss": "Best loss",
    "best_lr": "Best lr",
    "stable_decades": "Stable decades",
    "diverged_share": "Diverged",
    "seeds": "Seeds",
    "flags": "Flags",
}

_BOLD = ("method", "lr_sensitivity")


def _align(name: str) -> str:
    return "l" if name in ("method", "optimizer", "knobs", "flags") else "r"


def _latex_cells(line: Line, names: list[str]) -> list[str]:
    cells = []
    for name, text in zip(names, line.cells, strict=True):
        cell = escape_latex(text).replace("–", "--")
        if name == "best_lr":
            cell = re.sub(r"^(.+)e([+-]\d+)$", lambda match: rf"${match[1]} \times 10^{{{int(match[2])}}}$", text)
        cells.append(rf"\textbf{{{cell}}}" if line.is_best and name in _BOLD else cell)
    return cells


def _html_row(line: Line, names: list[str]) -> str:
    cells = []
    for name, text in zip(names, line.cells, strict=True):
        cell = breakable(text)
        if line.is_best and name in _BOLD:
            cell = f"<strong>{cell}</strong>"
        cells.append(f'<td class="{_align(name)} {name}">{cell}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def board_sections(leaderboard: pl.DataFrame) -> tuple[list[str], list[Section]]:
    """Column names and the lines of every workload; columns that say nothing are left out."""
    require_columns(leaderboard, tuple(LEADERBOARD_COLUMNS), "the leaderboard frame")
    idle = set()
    if leaderboard["optimizer"].n_unique() <= 1:
        idle.add("optimizer")
    idle |= {name for name in ("knobs", "flags") if not (leaderboard[name] != "").any()}
    names = [name for name in COLUMN_TITLES if name not in idle]
    sections = []
    for (workload,), group in leaderboard.group_by("workload", maintain_order=True):
        sections.append(Section(workload=str(workload), lines=_lines(group, names)))
    return names, sections


def _lines(group: pl.DataFrame, names: list[str]) -> tuple[Line, ...]:
    flags = pl.col("flags").str.split(",")
    learned = group.filter(~flags.list.contains("at_chance") & ~flags.list.contains("learned_little"))
    best = learned["lr_sensitivity"].min() if learned.height else None
    score_decimals = decimals(group["lr_sensitivity"], 3)
    loss_decimals = decimals(group["best_loss"], 3)
    lines = []
    for entry in group.iter_rows(named=True):
        has_learned = {"at_chance", "learned_little"}.isdisjoint(entry["flags"].split(","))
        is_best = has_learned and entry["lr_sensitivity"] == best
        is_tied = has_learned and entry["rank"] == 1 and not is_best
        low, high = (number(entry[name], score_decimals) for name in ("ci_low", "ci_high"))
        texts = {
            "rank": number(entry["rank"], 0),
            "method": entry["method"],
            "optimizer": entry["optimizer"],
            "knobs": entry["knobs"],
            "lr_sensitivity": number(entry["lr_sensitivity"], score_decimals) + (TIE_MARK if is_tied else ""),
            "interval": "–" if entry["ci_low"] is None else f"[{low}, {high}]",
            "best_loss": number(entry["best_loss"], loss_decimals),
            "best_lr": lr_text(entry["best_lr"]),
            "stable_decades": number(entry["stable_decades"], 1),
            "diverged_share": f"{entry['diverged_share']:.0%}",
            "seeds": str(entry["num_seeds"]),
            "flags": ", ".join(word_of(word) for word in entry["flags"].split(",") if word),
        }
        lines.append(Line(cells=tuple(texts[name] for name in names), is_best=is_best, is_tied=is_tied))
    return tuple(lines)
