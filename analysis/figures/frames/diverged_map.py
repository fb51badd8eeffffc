"""Which trials diverged, and when: a cell for every learning rate and seed. Computes; draws nothing."""

from __future__ import annotations

import polars as pl

from analysis.curves import ENTRY, one_a_point, require_columns, with_knobs
from analysis.text import counted
from bench.outcome import RESULT_COLUMNS, Outcome

COMPLETED, DIVERGED = Outcome.COMPLETED.value, Outcome.DIVERGED.value
BLOWN_UP, STUCK, LOST = "blown up", "stuck", "lost"
STATES = (COMPLETED, BLOWN_UP, STUCK, DIVERGED, LOST)


def diverged_map(results: pl.DataFrame) -> pl.DataFrame:
    """How each trial ended, one row an entry, lr and seed, sorted by them.

    `results` has RESULT_COLUMNS. Columns: ENTRY, lr, seed, state (of STATES; `blown up` and `stuck`: completed, as
    analysis.blown_up and analysis.stuck say; `lost`: crashed, out of memory or timed out, and without a result since),
    step (of the divergence, where it is known; null otherwise). Raises UsageError if two results claim one point.
    """
    require_columns(results, RESULT_COLUMNS, "the results frame")
    point = [*ENTRY, "lr", "seed"]
    is_diverged = pl.col("final_loss").is_infinite()
    state = pl.when(pl.col("final_loss").is_null()).then(pl.lit(LOST)).when(is_diverged).then(pl.lit(DIVERGED))
    state = state.when("blown_up").then(pl.lit(BLOWN_UP)).when("stuck").then(pl.lit(STUCK))
    return one_a_point(with_knobs(results), point).select(
        *point, state=state.otherwise(pl.lit(COMPLETED)), step=pl.when(is_diverged).then("diverged_step")
    )


def divergence_words(cells: pl.DataFrame) -> str:
    """How many trials of the frame of `diverged_map` diverged, when, how many blew up and are stuck, in words."""
    require_columns(cells, ("state", "step"), "the map of divergence")
    num_lost = cells.filter(state=LOST).height
    total, diverged = cells.height - num_lost, cells.filter(state=DIVERGED)
    lost = f" {num_lost} more were lost (crashed, out of memory or timed out)." if num_lost else ""
    num_blown_up, num_stuck = (cells.filter(state=state).height for state in (BLOWN_UP, STUCK))
    lost = (f" {num_stuck} completed without learning." if num_stuck else "") + lost
    lost = (f" {num_blown_up} completed, but ended above their loss at init." if num_blown_up else "") + lost
    if diverged.is_empty():
        return f"None of {counted(total, 'trial')} diverged.{lost}"
    steps = diverged["step"].drop_nulls().sort().to_list()
    when = ""
    if steps:
        half = steps[(len(steps) - 1) // 2]
        when = f", the first at step {steps[0]:,}, half of them by step {half:,}, the last at step {steps[-1]:,}"
    return f"{diverged.height} of {counted(total, 'trial')} diverged{when}.{lost}"
