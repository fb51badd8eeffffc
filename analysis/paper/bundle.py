"""The paper bundle: a folder of tables, figures, references, methods text and numbers that LaTeX compiles as it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from analysis.across.comparison import compare
from analysis.curves import ENTRY
from analysis.paper.bibliography import OWN_CODE, keys_of, scores_in, uncited_in, without_keys
from analysis.paper.contents import Contents, write_contents
from analysis.paper.figures import bundle_figures
from analysis.paper.files import refuse_other_files
from analysis.paper.groups import differences_group, group_tables, scores_group
from analysis.paper.imports import imported_rows
from analysis.paper.latex import leaderboard_tables
from analysis.paper.matrix import matrix_tables
from analysis.paper.methods_text import methods_text
from analysis.paper.prose import Text
from analysis.paper.table_words import tables_text
from analysis.report.sections import report_sections
from analysis.scores.flags import used_flags
from analysis.scores.table import score_differences, score_table
from analysis.subject import Subject
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.named import named_group
from analysis.tables.held_out import held_out_group
from analysis.tables.leaderboard import FORMATS
from analysis.tables.published import comparison
from bench.errors import UsageError
from bench.outcome import RESULT_COLUMNS


def write_bundle(
    subject: Subject, out: Path, *, command: str = "analysis.paper.bundle.write_bundle", font: str = "sans"
) -> list[Path]:
    """Fills the folder `out` and returns the paths written, `main.tex` first.

    `command` is said to have made the bundle; `font` is that of figures, "sans" or "serif". An earlier bundle is
    replaced once the new one is whole. Raises UsageError if `out` holds anything else than an earlier, unchanged
    bundle, or no trial has a result.
    """
    refuse_other_files(out)
    if subject.board["best_loss"].is_null().all():
        raise UsageError("there is nothing to export: no trial completed or diverged")
    imported = imported_rows(subject.results, subject.board)
    sections = report_sections(subject)
    frames = {name: frame for part in sections for name, frame in part.frames.items()}
    figures = list(bundle_figures(subject, sections))
    further = list(dict.fromkeys(name for frame in (subject.board, *frames.values()) for name in scores_in(frame)))
    scores = {name: keys_of("score", name) for name in further}
    contents = Contents(
        tables=_tables(subject, imported),
        figures=figures,
        words=_methods(subject, imported, further, {one.kind for one in figures}),
        numbers=_numbers(subject, frames),
        uncited=_uncited(subject, imported),
        scores=scores,
        keys=[key for keys in scores.values() for key in keys],
    )
    return write_contents(subject, contents, out, command=command, font=font)


def _methods(subject: Subject, imported: pl.DataFrame, further: Collection[str], figures: Collection[str]) -> Text:
    """The paragraph of methods that goes with these further scores and kinds of figures."""
    text = methods_text(
        subject.results,
        score=subject.score,
        loss=subject.loss,
        manifest=None if subject.manifest is None else subject.plain_manifest,
        imported=imported,
        further=further,
        figures=figures,
        flags=used_flags(subject.board),
    )
    return [*text, " ", *tables_text(subject.board)]


def _with_spread(board: pl.DataFrame, subject: Subject) -> pl.DataFrame:
    """The board with final_loss_spread, null of an entry without one."""
    spreads = score_table(subject.entries, subject.loss).filter(score="final_loss_spread")
    of_entries = spreads.select(*ENTRY, pl.col("value").alias("final_loss_spread"))
    return board.join(of_entries, on=ENTRY, how="left", maintain_order="left")


def _tables(subject: Subject, imported: pl.DataFrame) -> dict[str, list[str]]:
    """LaTeX of the tables, by what they are of."""
    board, names = subject.board, subject.labels.latex
    texts = {"leaderboard": leaderboard_tables(names.in_frame(_with_spread(board, subject)))}
    optimizers = board["optimizer"].unique().sort().to_list()
    if len(optimizers) > 1:
        of = {name: subject.results.filter(optimizer=name) for name in optimizers}
        parts = {name: replace(subject, results=of[name], imported=imported["trial_id"]) for name in optimizers}
        texts["matrix"] = matrix_tables({name: names.in_frame(part.board) for name, part in parts.items()})
    groups = {"held_out": held_out_group(board)}
    groups |= {} if subject.published is None else {"comparison": comparison(compare(board, subject.published))}
    groups["scores"] = scores_group(subject.entries, subject.loss)
    groups["differences"] = differences_group(subject.entries, subject.score)
    for kind, group in groups.items():
        texts[kind] = [] if group is None else group_tables(named_group(group, names), kind.replace("_", "-"))
    return texts


def _numbers(subject: Subject, frames: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Every number behind tables and figures, with all digits, by path."""
    return {
        "numbers.csv": csv_text(subject.results.select(*RESULT_COLUMNS)),
        "leaderboard.csv": FORMATS["csv"](subject.board),
        "differences.csv": csv_text(score_differences(subject.entries, subject.score)),
        **{f"scores/{name}": csv_text(frame) for name, frame in frames.items()},
    }


def _uncited(subject: Subject, imported: pl.DataFrame) -> dict[str, str]:
    """What no entry of references.bib stands for, and why."""
    own = subject.results.join(imported, on="trial_id", how="anti")
    texts = uncited_in(imported, "imported: add its source") | uncited_in(own, OWN_CODE)
    return texts | without_keys("score", [subject.score], "add its source")
