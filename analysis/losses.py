"""Which loss is scored: that of training or that on held-out data. Chosen once, before any curve or score is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from analysis.once import once_a_frame
from bench.errors import UsageError, unknown
from bench.outcome import RESULT_OUTCOMES, Outcome


@dataclass(frozen=True, kw_only=True)
class ScoredLoss:
    """A pair of result columns, before any update and at the end, and the words that readers see."""

    initial: str
    final: str
    title: str
    definition: str


SCORED_LOSSES: dict[str, ScoredLoss] = {
    "train": ScoredLoss(
        initial="initial_loss",
        final="final_loss",
        title="training loss",
        definition="mean over the last steps",
    ),
    "validation": ScoredLoss(
        initial="initial_val_loss",
        final="val_loss",
        title="held-out loss",
        definition="mean over the workload's held-out data, after the last update",
    ),
}

# Optimizers that evaluate other weights than those whose losses are traced in training, and how.
EVALUATED_ELSEWHERE: dict[str, str] = {
    "schedule_free_adamw": "training losses are those at y, where gradients are taken; held-out losses at the average x"
}


def choose_loss(results: pl.DataFrame, loss: str) -> pl.DataFrame:
    """`results` with the chosen pair as initial_loss and final_loss, which is what curves and scores are made of.

    `loss` is a key of SCORED_LOSSES. Raises UsageError for another, and for the validation loss of a workload without
    held-out data, or with results that lack the held-out loss at init.
    """
    if loss not in SCORED_LOSSES:
        raise unknown("loss", loss, SCORED_LOSSES)
    return results if loss == "train" else _with_held_out(results, loss)


@once_a_frame
def _with_held_out(results: pl.DataFrame, loss: str) -> pl.DataFrame:
    chosen = SCORED_LOSSES[loss]
    lacking = _workloads_without(results, chosen.final)
    if lacking:
        names = ", ".join(map(repr, lacking))
        raise UsageError(f"no trial of {names} has a {chosen.title}, without held-out data; required the loss 'train'")
    if unscored := unscored_held_out(results):
        raise UsageError("; ".join(unscored.values()))
    diverged = pl.col("outcome") == Outcome.DIVERGED.value  # which says it also where no held-out loss was kept
    final = pl.when(diverged).then(math.inf).otherwise(pl.col(chosen.final))
    return results.with_columns(initial_loss=pl.col(chosen.initial), final_loss=final)


def has_held_out(results: pl.DataFrame) -> bool:
    """True where some trial was measured on held-out data."""
    return results[SCORED_LOSSES["validation"].final].is_not_null().any()


def unscored_held_out(results: pl.DataFrame) -> dict[str, str]:
    """Why no score can be made of the held-out losses of a workload, by its label: results that lack the loss at init.

    Such losses are still shown where the training loss is scored. Workloads without held-out losses are left out.
    """
    pair = SCORED_LOSSES["validation"]
    measured = results.filter(pl.col("outcome").is_in(RESULT_OUTCOMES) & pl.col(pair.final).is_not_null())
    counts = measured.group_by("workload").agg(pl.len(), pl.col(pair.initial).is_null().sum()).sort("workload")
    return {
        workload: f"{workload}: {num_without} of {num} trials with a {pair.title} lack that at init ({pair.initial}), "
        "so no score can be made of it"
        for workload, num, num_without in counts.iter_rows()
        if num_without
    }


def can_score_held_out(results: pl.DataFrame) -> bool:
    """True where trials were measured on held-out data, and every one of them before any update as well."""
    return has_held_out(results) and not unscored_held_out(results)


def _workloads_without(results: pl.DataFrame, column: str) -> list[str]:
    """Workloads that have results, none of them with a value in the held-out `column`."""
    finished = results.filter(pl.col("outcome").is_in(RESULT_OUTCOMES))
    has_column = finished.group_by("workload").agg(pl.col(column).is_not_null().any())
    return has_column.filter(~pl.col(column))["workload"].sort().to_list()
