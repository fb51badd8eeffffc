"""What it costs that an intervention begins later, as tables."""

from __future__ import annotations

import polars as pl

from analysis.scores.causes.effect_starts import START_COLUMNS
from analysis.tables.forms.rows import bracketed, fixed, grouped, table_of, text, varied
from analysis.tables.forms.table import Group, Table

NOTE = (
    "Cost: final loss with the intervention minus that of its untouched twin. Difference: cost of the later start "
    "minus that of the first, by seed; brackets: Student's 95% interval over seeds, not corrected for the number of "
    "lines. A later start leaves fewer steps in which to recover."
)


def start_group(frame: pl.DataFrame) -> Group:
    """A table a workload of a frame of START_COLUMNS; knobs that are the same on every row are left out."""
    assert frame.columns == list(START_COLUMNS)
    return grouped(_table, frame, "workload", note=NOTE)


def _table(workload: str, frame: pl.DataFrame) -> Table:
    names = varied(frame, "optimizer", "schedule")
    knobs = varied(frame, "warmup_steps", "weight_decay", "grad_clip", "init_scale")
    return table_of(
        f"Early against late interventions on {workload}",
        frame,
        *((name.capitalize(), text(name)) for name in ("method", *names)),
        ("Intervention", text("intervention")),
        ("Strength", fixed("strength", None)),
        ("Steps", fixed("num_steps", 0)),
        *((name, fixed(name, None)) for name in ("lr", *knobs)),
        ("First from", fixed("first_step", 0)),
        ("Later from", fixed("later_step", 0)),
        ("Seeds", fixed("num_seeds", 0)),
        ("Cost, first", fixed("first_cost", 3)),
        ("Cost, later", fixed("later_cost", 3)),
        bracketed("Difference", "difference", "difference", 3),
        num_names=2 + len(names),
    )
