"""Finished packs made up for tests: trials, results and traces without any training."""

import math
import random
from collections.abc import Sequence

import polars as pl

from bench.trace import TRACE_COLUMNS
from bench.trial import Choice, Knobs, Outcome, Result, Trial

NUM_STEPS = 200
TRACE_SCHEMA = {column: getattr(pl, kind) for column, kind in TRACE_COLUMNS.items()}


def trial(number: int, *, method: str = "softmax", workload: str = "regression") -> Trial:
    return Trial(
        workload=Choice(name="regression", params={"num_steps": NUM_STEPS}, label=workload),
        method=Choice(name=method, params={"temperature": 1.0}),
        optimizer=Choice(name="adam", params={"beta1": 0.9}),
        schedule=Choice(name="constant", params={}),
        knobs=Knobs(lr=10.0 ** -(1 + number % 5)),
        seed=number,
        probe_every=20,
    )


def result(number: int, **changes) -> Result:
    """A completed result, or a diverged one every fifth; awkward floats on purpose."""
    made = trial(number, **{name: changes.pop(name) for name in ("method", "workload") if name in changes})
    fields = {
        "outcome": Outcome.COMPLETED,
        "initial_loss": 1 / 3 + number,
        "final_loss": math.pi * 1e-300 if number % 5 == 1 else 0.1 + 0.2 + number,
        "wall_s": 1.5,
    }
    if number % 5 == 0:
        fields |= {"outcome": Outcome.DIVERGED, "final_loss": math.inf, "diverged_step": 17}
    return Result(trial=made, **{**fields, **changes})


def held_out_result(number: int, **changes) -> Result:
    """Like `result`, of a workload with held-out data."""
    held_out = {"initial_val_loss": 0.5 + number, "val_loss": 0.1 + 0.7 + number}
    held_out |= {"val_accuracy": 1 / 3, "val_calibration_error": 0.1}
    if number % 5 == 0:
        held_out |= {"val_loss": math.inf, "val_accuracy": None, "val_calibration_error": None}
    return result(number, **{**held_out, **changes})


def results(numbers: Sequence[int]) -> list[Result]:
    return [result(number, method=("softmax", "relu")[number % 2]) for number in numbers]


def trace(number: int) -> pl.DataFrame:
    """Loss each step, two layers each 20 steps; the last loss of every fifth trial is inf, the one before NaN."""
    chance = random.Random(number)
    rows = [(step, "loss", -1, chance.random()) for step in range(NUM_STEPS)]
    if number % 5 == 0:
        rows[-2:] = [(NUM_STEPS - 2, "loss", -1, math.nan), (NUM_STEPS - 1, "loss", -1, math.inf)]
    for step in range(0, NUM_STEPS, 20):
        rows.append((step, "entropy_mean", -1, chance.random()))
        rows += [(step, "frobenius_norm", layer, 1.0 + layer) for layer in range(2)]
    return pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")


def traces(finished: Sequence[Result]) -> dict[str, pl.DataFrame]:
    return {one.trial.id: trace(one.trial.seed) for one in finished}


def held_out_trace(number: int) -> pl.DataFrame:
    """`trace` with held-out quantities each 50 steps from 0 to NUM_STEPS, the last as `held_out_result` has it."""
    rows = [
        (step, quantity, -1, value + NUM_STEPS - step)
        for step in range(0, NUM_STEPS + 1, 50)
        for quantity, value in {
            "val_loss": 0.1 + 0.7 + number,
            "val_accuracy": 1 / 3,
            "val_calibration_error": 0.1,
        }.items()
    ]
    return pl.concat([trace(number), pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")])
