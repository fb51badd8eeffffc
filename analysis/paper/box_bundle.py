"""The paper bundle of a box of knobs: table, figures, methods text, references and every number."""

from __future__ import annotations

from pathlib import Path

from analysis.paper.bibliography import OWN_CODE, keys_of, uncited_in
from analysis.paper.contents import Contents, write_contents
from analysis.paper.files import refuse_other_files
from analysis.paper.imports import divergence_rule
from analysis.paper.methods_text import others_text, seeds_text, versions_text, what_was_trained
from analysis.paper.optimizers_text import decay_text, optimizers_text
from analysis.paper.prose import Cite, Math, Text
from analysis.paper.widths import floating_of
from analysis.report.box import box_sections
from analysis.report.box_report import box_texts
from analysis.scores.box.numbers import BOX_SCORES
from analysis.scores.box.shares import BUDGET, DELTA
from analysis.scores.seeds.intervals import CONFIDENCE
from analysis.subject import BoxSubject
from analysis.tables.box import paper_group
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.latex import group_latex
from analysis.tables.forms.named import named_group
from bench.errors import UsageError

_EVALUATORS = {
    "fanova": "Optuna's functional ANOVA of random forests",
    "ped_anova": "PED-ANOVA for the best tenth of the box",
}
_FIGURES = ("robust_share_own", "expected_best", "importance", "profiles")  # points would take a page a method


def write_box_bundle(subject: BoxSubject, out: Path, *, command: str, font: str = "sans") -> list[Path]:
    """Fills the folder `out` and returns the paths written, `main.tex` first; as `write_bundle` of a grid.

    Raises UsageError if `out` holds anything else than an earlier, unchanged bundle, or no trial has a result.
    """
    refuse_other_files(out)
    if subject.board.is_empty():
        raise UsageError("there is nothing to export: no trial completed or diverged")
    sections, texts = box_sections(subject), box_texts(subject)
    group = named_group(paper_group(subject.board), subject.labels.latex)
    contents = Contents(
        tables={"box": [group_latex(group, label="box", floating=floating_of(group.tables))]},
        figures=[one for section in sections for one in section.figures if one.kind in _FIGURES],
        words=box_methods_text(subject),
        numbers={
            "numbers.csv": texts["box_trials.csv"],
            "leaderboard.csv": texts["box.csv"],
            **{f"scores/{name}": csv_text(one) for part in sections for name, one in part.frames.items()},
        },
        uncited=uncited_in(subject.results, OWN_CODE),
        scores={name: keys_of("score", name) for name in BOX_SCORES},
    )
    return write_contents(subject, contents, out, command=command, font=font)


def box_methods_text(subject: BoxSubject) -> Text:
    """What was trained, the box and its design, divergence, scores, intervals, importance, versions and hardware."""
    plain, results = subject.plain_manifest, subject.results
    suite = {**dict.fromkeys(("workloads", "methods", "optimizers", "schedules"), ()), **plain.get("suite", {})}
    return [
        *what_was_trained(results, suite),
        *optimizers_text(results, suite),
        f"Every method was trained at the same {subject.points.height} settings of {len(subject.knobs)} knobs, drawn "
        "by Optuna",
        Cite(keys=keys_of("program", "optuna")),
        f": {subject.facts['box']}",
        Cite(keys=keys_of("design", subject.design)),
        ". ",
        *others_text(results, [knob.name for knob in subject.knobs]),
        decay_text(results, suite),
        seeds_text(results),
        divergence_rule(has_own=True, has_imported=False) + " ",
        *_score_text(),
        *_interval_text(),
        *_importance_text(subject),
        *versions_text(plain, has_own=True, has_imported=False, further=("optuna",)),
    ]


def _score_text() -> Text:
    return [
        "The robust share of a method is the share of its runs, mean over seeds, whose final loss ",
        Math(formula=r"\ell"),
        " is at most ",
        Math(formula=r"\ell^* + \delta\,(\ell_0 - \ell^*)"),
        f" with delta = {DELTA:g}, where ",
        Math(formula=r"\ell_0"),
        " is the loss of its seed at init and ",
        Math(formula=r"\ell^*"),
        f" what the best of {BUDGET} random draws is expected to reach with that seed, the mean over all subsets of so "
        "many settings",
        Cite(keys=keys_of("score", f"expected_best_{BUDGET}")),
        f". The expected best of {BUDGET} draws that tables show is of the mean loss over seeds. ",
    ]


def _interval_text() -> Text:
    return [
        f"Brackets are two-sided {CONFIDENCE:.0%} intervals by Student's t: the variance is that of the jackknife over "
        "replicates of the design",
        Cite(keys=keys_of("statistic", "jackknife")),
        " plus what seeds do to all settings alike, with Satterthwaite's degrees of freedom",
        Cite(keys=keys_of("statistic", "crossed_samples")),
        "; of shares the interval is Wilson's with that error. Methods were compared in pairs, at the same settings "
        "with the same seeds, the p-values corrected by Holm's method",
        Cite(keys=keys_of("statistic", "holm")),
        "; ranks are the ranges that this leaves possible",
        Cite(keys=keys_of("statistic", "rank_ranges")),
        ". ",
    ]


def _importance_text(subject: BoxSubject) -> Text:
    """By what importance of knobs was evaluated; nothing where no replicate can be left out."""
    evaluators = subject.importance["evaluator"].unique(maintain_order=True).to_list()
    if not evaluators:
        return []
    text: Text = []
    for name in evaluators:
        text += [" and by " if text else "", _EVALUATORS[name], Cite(keys=keys_of("evaluator", name))]
    return ["Importance of knobs is by ", *text, ", with intervals by the jackknife over replicates. "]
