"""The paper bundle of adaptive searches: answers, figures, methods text, references and every number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.figures.of_a_suite import Drawn
from analysis.paper.bibliography import OWN_CODE, uncited_in
from analysis.paper.figures import Saved, save_figures
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
from analysis.paper.groups import group_tables
from analysis.paper.imports import divergence_rule
from analysis.paper.methods_text import others_text, outcomes_words, versions_text, what_was_trained
from analysis.paper.optimizers_text import decay_text, optimizers_text
from analysis.paper.prose import Text
from analysis.paper.searches_text import searches_text, trained_text
from analysis.report.search import answers_group, edge_figures, front_group, search_chapters
from analysis.subject import SearchSubject
from analysis.tables.forms.csv_text import csv_text
from bench.errors import UsageError
from bench.files import write_file

_NO_SUITE = dict.fromkeys(("workloads", "methods", "optimizers", "schedules"), ())


def write_search_bundle(subject: SearchSubject, out: Path, *, command: str, font: str = "sans") -> list[Path]:
    """Fills the folder `out` and returns the paths written, `main.tex` first; as `write_bundle` of a grid.

    Raises UsageError if `out` holds anything else than an earlier, unchanged bundle, or no round is finished.
    """
    refuse_other_files(out)
    if subject.answers.is_empty():
        raise UsageError("there is nothing to export: no round of a search is finished")
    with bundle_folder(out) as new:
        figures = save_figures(_drawn(subject), new / "figures", font=font, names=subject.labels.plain)
        tables = _write_tables(subject, new)
        _write_numbers(subject, new)
        _write_text(subject, tables, figures, new)
        uncited = uncited_in(subject.results, OWN_CODE)
        write_file(new / "README.txt", readme(new, title=subject.title, command=command, uncited=uncited, scores={}))
    return bundle_paths(out)


def search_methods_text(subject: SearchSubject) -> Text:
    """What was trained, what was searched and how, seeds, divergence, answers, versions and hardware."""
    plain, results = subject.plain_manifest, subject.results
    suite = {**_NO_SUITE, **plain.get("suite", {})}
    moved = subject.answers["knob"][0].split(", ")
    return [
        *what_was_trained(results, suite),
        *optimizers_text(results, suite),
        *searches_text(subject),
        *others_text(results, moved),
        decay_text(results, suite),
        trained_text(subject, outcomes_words(results)),
        divergence_rule(has_own=True, has_imported=False) + " ",
        *versions_text(plain, has_own=True, has_imported=False, further=("optuna",)),
    ]


def _drawn(subject: SearchSubject) -> list[Drawn]:
    """The edges of all methods, and what each search asked for."""
    searches = search_chapters(subject.answers, subject.trail)
    return [*edge_figures(subject.answers), *(one.drawn for one in searches)]


def _write_tables(subject: SearchSubject, folder: Path) -> list[str]:
    """The answers and, where there is one, the front; their paths within the folder."""
    names = subject.labels.latex
    groups = {"answers": answers_group(names.in_frame(subject.answers))}
    if subject.front.height:
        groups["front"] = front_group(names.in_frame(subject.front))
    (folder / "tables").mkdir()
    paths = []
    for kind, group in groups.items():
        for place, table in enumerate(group_tables(group, kind), start=1):
            paths.append(f"tables/{kind}{f'-{place}' if place > 1 else ''}.tex")
            write_file(folder / paths[-1], table)
    return paths


def _write_numbers(subject: SearchSubject, folder: Path) -> None:
    """Every number behind tables and figures, with all digits."""
    write_file(folder / "numbers.csv", csv_text(subject.results))
    write_file(folder / "search.csv", csv_text(subject.answers))
    write_file(folder / "trail.csv", csv_text(subject.trail))
    if subject.front.height:
        write_file(folder / "front.csv", csv_text(subject.front))
    if subject.manifest is not None:
        write_file(folder / "manifest.json", subject.manifest)


def _write_text(subject: SearchSubject, tables: Sequence[str], figures: Sequence[Saved], folder: Path) -> None:
    """The document, the paragraph and its references."""
    write_words(search_methods_text(subject), folder, subject.labels, subject.plain_manifest)
    parts = [figure_tex(f"figures/{one.name}.pdf", one.inches, one.drawn, subject.labels.latex) for one in figures]
    write_file(folder / "figures.tex", "\n".join(parts))
    write_file(folder / MAIN, main_tex(tables, title=subject.title, has_references=True))
