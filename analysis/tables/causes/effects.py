"""What interventions do, and what it costs that they begin later, as tables."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from analysis.scores.causes.effect_starts import START_COLUMNS
from analysis.scores.causes.effects import EFFECT_COLUMNS, RECOVERY_EXCESS, RECOVERY_LOSSES
from analysis.tables.forms.rows import Filled, bracketed, fixed, grouped, table_of, text, varied
from analysis.tables.forms.table import Group, Table

EFFECT_NOTE = (
    "With the intervention minus the untouched twin, which is equal to the bit until it acts; brackets: 95% interval "
    "over pairs (of shares Newcombe's for paired ones, of losses Student's t; a failure counts as the loss at init). "
    f"Recovered: of pairs that both completed, those whose mean over {RECOVERY_LOSSES} measured losses came back to "
    f"within {RECOVERY_EXCESS:.0%} of the twin's and stayed there, and the median of the steps that took since the "
    "intervention ended, or began if it acts for good."
)


START_NOTE = (
    "Cost: final loss with the intervention minus that of its untouched twin. Difference: cost of the later start "
    "minus that of the first, by seed; brackets: Student's 95% interval over seeds, not corrected for the number of "
    "lines. A later start leaves fewer steps in which to recover."
)


def effect_group(frame: pl.DataFrame) -> Group:
    """A table a workload of a frame of EFFECT_COLUMNS; knobs that are the same on every row are left out."""
    assert frame.columns == list(EFFECT_COLUMNS)
    return grouped(_effect_table, frame, "workload", note=EFFECT_NOTE)


def start_group(frame: pl.DataFrame) -> Group:
    """As `effect_group`, of a frame of START_COLUMNS."""
    assert frame.columns == list(START_COLUMNS)
    return grouped(_start_table, frame, "workload", note=START_NOTE)


def _effect_table(workload: str, frame: pl.DataFrame) -> Table:
    acts = ("From step", fixed("from_step", 0)), ("To step", fixed("end_step", 0))
    return _of_interventions(
        f"Effects of interventions on {workload}",
        frame,
        acts,
        ("Pairs", fixed("num_pairs", 0)),
        bracketed("Difference in diverged share", "diverged", "diverged", 2),
        ("Twins diverged", fixed("twin_diverged", 2)),
        bracketed("Difference in final loss", "loss", "loss", 3),
        ("Twins' loss", fixed("twin_loss", 3)),
        ("Recovered", fixed("recovered", 2)),
        ("Steps to it", fixed("recovery_steps", 0)),
    )


def _start_table(workload: str, frame: pl.DataFrame) -> Table:
    return _of_interventions(
        f"Early against late interventions on {workload}",
        frame,
        (("Steps", fixed("num_steps", 0)),),
        ("First from", fixed("first_step", 0)),
        ("Later from", fixed("later_step", 0)),
        ("Seeds", fixed("num_seeds", 0)),
        ("Cost, first", fixed("first_cost", 3)),
        ("Cost, later", fixed("later_cost", 3)),
        bracketed("Difference", "difference", "difference", 3),
    )


def _of_interventions(heading: str, frame: pl.DataFrame, acts: Sequence[Filled], *filled: Filled) -> Table:
    """What was done to which entry, how strongly, when it acts, at which knobs; then the columns that are filled."""
    names = varied(frame, "optimizer", "schedule")
    knobs = varied(frame, "warmup_steps", "weight_decay", "grad_clip", "init_scale")
    return table_of(
        heading,
        frame,
        *((name.capitalize(), text(name)) for name in ("method", *names)),
        ("Intervention", text("intervention")),
        ("Strength", fixed("strength", None)),
        *acts,
        *((name, fixed(name, None)) for name in ("lr", *knobs)),
        *filled,
        num_names=2 + len(names),
    )
