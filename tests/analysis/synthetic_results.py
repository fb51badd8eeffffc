"""Results and traces that look like the paper's suite, made without training; for tests and for looking at figures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl

from analysis.subject import Subject, no_traces
from bench.outcome import RESULT_COLUMNS
from bench.trace import TRACE_COLUMNS

TRACE_SCHEMA = {"trial_id": pl.String, **{name: getattr(pl, dtype) for name, dtype in TRACE_COLUMNS.items()}}

LRS = [m * 10.0**k for k in range(-5, 2) for m in (1, 3, 5) if m * 10.0**k <= 10]

# method: (log10 lr where learning sets in, log10 lr of the cliff, best loss)
METHODS: dict[str, tuple[float, float, float]] = {
    "softmax": (-2.2, -0.9, 0.35),
    "window_softmax(width=8)": (-2.2, -0.8, 0.45),
    "sigma_reparam_qk": (-2.5, -0.7, 0.40),
    "sigmoid_kernel": (-2.4, -0.3, 0.60),
    "elu_kernel": (-2.5, -0.3, 0.55),
    "qk_layernorm_weight_clipped": (-2.8, 0.9, 0.50),
    "relu_kernel": (-2.7, 1.2, 0.90),
}
NUM_STEPS = 2000


def row(method: str, lr: float, seed: int, final_loss: float | None, **other: object) -> dict[str, object]:
    """One row of RESULT_COLUMNS; +inf means diverged, None lost; keyword arguments replace columns."""
    outcome = "crashed" if final_loss is None else "diverged" if math.isinf(final_loss) else "completed"
    base: dict[str, object] = {
        "trial_id": "", "workload": "in_context_regression", "method": method, "optimizer": "sgd",
        "schedule": "constant", "lr": lr, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": math.inf,
        "init_scale": 1.0, "settings": "{}", "seed": seed, "num_steps": NUM_STEPS, "outcome": outcome,
        "diverged_step": 100 if outcome == "diverged" else None, "initial_loss": None if final_loss is None else 4.0,
        "final_loss": final_loss, "wall_s": 1.0,
    }  # fmt: skip
    base.update(other)
    base["trial_id"] = base["trial_id"] or "-".join(str(base[name]) for name in sorted(base) if name != "trial_id")
    return base


def frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: getattr(pl, dtype) for name, dtype in RESULT_COLUMNS.items()})


def results(
    *, num_seeds: int = 5, seed: int = 0, methods: dict[str, tuple[float, float, float]] = METHODS
) -> pl.DataFrame:
    """RESULT_COLUMNS of len(methods) x 19 learning rates x num_seeds trials."""
    rng = np.random.default_rng(seed)
    initial = 3.2 + 0.05 * rng.standard_normal(num_seeds)
    rows = []
    for method, (onset, cliff, floor) in methods.items():
        for s in range(num_seeds):
            edge = cliff + 0.15 * rng.standard_normal()
            for lr in LRS:
                learned = 1 / (1 + math.exp(-3 * (math.log10(lr) - onset)))
                loss = (initial[s] - (initial[s] - floor) * learned) * math.exp(0.04 * rng.standard_normal())
                over = math.log10(lr) - edge
                if over > 0:
                    loss = initial[s] * rng.uniform(0.6, 1.3) if over < 0.3 and rng.random() < 0.6 else math.inf
                step = max(3, int(400 * 10 ** (-max(over, 0)))) if math.isinf(loss) else None
                rows.append(row(method, lr, s, loss, initial_loss=initial[s], diverged_step=step))
    return frame(rows)


def traces(results: pl.DataFrame, *, num_keys: int = 21, num_layers: int = 5, seed: int = 1) -> pl.DataFrame:
    """TRACE_COLUMNS + trial_id for every trial of `results`, 60 log-spaced steps each."""
    rng = np.random.default_rng(seed)
    names = results["method"].unique().sort().to_list()
    steps_T = np.unique(np.round(np.geomspace(1, NUM_STEPS, 60)).astype(int) - 1)
    parts = []
    for trial in results.iter_rows(named=True):
        end = trial["diverged_step"] or NUM_STEPS
        t = steps_T[steps_T <= end]
        progress = (1 - np.exp(-t * trial["lr"] / 5)) if math.isfinite(trial["final_loss"]) else (t / end) ** 2
        final = min(trial["final_loss"], 40.0)
        loss = (trial["initial_loss"] + (final - trial["initial_loss"]) * progress) * np.exp(
            0.1 * rng.standard_normal(len(t))
        )
        layers = np.array(
            [
                math.log(num_keys)
                * (
                    1
                    - progress
                    * (
                        0.3 + 0.1 * layer
                        if math.isinf(trial["final_loss"])
                        else 0.02 * layer * (1 + names.index(trial["method"]))
                    )
                )
                for layer in range(num_layers)
            ]
        )
        layers = np.clip(layers, 0, math.log(num_keys))
        norm = 1 + (math.sqrt(num_keys) - 1) * (1 - layers / math.log(num_keys))
        values = {
            ("loss", -1): loss,
            ("grad_norm", -1): loss * np.exp(0.3 * rng.standard_normal(len(t))),
            ("entropy_mean", -1): layers.mean(0),
            ("entropy_std", -1): layers.std(0),
            **{("entropy", layer): layers[layer] for layer in range(num_layers)},
            **{("least_head_entropy", layer): layers[layer] for layer in range(num_layers)},
            **{("uniform_entropy", layer): np.full(len(t), math.log(num_keys)) for layer in range(num_layers)},
            **{("frobenius_norm", layer): norm[layer] for layer in range(num_layers)},
        }
        place = np.repeat(np.arange(len(values)), len(t))  # of each row among the quantities
        columns = {
            "trial_id": pl.repeat(trial["trial_id"], len(place), eager=True),
            "step": np.tile(t, len(values)),
            "quantity": pl.Series([quantity for quantity, _ in values]).gather(place),
            "layer": np.array([layer for _, layer in values])[place],
            "value": np.concatenate(list(values.values())),
        }
        parts.append(pl.DataFrame(columns, schema=TRACE_SCHEMA))
    return pl.concat(parts)


def with_held_out(results: pl.DataFrame) -> pl.DataFrame:
    """The results as if the workload had held-out data: a twentieth more loss and 0.05 on top, accuracy to match."""
    val_loss = 1.05 * pl.col("final_loss") + 0.05
    is_completed = pl.col("outcome") == "completed"
    accuracy = (1 - val_loss / (1.1 * pl.col("initial_loss"))).clip(0.1, 1)
    return results.with_columns(
        initial_val_loss=pl.col("initial_loss") + 0.02,
        val_loss=val_loss,
        val_accuracy=pl.when(is_completed).then(accuracy),
        val_calibration_error=pl.when(is_completed).then(0.02 + 0.01 * pl.col("seed") + 0.05 * (1 - accuracy)),
    )


def held_out_traces(results: pl.DataFrame, *, eval_every: int = 250) -> pl.DataFrame:
    """TRACE_COLUMNS + trial_id of held-out quantities at steps 0, eval_every, ..., NUM_STEPS, until a divergence."""
    rows = []
    for trial in with_held_out(results).iter_rows(named=True):
        end = NUM_STEPS if trial["diverged_step"] is None else trial["diverged_step"]
        for step in range(0, end + 1, eval_every):
            done = 1 - math.exp(-step * trial["lr"] / 5)
            final = min(trial["val_loss"], 40.0)
            loss = trial["initial_val_loss"] + (final - trial["initial_val_loss"]) * done
            rows.append((trial["trial_id"], step, "val_loss", -1, loss))
            rows.append(
                (trial["trial_id"], step, "val_accuracy", -1, 0.1 + ((trial["val_accuracy"] or 0.1) - 0.1) * done)
            )
            rows.append((trial["trial_id"], step, "val_calibration_error", -1, 0.05))
    return pl.DataFrame(rows, schema=TRACE_SCHEMA, orient="row")


def row_masses(traces: pl.DataFrame, mass: float) -> pl.DataFrame:
    """`traces` with the row mass, everywhere the same, wherever the Frobenius norm was measured."""
    norms = traces.filter(pl.col("quantity") == "frobenius_norm")
    masses = norms.with_columns(quantity=pl.lit("row_mass"), value=pl.lit(mass, pl.Float32))
    return pl.concat([traces, masses])


def subject(
    data: pl.DataFrame,
    its_traces: pl.DataFrame | None = None,
    *,
    num_keys: int | Mapping[str, int] = 21,
    is_measured: bool = False,
    **fields: object,
) -> Subject:
    """Results and traces as a Subject; `fields` are others of it."""
    keys = dict.fromkeys(data["workload"], num_keys) if isinstance(num_keys, int) else num_keys
    lots = no_traces
    if its_traces is not None:
        lots = lambda ids, quantities: [its_traces.filter(pl.col("trial_id").is_in(list(ids)))]  # noqa: E731
    given = {"name": "t", "title": "t", **fields}
    return Subject(results=data, num_keys=keys, trace_lots=lots, is_measured=is_measured, **given)  # pyright: ignore[reportArgumentType]
