"""What interventions do, as tables."""

from __future__ import annotations

import polars as pl

from analysis.scores.causes.effects import EFFECT_COLUMNS, RECOVERY_EXCESS, RECOVERY_LOSSES
from analysis.tables.forms.rows import bracketed, fixed, grouped, table_of, text, varied
from analysis.tables.forms.table import Group, Table

NOTE = (
    "With the intervention minus the untouched twin, which is equal to the bit until it acts; brackets: 95% interval "
    "over pairs (of shares Newcombe's for paired ones, of losses Student's t; a failure counts as the loss at init). "
    f"Recovered: of pairs that both completed, those whose mean over {RECOVERY_LOSSES} measured losses came back to "
    f"within {RECOVERY_EXCESS:.0%} of the twin's and stayed there, and the median of the steps that took since the "
    "intervention ended, or began if it acts for good."
)


def effect_group(frame: pl.DataFrame) -> Group:
    """A table a workload of a frame of EFFECT_COLUMNS; knobs that are the same on every row are left out."""
    assert frame.columns == list(EFFECT_COLUMNS)
    return grouped(_table, frame, "workload", note=NOTE)


def _table(workload: str, frame: pl.DataFrame) -> Table:
    names = varied(frame, "optimizer", "schedule")
    knobs = varied(frame, "warmup_steps", "weight_decay", "grad_clip", "init_scale")
    return table_of(
        f"Effects of interventions on {workload}",
        frame,
        *((name.capitalize(), text(name)) for name in ("method", *names)),
        ("Intervention", text("intervention")),
        ("Strength", fixed("strength", None)),
        ("From step", fixed("from_step", 0)),
        ("To step", fixed("end_step", 0)),
        *((name, fixed(name, None)) for name in ("lr", *knobs)),
        ("Pairs", fixed("num_pairs", 0)),
        bracketed("Difference in diverged share", "diverged", "diverged", 2),
        ("Twins diverged", fixed("twin_diverged", 2)),
        bracketed("Difference in final loss", "loss", "loss", 3),
        ("Twins' loss", fixed("twin_loss", 3)),
        ("Recovered", fixed("recovered", 2)),
        ("Steps to it", fixed("recovery_steps", 0)),
        num_names=2 + len(names),
    )
