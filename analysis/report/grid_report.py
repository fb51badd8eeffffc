"""The report of a grid of trials: leaderboard, curves, traces, divergence, and the sections that it has beside them.

Training figures are drawn at the lr at which methods differ most in the scored loss; the loss against lr is drawn for
held-out data as well, where those can be scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from analysis.across.comparison import compare
from analysis.curves import curves
from analysis.figures.frames.aggregate import loss_summary
from analysis.figures.frames.diverged_map import diverged_map, divergence_words
from analysis.figures.of_a_suite import Drawn, curve_figures, diverged_figures, explored_charts
from analysis.figures.style.interactive import Spec
from analysis.report.fates import fates
from analysis.report.leaderboard import board_html, flags_html
from analysis.report.report import Chapter, Report, of_sections, require_rows
from analysis.report.section import Section
from analysis.report.sections import report_sections
from analysis.report.summary import summary_sentences
from analysis.scores.flags import used_flags
from analysis.scores.generalisation import HELD_OUT_SCORES
from analysis.scores.leaderboard import BOARD_SCORES
from analysis.scores.registry import REGISTRY
from analysis.scores.robustness import SENSITIVITIES
from analysis.subject import Subject
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.html import group_html, part
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.named import named_group
from analysis.tables.held_out import held_out_group
from analysis.tables.leaderboard import board_text, markdown_table
from analysis.tables.published import comparison
from analysis.text import escape_markdown
from bench.errors import UsageError
from bench.held_out import HELD_OUT_COLUMNS

# Suffix of each table file: which of FORMATS of tables.leaderboard fills it. The HTML one is the page itself.
TABLE_FILES: dict[str, str] = {"csv": "csv", "md": "markdown", "tex": "latex", "json": "json"}

_LOSS, _TRAINING, _DIVERGENCE = "Loss against learning rate", "Training", "Divergence"
# Which chapter of the page shows a figure of this kind; those of sections stand in theirs.
_FIGURE_CHAPTERS: dict[str, str] = {
    "loss_against_lr": _LOSS,
    "val_loss_against_lr": _LOSS,
    "training_behaviour": _TRAINING,
    "entropy_by_layer": _TRAINING,
    "entropy_by_head": _TRAINING,
    "curvature_over_edge": _TRAINING,
    "diverged_map": _DIVERGENCE,
}


def curve_rows(subject: Subject) -> pl.DataFrame:
    """A row a learning rate and seed of each entry, as curves.csv has them: final loss, loss at init, outcome."""
    columns = ["workload", "method", "optimizer", "lr", "seed", "final_loss", "initial_loss", "outcome", "knobs"]
    columns += tuple(name for name in HELD_OUT_COLUMNS if subject.results[name].is_not_null().any())
    return curves(subject.results).select(columns)


@dataclass(frozen=True, kw_only=True)
class GridReport(Report):
    """As Report has it. `check` raises UsageError where a workload lacks its number of keys, too.

    `sections` raises it where one lacks the scored loss, `compared` where no method is among the published numbers.
    """

    subject: Subject

    def check(self) -> None:
        board, known = self.subject.board, self.subject.num_keys
        require_rows(board, "no trial completed or diverged")
        unknown = sorted(set(board["workload"]) - set(known))
        if unknown:
            raise UsageError(f"num_keys lacks the workloads {', '.join(unknown)}; it has {', '.join(known)}")

    @cached_property
    def sections(self) -> Sequence[Section]:
        """What the page has beside leaderboard, curves and traces."""
        return [section.named(self.names) for section in report_sections(self.subject)]

    @cached_property
    def lead(self) -> list[str]:
        board = self.subject.board
        return self.names.in_texts([*summary_sentences(board), *fates(self.subject.scored, board)])

    @cached_property
    def compared(self) -> pl.DataFrame | None:
        """The frame of `compare`; None without published numbers."""
        return None if self.subject.published is None else compare(self.subject.board, self.subject.published)

    @cached_property
    def chapters(self) -> list[Chapter]:
        board, names = self.subject.board, self.names
        html = board_html(board, loss_summary(self.subject.scored), names=names, is_linked=self.is_linked)
        flags = {flag for section in self.sections for flag in section.flags}
        return [
            Chapter(title="Leaderboard", html=html, markdown=markdown_table(names.in_frame(board))),
            Chapter(title=_LOSS),
            Chapter(title=_TRAINING),
            self._divergence(),
            *self._tables(),
            *map(Chapter.of, self.sections),
            Chapter(title="Flags", html=flags_html(flags - used_flags(board))),
        ]

    def _divergence(self) -> Chapter:
        """How many trials diverged in words, by what the workload is called."""
        cells = diverged_map(self.subject.results).partition_by("workload", maintain_order=True)
        sentences = {rows["workload"][0]: divergence_words(rows) for rows in cells}
        lines = self.names.in_texts([f"{workload}: {words}" for workload, words in sentences.items()])
        texts = lines if len(sentences) > 1 else self.names.in_texts(list(sentences.values()))
        listed = "\n".join(f"- {escape_markdown(line)}" for line in lines)
        return Chapter(title=_DIVERGENCE, html=part("paragraphs", texts), markdown=listed)

    def _tables(self) -> Iterator[Chapter]:
        """What is beside the leaderboard and the sections."""
        groups = {"Generalisation": held_out_group(self.subject.board)}
        if self.compared is not None and self.compared.height:
            groups["Compared with the paper"] = comparison(self.compared)
        for title, group in groups.items():
            if group is not None:
                named = named_group(group, self.names)
                yield Chapter(title=title, html=group_html(named), markdown=group_markdown(named))

    @property
    def definitions(self) -> Mapping[str, str]:
        held_out = {} if held_out_group(self.subject.board) is None else HELD_OUT_SCORES
        words = {name: REGISTRY[name].definition for name in (*SENSITIVITIES, *BOARD_SCORES, *held_out)}
        return words | {word: meaning for section in self.sections for word, meaning in section.definitions.items()}

    def files(self) -> dict[str, str]:
        subject = self.subject
        texts = {
            f"leaderboard.{suffix}": board_text(subject.board, form, subject.labels)
            for suffix, form in TABLE_FILES.items()
        }
        texts["leaderboard.md"] = "".join(f"{escape_markdown(one)}\n\n" for one in self.lead) + texts["leaderboard.md"]
        texts["curves.csv"] = csv_text(curve_rows(subject))
        if self.compared is not None:
            texts["comparison.csv"] = csv_text(self.compared)
        return texts | {name: text for section in self.sections for name, text in section.files.items()}

    def drawn(self) -> Iterator[tuple[str, Drawn]]:
        for one in (*curve_figures(self.subject), *diverged_figures(self.subject.results)):
            yield _FIGURE_CHAPTERS[one.kind], one
        yield from of_sections(self.sections)

    def explored(self) -> list[tuple[str, Spec]]:
        return explored_charts(self.subject)
