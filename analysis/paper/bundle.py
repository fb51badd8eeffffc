"""The paper bundle: a folder of tables, figures, references, methods text and numbers that LaTeX compiles as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import polars as pl

from analysis.across.comparison import compare
from analysis.curves import ENTRY
from analysis.paper.bibliography import OWN_CODE, keys_of, scores_in, uncited_in, without_keys
from analysis.paper.figures import Saved, bundle_figures, save_figures
from analysis.paper.files import (
    MAIN,
    bundle_folder,
    bundle_paths,
    figure_tex,
    main_tex,
    readme,
    refuse_other_files,
    write_words,
)
from analysis.paper.groups import differences_group, group_tables, scores_group
from analysis.paper.imports import imported_rows
from analysis.paper.latex import leaderboard_tables
from analysis.paper.matrix import matrix_tables
from analysis.paper.methods_text import methods_text
from analysis.paper.prose import Text, cited_keys
from analysis.paper.table_words import tables_text
from analysis.report.section import Section
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
from bench.files import write_file
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
    with bundle_folder(out) as new:
        tables = _write_tables(subject, imported, new)
        figures = save_figures(
            bundle_figures(subject, sections), new / "figures", font=font, names=subject.labels.plain
        )
        further = _write_numbers(subject, sections, new)
        text = _methods(subject, imported, further, {one.drawn.kind for one in figures})
        scores = {name: keys_of("score", name) for name in further}
        keys = [key for keys in scores.values() for key in keys]
        _write_text(subject, text, new, tables, figures, keys=keys)
        uncited = _uncited(subject, imported)
        write_file(
            new / "README.txt", readme(new, title=subject.title, command=command, uncited=uncited, scores=scores)
        )
    return bundle_paths(out)


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


def _write_tables(subject: Subject, imported: pl.DataFrame, folder: Path) -> list[str]:
    """The files of tables, and their paths within the folder."""
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
    (folder / "tables").mkdir()
    names = []
    for kind, tables in texts.items():
        for place, table in enumerate(tables, start=1):
            names.append(f"tables/{kind}{f'-{place}' if place > 1 else ''}.tex")
            write_file(folder / names[-1], table)
    return names


def _write_numbers(subject: Subject, sections: Iterable[Section], folder: Path) -> list[str]:
    """Every number behind tables and figures, with all digits; the names of the scores among them."""
    write_file(folder / "numbers.csv", csv_text(subject.results.select(*RESULT_COLUMNS)))
    write_file(folder / "leaderboard.csv", FORMATS["csv"](subject.board))
    write_file(folder / "differences.csv", csv_text(score_differences(subject.entries, subject.score)))
    if subject.manifest is not None:
        write_file(folder / "manifest.json", subject.manifest)
    further = {name: frame for part in sections for name, frame in part.frames.items()}
    if further:
        (folder / "scores").mkdir()
    for name, frame in further.items():
        write_file(folder / "scores" / name, csv_text(frame))
    return list(dict.fromkeys(name for frame in (subject.board, *further.values()) for name in scores_in(frame)))


def _write_text(
    subject: Subject,
    text: Text,
    folder: Path,
    tables: Iterable[str],
    figures: Iterable[Saved],
    *,
    keys: Iterable[str],
) -> None:
    """The paragraph, its references and those of `keys`, and the document that holds everything."""
    write_words(text, folder, subject.labels, subject.plain_manifest, keys=keys)
    names = subject.labels.latex
    parts = [figure_tex(f"figures/{one.name}.pdf", one.inches, one.drawn, names) for one in figures]
    write_file(folder / "figures.tex", "\n\\clearpage\n".join("\n".join(part) for part in _by_six(parts)))
    write_file(folder / MAIN, main_tex(tables, title=subject.title, has_references=bool(cited_keys(text))))


def _by_six(parts: list[str]) -> list[list[str]]:
    return [parts[start : start + 6] for start in range(0, len(parts), 6)]


def _uncited(subject: Subject, imported: pl.DataFrame) -> dict[str, str]:
    """What no entry of references.bib stands for, and why."""
    own = subject.results.join(imported, on="trial_id", how="anti")
    texts = uncited_in(imported, "imported: add its source") | uncited_in(own, OWN_CODE)
    return texts | without_keys("score", [subject.score], "add its source")
