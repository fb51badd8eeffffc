"""What a report tells beside leaderboard and curves, where a suite has it: guards, other knobs, several optimizers."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from analysis.across.optimizer_matrix import optimizer_matrix, rank_correlations
from analysis.curves import groups_of, label_of
from analysis.figures.detectors import CURVE_NOTES, CURVE_TITLES, warning_plot
from analysis.figures.effects import effect_plot
from analysis.figures.knobs import joint_heat_map, optimizer_matrix_chart
from analysis.figures.of_a_suite import Drawn, each_drawn, few_methods
from analysis.knobs import varied_knobs
from analysis.labels import Labels
from analysis.losses import SCORED_LOSSES, choose_loss
from analysis.report.score_sections import other_scores
from analysis.report.section import Section
from analysis.scores.causes.effect_starts import effect_starts
from analysis.scores.costs import step_costs
from analysis.scores.joint_maps import joint_map, stable_area
from analysis.scores.knobs import KNOB_SCORES, knob_sensitivity, lr_transfer
from analysis.scores.lr_shift import lr_shift
from analysis.scores.seeds.separation import seeds_to_separate
from analysis.subject import Subject
from analysis.tables.causes.aborts import abort_group
from analysis.tables.causes.early_warning import warning_group
from analysis.tables.causes.effects import effect_group, start_group
from analysis.tables.causes.theory import theory_group
from analysis.tables.costs import cost_group
from analysis.tables.forms.latex import NEEDS, group_latex
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.forms.named import named_group
from analysis.tables.guards import separation_group, shift_group
from analysis.tables.knobs import area_group, sensitivity_group, transfer_group
from analysis.tables.optimizers import optimizer_group
from analysis.text import entry_name

_EFFECT_NOTE = "Mean over pairs of one seed; bars: 95% interval; a failure counts as the loss at init"
_MAP_NOTE = "×: at least one seed diverged, so the cell counts as its loss at init; ring: the best cell"


def report_sections(subject: Subject) -> list[Section]:
    """The sections that the subject has something for. Raises UsageError as `choose_loss` does."""
    board, loss = subject.board, subject.loss
    sections = (
        _guards(choose_loss(subject.compared, loss), subject.score),
        other_scores(subject.entries, loss),
        _effects(subject.effects, subject.paired),
        _theory(subject.theory),
        _early_warning(subject.early_warning, subject.warning_curves),
        _aborts(subject.aborts),
        _costs(board),
        _knobs(subject.scored, loss),
        _optimizers(board.filter(control_of=""), loss, subject.labels),
    )
    return [section for section in sections if section is not None and not section.is_empty]


def _guards(results: pl.DataFrame, score: str) -> Section:
    """Seeds that would separate neighbours, and curves that are the reference's moved."""
    separation, shifts = seeds_to_separate(results, score), lr_shift(results)
    return Section(
        title="How far to trust the order",
        groups=(separation_group(separation), shift_group(shifts)),
        data={"seeds_to_separate.csv": separation, "lr_shift.csv": shifts},
    )


def _effects(effects: pl.DataFrame, pairs: pl.DataFrame) -> Section:
    """What interventions did, and when, beside untouched twins."""
    starts = effect_starts(pairs)
    kinds = effects.with_columns(kind=pl.col("intervention").map_elements(entry_name, pl.String))
    words = {"title": "What an intervention costs, by when it begins", "note": _EFFECT_NOTE}
    figures = each_drawn(effect_plot, kinds, "workload", "method", "kind", kind="effects", **words)
    return Section(
        title="Effects of interventions",
        groups=(effect_group(effects), start_group(starts)),
        data={"effects.csv": effects, "effect_starts.csv": starts, "pairs.csv": pairs},
        figures=tuple(figures),
    )


def _theory(theory: pl.DataFrame) -> Section:
    """What theorems say of rows of attention, beside what was measured."""
    return Section(title="Theory beside measurement", groups=(theory_group(theory),), data={"theory.csv": theory})


def _early_warning(board: pl.DataFrame, curves: pl.DataFrame) -> Section:
    """How well detectors warn of divergence and blow-up, and when."""
    figures = []
    for (*key, curve), rows in groups_of(curves, "workload", "optimizer", "curve"):
        words = {"title": CURVE_TITLES[curve], "place": label_of(key), "note": CURVE_NOTES[curve]}
        figures.append(Drawn.of(warning_plot, rows, kind=f"warnings_{curve}", **words))
    return Section(
        title="Early warning",
        groups=(warning_group(board),),
        data={"warnings.csv": board, "warning_curves.csv": curves},
        figures=tuple(figures),
    )


def _aborts(aborts: pl.DataFrame) -> Section:
    """What aborting runs on a warning saved and lost."""
    return Section(title="Aborted on a warning", groups=(abort_group(aborts),), data={"aborts.csv": aborts})


def _costs(board: pl.DataFrame) -> Section:
    """Parameters and arithmetic of a step, by method."""
    costs = step_costs(board)
    return Section(title="What a step costs", groups=(cost_group(costs),), data={"costs.csv": costs})


def _knobs(results: pl.DataFrame, loss: str) -> Section | None:
    """Sensitivity to each varied knob beyond lr, and its joint map with lr, where that varies too."""
    varied = varied_knobs(results)
    knobs = [knob for knob in varied if knob != "lr"]
    if not knobs:
        return None
    sensitivity = pl.concat([knob_sensitivity(results, knob) for knob in knobs])
    areas, transfer, figures = pl.DataFrame(), pl.DataFrame(), list[Drawn]()
    if "lr" in varied:
        areas = pl.concat([stable_area(results, "lr", knob) for knob in knobs])
        transfer = pl.concat([lr_transfer(results, knob) for knob in knobs])
        figures = [drawn for knob in knobs for drawn in _maps(joint_map(results, "lr", knob), knob, loss)]
    return Section(
        title="Other knobs",
        groups=(sensitivity_group(sensitivity), area_group(areas), transfer_group(transfer)),
        data={"knob_sensitivity.csv": sensitivity, "stable_area.csv": areas, "lr_transfer.csv": transfer},
        figures=tuple(figures),
        definitions={name: score.definition for name, score in KNOB_SCORES.items()},
    )


def _optimizers(board: pl.DataFrame, loss: str, labels: Labels) -> Section:
    matrix, group = optimizer_matrix(board), optimizer_group(board)
    note = f"Scores of the {SCORED_LOSSES[loss].title}; brackets: 95% interval over seeds"
    words = {"title": "Learning-rate sensitivity by optimizer", "note": note}
    figures = each_drawn(optimizer_matrix_chart, matrix, "workload", "knobs", kind="optimizer_matrix", **words)
    return Section(
        title="Optimizers",
        groups=(group,),
        data={
            "optimizer_matrix.csv": matrix,
            "optimizer_matrix.md": group_markdown(named_group(group, labels.plain)),
            "optimizer_matrix.tex": f"{NEEDS}{group_latex(named_group(group, labels.latex))}",
            "rank_correlations.csv": rank_correlations(board),
        },
        figures=tuple(figures),
    )


def _maps(cells: pl.DataFrame, knob: str, loss: str) -> Iterator[Drawn]:
    """The joint map of lr and the knob for each workload, optimizer and knobs, a few methods at a time."""
    title = f"Final {SCORED_LOSSES[loss].title} over lr and {knob}"
    for key, rows in groups_of(cells, "workload", "optimizer", "knobs"):
        place = label_of(key)
        for part in few_methods(rows):
            words = {"title": title, "note": _MAP_NOTE, "loss": f"final {SCORED_LOSSES[loss].title}\n(clipped at init)"}
            yield Drawn.of(joint_heat_map, part, kind=f"joint_map_{knob}", place=place, **words)
