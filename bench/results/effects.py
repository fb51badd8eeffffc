"""Which trials of a suite are twins."""

from __future__ import annotations

import dataclasses

from analysis.scores.causes.effects import PAIR_COLUMNS
from bench.entry import build
from bench.interventions import INTERVENTIONS
from bench.interventions.base import Intervention
from bench.lazy import polars
from bench.suite import Suite


def twin_pairs(suite: Suite) -> polars.DataFrame:
    """PAIR_COLUMNS: every trial with an intervention, and the id of the same trial without."""
    rows = []
    for trial in suite.expand() if suite.interventions else ():
        if trial.intervention is not None:
            one: Intervention = build(INTERVENTIONS, trial.intervention)
            rows.append(
                {
                    "trial_id": trial.id,
                    "twin_id": dataclasses.replace(trial, intervention=None).id,
                    "intervention": trial.intervention.label,
                    "strength": float(getattr(one, one.strength)) if one.strength else None,
                    "from_step": one.from_step,
                    "end_step": None if one.for_steps is None else one.from_step + one.for_steps,
                }
            )
    return polars.DataFrame(rows, schema=PAIR_COLUMNS)
