"""What a search over a box asked for: its rounds as a table, and the figure of the losses. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.figures.of_a_suite import Drawn
from analysis.figures.search import DIVERGED, NO_RESULT, settings_chart
from analysis.tables.forms.table import Column, Table

_NOTE = "Shaded: every other round; ×: a seed diverged; line: the least so far"


def asked_settings(trail: pl.DataFrame) -> pl.DataFrame:
    """SETTING_COLUMNS of analysis.figures.search, from the trail of one search over a box."""
    clipped = pl.when(pl.col("final_loss").is_not_null()).then(pl.min_horizontal("final_loss", "initial_loss"))
    return (
        trail.group_by("round", "setting", maintain_order=True)
        .agg(loss=clipped.mean(), num_diverged=pl.col("final_loss").is_infinite().sum().cast(pl.Int64))
        .with_row_index("trial", 1)
        .select(
            pl.col("trial").cast(pl.Int64),
            *("round", "setting", "loss"),
            least=pl.col("loss").cum_min().forward_fill(),
            num_diverged="num_diverged",
        )
    )


def box_rounds(trail: pl.DataFrame) -> Table:
    """A row a round: why it was asked for, and every setting with its final losses in the order of the seeds."""
    rows = []
    for asked in trail.partition_by("round", maintain_order=True):
        parts = asked.partition_by("setting", maintain_order=True)
        came = "; ".join(
            f"{part['setting'][0]}: {', '.join(map(_ended, part.iter_rows(named=True)))}" for part in parts
        )
        rows.append((str(asked["round"][0]), asked["why"][0], came))
    seeds = ", ".join(map(str, trail["seed"].unique().sort()))
    titles = tuple(Column(title=title, is_name=True) for title in ("Round", "Why", f"Setting: loss of seeds {seeds}"))
    return Table(heading="Rounds", columns=titles, rows=tuple(rows), kind="rounds")


def box_drawn(trail: pl.DataFrame, place: str) -> Drawn:
    """The figure of a search over a box."""
    title, asked = "Settings that the search asked for", asked_settings(trail)
    note = _NOTE + ("; gap: pruned" if trail["pruned_step"].is_not_null().any() else "")
    return Drawn.of(settings_chart, asked, kind="asked", title=title, place=place, note=note)


def pruned_words(row: Mapping[str, Any]) -> str:
    """After how many steps a row of the trail was pruned; empty if it was not."""
    return "" if row["pruned_step"] is None else f"pruned after {row['pruned_step'] + 1:,} steps"


def _ended(row: Mapping[str, Any]) -> str:
    loss = row["final_loss"]
    if loss is None:
        return pruned_words(row) or NO_RESULT
    return DIVERGED if loss == float("inf") else f"{loss:.4g}"
