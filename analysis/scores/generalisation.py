"""How each method does on held-out data at its best learning rate: means, intervals, and the table that shows them."""

from __future__ import annotations

import html

import numpy as np
import polars as pl

from analysis.curves import CURVE_COLUMNS, ENTRY, require_columns
from analysis.losses import SCORED_LOSSES
from analysis.scores.intervals import mean_interval
from analysis.tables.table import PlainTable, plain_html, plain_latex, plain_markdown
from analysis.text import decimals, escape_markdown, lr_text, number
from bench.held_out import HELD_OUT

# Measures of a leaderboard where the workload has held-out data, each the mean over seeds at the method's best lr.
HELD_OUT_DEFINITIONS: dict[str, str] = {
    **{name: measure.definition for name, measure in HELD_OUT.items()},
    "generalisation_gap": "held-out loss after the last update - training loss, mean over the last steps, paired by "
    "seed; training losses are taken as training computes them, with dropout where there is any, so it may be negative",
}

HELD_OUT_MEASURES: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(HELD_OUT_DEFINITIONS, pl.Float64),
    **{f"{name}_{end}": pl.Float64 for name in HELD_OUT_DEFINITIONS for end in ("ci_low", "ci_high")},
}

_TITLES: dict[str, str] = {
    **{name: measure.heading for name, measure in HELD_OUT.items()},
    "generalisation_gap": "Generalisation gap",
}


def held_out(curve_frame: pl.DataFrame, best_lrs: pl.DataFrame) -> pl.DataFrame:
    """ENTRY and HELD_OUT_MEASURES: one row an entry of `best_lrs` that has results at its lr.

    `curve_frame` is that of `curves` on the training loss, `best_lrs` has ENTRY and best_lr. ci_low and ci_high bound
    the 95% interval of the mean over seeds, the lr taken as given (null with one seed). A measure is null where a
    seed with a result lacks it or diverged, so that no mean is over the lucky seeds alone.
    """
    require_columns(curve_frame, CURVE_COLUMNS, "the curves frame")
    require_columns(best_lrs, (*ENTRY, "best_lr"), "the frame of best learning rates")
    at_best = curve_frame.join(best_lrs.select(*ENTRY, "best_lr"), on=ENTRY).filter(
        pl.col("lr") == pl.col("best_lr"), pl.col("final_loss").is_not_null()
    )
    with_gap = at_best.with_columns(generalisation_gap=pl.col("val_loss") - pl.col("final_loss"))
    rows = [
        {**dict(zip(ENTRY, key, strict=True)), **_measures(of_entry)}
        for key, of_entry in with_gap.group_by(ENTRY, maintain_order=True)
    ]
    return pl.DataFrame(rows, schema={**dict.fromkeys(ENTRY, pl.String), **HELD_OUT_MEASURES})


def generalisation_markdown(leaderboard: pl.DataFrame) -> str:
    """A pipe table for each workload with held-out data, then how to read it; "" if there is none."""
    tables = generalisation_tables(leaderboard)
    note = escape_markdown(reading_note(leaderboard))
    return "\n".join([*map(plain_markdown, tables), note, ""]) if tables else ""


def generalisation_html(leaderboard: pl.DataFrame) -> str:
    """A fragment like `generalisation_markdown`; every name escaped."""
    tables = generalisation_tables(leaderboard)
    return (
        "\n".join([*map(plain_html, tables), f"<p>{html.escape(reading_note(leaderboard))}</p>", ""]) if tables else ""
    )


def generalisation_latex(leaderboard: pl.DataFrame) -> str:
    """A booktabs `table` for each workload with held-out data; "" if there is none."""
    caption = reading_note(leaderboard)
    return "\n".join(plain_latex(table, caption=caption) for table in generalisation_tables(leaderboard))


def generalisation_tables(leaderboard: pl.DataFrame) -> list[PlainTable]:
    """One table a workload that has held-out data, lowest held-out loss first; columns that say nothing are left out.

    `leaderboard` is the frame of analysis.scores.leaderboard.
    """
    require_columns(leaderboard, (*ENTRY, "best_lr", *HELD_OUT_MEASURES), "the leaderboard frame")
    several = [name for name in ("optimizer", "knobs") if leaderboard[name].n_unique() > 1]
    tables = []
    for (workload,), group in leaderboard.group_by("workload", maintain_order=True):
        measures = [name for name in HELD_OUT_DEFINITIONS if group[name].is_not_null().any()]
        if measures:
            tables.append(_table(f"Generalisation on {workload}", group, ["method", *several], measures))
    return tables


def reading_note(leaderboard: pl.DataFrame) -> str:
    """What the numbers and their intervals are, with the loss that chose the learning rate."""
    chosen_by = " and ".join(SCORED_LOSSES[loss].title for loss in leaderboard["loss"].unique().sort())
    return (
        f"Means over seeds at each method's best learning rate (by its {chosen_by}); ±: half the width of the 95% "
        "interval over seeds (Student's t). Nothing is stated where a seed diverged at that rate. Generalisation gap: "
        "held-out minus training loss."
    )


def _measures(of_entry: pl.DataFrame) -> dict[str, float | None]:
    row: dict[str, float | None] = dict.fromkeys(HELD_OUT_MEASURES)
    for name in HELD_OUT_DEFINITIONS:
        values_S = of_entry[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if np.isfinite(values_S).all():
            mean = mean_interval(values_S)
            row |= {name: mean.value, f"{name}_ci_low": mean.low, f"{name}_ci_high": mean.high}
    return row


def _table(heading: str, group: pl.DataFrame, names: list[str], measures: list[str]) -> PlainTable:
    ordered = group.sort("val_loss", *names, nulls_last=True)
    columns = [ordered[name].to_list() for name in names]
    columns += [list(map(lr_text, ordered["best_lr"])), *(_measure_cells(ordered, name) for name in measures)]
    titles = (*(name.capitalize() for name in names), "Best lr", *(_TITLES[name] for name in measures))
    return PlainTable(heading=heading, titles=titles, rows=tuple(zip(*columns, strict=True)), num_names=len(names))


def _measure_cells(group: pl.DataFrame, name: str) -> list[str]:
    """`mean ± half width`, the widest in two significant digits; without intervals three digits of the largest mean."""
    halves = (group[f"{name}_ci_high"] - group[name]).to_list()
    known = [half for half in halves if half]
    places = decimals(known, 2) if known else decimals(group[name].drop_nulls(), 3)
    texts = [number(value, places) for value in group[name]]
    return [
        text if half is None else f"{text} ± {number(half, places)}" for text, half in zip(texts, halves, strict=True)
    ]
