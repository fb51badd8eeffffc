"""The paper bundle of adaptive searches: answers, figures, methods text, references and every number."""

from __future__ import annotations

from pathlib import Path

from analysis.paper.bibliography import OWN_CODE, uncited_in
from analysis.paper.contents import Contents, write_contents
from analysis.paper.files import refuse_other_files
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

_NO_SUITE = dict.fromkeys(("workloads", "methods", "optimizers", "schedules"), ())


def write_search_bundle(subject: SearchSubject, out: Path, *, command: str, font: str = "sans") -> list[Path]:
    """Fills the folder `out` and returns the paths written, `main.tex` first; as `write_bundle` of a grid.

    Raises UsageError if `out` holds anything else than an earlier, unchanged bundle, or no round is finished.
    """
    refuse_other_files(out)
    if subject.answers.is_empty():
        raise UsageError("there is nothing to export: no round of a search is finished")
    contents = Contents(
        tables=_tables(subject),
        figures=[*edge_figures(subject.answers), *(s.drawn for s in search_chapters(subject.answers, subject.trail))],
        words=search_methods_text(subject),
        numbers={
            "numbers.csv": csv_text(subject.results),
            "search.csv": csv_text(subject.answers),
            "trail.csv": csv_text(subject.trail),
            **({"front.csv": csv_text(subject.front)} if subject.front.height else {}),
        },
        uncited=uncited_in(subject.results, OWN_CODE),
        scores={},
    )
    return write_contents(subject, contents, out, command=command, font=font)


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


def _tables(subject: SearchSubject) -> dict[str, list[str]]:
    """LaTeX of the answers and, where there is one, of the front."""
    names = subject.labels.latex
    groups = {"answers": answers_group(names.in_frame(subject.answers))}
    if subject.front.height:
        groups["front"] = front_group(names.in_frame(subject.front))
    return {kind: group_tables(group, kind) for kind, group in groups.items()}
