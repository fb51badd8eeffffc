"""What a report tells beside leaderboard and curves, where a suite has it: guards, other knobs, several optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from analysis.across.optimizer_matrix import (
    optimizer_html,
    optimizer_latex,
    optimizer_markdown,
    optimizer_matrix,
    rank_correlations,
)
from analysis.curves import entry_label
from analysis.figures.knobs import joint_heat_map, optimizer_matrix_chart
from analysis.figures.of_a_suite import METHODS_PER_FIGURE, Drawn
from analysis.knobs import knob_text, varied_knobs
from analysis.losses import SCORED_LOSSES, choose_loss
from analysis.report.page import Section
from analysis.report.score_sections import other_scores
from analysis.report.section import Told, told
from analysis.scores.joint_maps import joint_map, stable_area
from analysis.scores.knobs import KNOB_SCORES, knob_sensitivity, lr_transfer
from analysis.scores.lr_shift import lr_shift
from analysis.scores.separation import seeds_to_separate
from analysis.scores.table import measured_entries
from analysis.tables.leaderboard import word_of
from analysis.tables.table import PlainTable
from analysis.text import decimals, lr_text, number

_MAP_NOTE = "×: at least one seed diverged, so the cell counts as its loss at init; ring: the best cell"
_SEEDS_NOTE = (
    "Neighbours in the order of methods with one optimizer and knobs: the worse minus the better score, with its 95% "
    "interval (paired by seed, not corrected for their number), and the number of seeds at which such an interval "
    "excludes 0 with 80% power, if difference and spread are as found: an order of magnitude."
)
_SHIFT_NOTE = (
    "The shift along log lr that brings each curve nearest to that of softmax, and the root mean square distance of "
    "their losses before and after. A method that is shifted and not otherwise different changes what a learning rate "
    "means."
)
_KNOB_NOTE = (
    "Sensitivity to a knob at the best learning rate for each of its values, then at the one best learning rate; "
    "brackets: 95% interval over seeds, too narrow where the best learning rate lies at a cliff that wanders between "
    "seeds (in simulations it then covers 65% to 92%)."
)
_AREA_NOTE = "Share: of the grid. The area is bounded by the grid, so it compares methods on one grid only."
_TRANSFER_NOTE = (
    "From the smallest to the largest value of the knob: how far the best learning rate moves, and what is lost at the "
    "largest by keeping that of the smallest."
)


def report_sections(
    results: pl.DataFrame, board: pl.DataFrame, score: str, loss: str, measures: pl.DataFrame | None = None
) -> list[Told]:
    """The sections that the suite has something for. `board` is the leaderboard of the results, score and loss.

    `measures` is what analysis.scores.traces.trial_measures says of the trials; None: no scores that need traces.
    """
    chosen = choose_loss(results, loss)
    scores = other_scores(measured_entries(results, measures, loss), loss)
    sections = (_guards(chosen, score), scores, _knobs(chosen, loss), _optimizers(board, loss))
    return [found for found in sections if found is not None]


def _guards(results: pl.DataFrame, score: str) -> Told | None:
    """Seeds that would separate neighbours, and curves that are the reference's moved."""
    separation, shifts = seeds_to_separate(results, score), lr_shift(results)
    files = {"seeds_to_separate.csv": separation, "lr_shift.csv": shifts}
    groups = [
        ([_separation_table(str(name), rows) for (name,), rows in _by(separation, "workload")], _SEEDS_NOTE),
        ([_shift_table(str(name), rows) for (name,), rows in _by(shifts, "workload")], _SHIFT_NOTE),
    ]
    return told("How far to trust the order", groups, files, (), {})


def _knobs(results: pl.DataFrame, loss: str) -> Told | None:
    """Sensitivity to each varied knob beyond lr, and its joint map with lr, where that varies too."""
    varied = varied_knobs(results)
    knobs = [knob for knob in varied if knob != "lr"]
    if not knobs:
        return None
    sensitivity = pl.concat([knob_sensitivity(results, knob) for knob in knobs])
    files = {"knob_sensitivity.csv": sensitivity}
    areas, transfer, figures = pl.DataFrame(), pl.DataFrame(), []
    if "lr" in varied:
        areas = pl.concat([stable_area(results, "lr", knob) for knob in knobs])
        transfer = pl.concat([lr_transfer(results, knob) for knob in knobs])
        files |= {"stable_area.csv": areas, "lr_transfer.csv": transfer}
        figures = [drawn for knob in knobs for drawn in _maps(joint_map(results, "lr", knob), knob, loss)]
    groups = [
        ([_sensitivity_table(key, rows) for key, rows in _by(sensitivity, "workload", "knob")], _KNOB_NOTE),
        ([_area_table(key, rows) for key, rows in _by(areas, "workload", "y_knob", "unit")], _AREA_NOTE),
        ([_transfer_table(key, rows) for key, rows in _by(transfer, "workload", "knob")], _TRANSFER_NOTE),
    ]
    return told("Other knobs", groups, files, figures, {name: score.definition for name, score in KNOB_SCORES.items()})


def _optimizers(board: pl.DataFrame, loss: str) -> Told | None:
    matrix = optimizer_matrix(board)
    if matrix.is_empty():
        return None
    files = {
        "optimizer_matrix.csv": matrix.write_csv(),
        "optimizer_matrix.md": optimizer_markdown(board),
        "optimizer_matrix.tex": optimizer_latex(board),
        "rank_correlations.csv": rank_correlations(board).write_csv(),
    }
    figures = []
    for key, rows in _by(matrix, "workload", "knobs"):
        title, place = "Learning-rate sensitivity by optimizer", _place(key)
        note = f"Scores of the {SCORED_LOSSES[loss].title}; brackets: 95% interval over seeds"
        chart = optimizer_matrix_chart(rows, title=title, subtitle=f"{place}\n{note}")
        figures.append(Drawn(kind="optimizer_matrix", title=title, place=place, chart=chart, summary=rows))
    section = Section(
        title="Optimizers", markdown=optimizer_markdown(board), html=optimizer_html(board), definitions={}
    )
    return Told(section=section, files=files, figures=tuple(figures))


def _maps(cells: pl.DataFrame, knob: str, loss: str) -> Iterator[Drawn]:
    """The joint map of lr and the knob for each workload, optimizer and knobs, a few methods at a time."""
    title = f"Final {SCORED_LOSSES[loss].title} over lr and {knob}"
    for key, rows in _by(cells, "workload", "optimizer", "knobs"):
        place, methods = _place(key), rows["method"].unique().sort().to_list()
        for start in range(0, len(methods), METHODS_PER_FIGURE):
            part = rows.filter(pl.col("method").is_in(methods[start : start + METHODS_PER_FIGURE]))
            words = f"final {SCORED_LOSSES[loss].title}\n(clipped at init)"
            chart = joint_heat_map(part, title=title, subtitle=f"{place}\n{_MAP_NOTE}", loss=words)
            yield Drawn(kind=f"joint_map_{knob}", title=title, place=place, chart=chart, summary=part)


def _separation_table(workload: str, rows: pl.DataFrame) -> PlainTable:
    places = decimals(rows["difference"], 2)
    cells = tuple(
        (
            row["better"],
            row["worse"],
            *_scored(row, "difference", "ci", places),
            str(row["num_seeds"]),
            row["seeds_needed"],
        )
        for row in rows.iter_rows(named=True)
    )
    titles = ("Better", "Worse", "Difference", "95% interval", "Seeds", "Seeds needed")
    return PlainTable(heading=f"Seeds to separate neighbours on {workload}", titles=titles, rows=cells, num_names=2)


def _shift_table(workload: str, rows: pl.DataFrame) -> PlainTable:
    places = decimals(rows["distance_unshifted"], 2)
    cells = tuple(
        (
            entry_label(row["method"], row["optimizer"], row["knobs"]),
            number(row["shift_decades"], 2),
            number(row["distance_unshifted"], places),
            number(row["distance"], places),
            "yes" if row["is_shifted"] else "no",
        )
        for row in rows.iter_rows(named=True)
    )
    titles = ("Method", "Shift in decades", "Distance", "After the shift", "Shifted")
    return PlainTable(heading=f"Learning rates against those of softmax on {workload}", titles=titles, rows=cells)


def _sensitivity_table(key: tuple[Any, ...], rows: pl.DataFrame) -> PlainTable:
    places, loss_places = decimals(rows["sensitivity"], 3), decimals(rows["best_loss"], 3)
    cells = tuple(
        (
            entry_label(row["method"], row["optimizer"], row["knobs"]),
            *_scored(row, "sensitivity", "ci", places),
            *_scored(row, "at_best_lr", "at_best_lr_ci", places),
            number(row["best_loss"], loss_places),
            knob_text(row["best_value"]),
            knob_text(row["worst_value"]),
            _words(row["flags"]),
        )
        for row in rows.iter_rows(named=True)
    )
    titles = ("Method", "Sensitivity", "95% interval", "At one lr", "95% interval", "Best loss", "Best at", "Worst at")
    return PlainTable(heading=f"Sensitivity to {key[1]} on {key[0]}", titles=(*titles, "Flags"), rows=cells)


def _area_table(key: tuple[Any, ...], rows: pl.DataFrame) -> PlainTable:
    workload, _, unit = key
    places = decimals(rows["stable_area"], 3)
    cells = tuple(
        (
            entry_label(row["method"], row["optimizer"], row["knobs"]),
            *_scored(row, "stable_area", "ci", places),
            f"{row['stable_share']:.0%}",
            _words(row["flags"]),
        )
        for row in rows.iter_rows(named=True)
    )
    titles = ("Method", "Stable area", "95% interval", "Share", "Flags")
    return PlainTable(heading=f"Stable area on {workload}, in {unit}", titles=titles, rows=cells)


def _transfer_table(key: tuple[Any, ...], rows: pl.DataFrame) -> PlainTable:
    entry = ["method", "optimizer", "knobs"]
    ends = rows.sort("value").group_by(entry, maintain_order=True).agg(pl.all().last(), first=pl.col("best_lr").first())
    loss_places = decimals(ends["loss_lost"].drop_nulls(), 2)
    cells = tuple(
        (
            entry_label(row["method"], row["optimizer"], row["knobs"]),
            lr_text(row["first"]),
            lr_text(row["best_lr"]),
            *_scored(row, "shift_decades", "shift_ci", 2),
            *_scored(row, "loss_lost", "loss_lost_ci", loss_places),
            _words(row["flags"]),
        )
        for row in ends.sort(entry).iter_rows(named=True)
    )
    titles = ("Method", "Best lr at the smallest", "At the largest", "Shift in decades", "95% interval", "Loss lost")
    heading = f"Best learning rate across {key[1]} on {key[0]}"
    return PlainTable(heading=heading, titles=(*titles, "95% interval", "Flags"), rows=cells)


def _scored(row: dict[str, Any], name: str, ends: str, places: int) -> tuple[str, str]:
    """The number and its interval."""
    low, high = (row[f"{ends}_{end}"] for end in ("low", "high"))
    return number(row[name], places), "–" if low is None else f"[{number(low, places)}, {number(high, places)}]"


def _words(flags: str) -> str:
    return ", ".join(word_of(word) for word in flags.split(",") if word)


def _by(frame: pl.DataFrame, *names: str) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    """The groups of the columns in the frame's order; none of an empty frame."""
    return [] if frame.is_empty() else list(frame.group_by(*names, maintain_order=True))


def _place(key: tuple[Any, ...]) -> str:
    return ", ".join(str(part) for part in key if part)
