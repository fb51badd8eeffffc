"""Finished packs made up for tests: trials, results and traces without any training."""

import math
import random
from collections.abc import Sequence

import polars as pl

from bench.outcome import Outcome, Result
from bench.results.stored import Stored
from bench.results.subjects import read_subject
from bench.store import Store, Tracker
from bench.suite import Context, Suite
from bench.trace import TRACE_COLUMNS
from bench.trial import Choice, Knobs, Trial

NUM_STEPS = 200
TRACE_SCHEMA = {column: getattr(pl, kind) for column, kind in TRACE_COLUMNS.items()}
PLAIN_SUITE = {
    "name": "suite",
    "workloads": [{"name": "in_context_regression", "num_steps": NUM_STEPS}],
    "methods": ["softmax", "relu_kernel"],
    "optimizers": ["sgd"],
    "knobs": {"lr": [1e-3, 0.1]},
    "seeds": 3,
    "probe_every": 20,
}


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


def held_out_result(number: int) -> Result:
    """Like `result`, of a workload with held-out data."""
    held_out = {"initial_val_loss": 0.5 + number, "val_loss": 0.1 + 0.7 + number}
    held_out |= {"val_accuracy": 1 / 3, "val_calibration_error": 0.1}
    if number % 5 == 0:
        held_out |= {"val_loss": math.inf, "val_accuracy": None, "val_calibration_error": None}
    return result(number, held_out=held_out)


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


def suite(name: str, *, num_seeds: int = 3) -> Suite:
    """A suite of 4 trials a seed."""
    plain = {**PLAIN_SUITE, "name": name, "seeds": num_seeds}
    return Suite.model_validate(plain, context=Context(allow_code=False))


def suite_results(of: Suite) -> list[Result]:
    """A result of each trial, with losses of their own."""
    return [
        Result(trial=one, outcome=Outcome.COMPLETED, initial_loss=1.0, final_loss=0.1 + number / 7, wall_s=0.5)
        for number, one in enumerate(of.expand())
    ]


def deliver_suite(tracker: Tracker, store: Store, of: Suite) -> None:
    """As a run of the suite would: results, traces, leaderboard; the tracker is closed."""
    finished = suite_results(of)
    tracker.put(finished, {one.trial.id: trace(number) for number, one in enumerate(finished)})
    tracker.deliver()
    tracker.log_leaderboard(read_subject(Stored.of(of), store).board)
    tracker.finish("FINISHED")
    tracker.close()
