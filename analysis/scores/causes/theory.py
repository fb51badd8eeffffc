"""What theorems say of attention's rows, beside what was measured: predictions, bounds, and how far points lie off.

N keys, s^2 the variance of independent Gaussian logits. A point is what one layer of a trial was at one measured step.
Def. 5.2 of Hong & Lee 2025 is the variance of a row with 1/N, so that E v = (N - 1) s^2 / N: their log N - (N - 1) s^2
/ (2N) is log N - v/2, which holds of rows of any logits to second order. The derivative that belongs to it is that of
their appendix; the main text prints another. Means over rows are what traces have: a bound of a row, taken at the mean
variance, need not bound a mean over rows that differ, so points outside are counted and not explained away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from analysis.curves import require_columns
from bench.lazy import numpy as np
from bench.lazy import polars as pl

QUANTITIES = ("entropy", "uniform_entropy", "logit_variance", "frobenius_norm", "sharp_rows", "entropy_bound")
ATTENTION_COLUMNS: dict[str, type[pl.DataType]] = {
    "workload": pl.String,
    "method": pl.String,
    "rows": pl.String,  # how rows follow from logits: softmax, relu_kernel, or "" for any other
    "num_keys": pl.Int64,
    "width": pl.Int64,  # of a head's queries and keys
    "sees_all": pl.Boolean,  # whether every row sees all keys
    "is_causal": pl.Boolean,  # whether row i sees keys 1 to i
}
DEVIATION_COLUMNS: dict[str, type[pl.DataType]] = {
    "workload": pl.String,
    "method": pl.String,
    "statement": pl.String,
    "relation": pl.String,  # equal, at least or at most: measured, of what is predicted
    "num_points": pl.Int64,
    "measured": pl.Float64,  # median over points
    "predicted": pl.Float64,
    "deviation": pl.Float64,  # median of measured minus predicted
    "largest": pl.Float64,  # deviation that is largest in size; of a bound, the one farthest on its wrong side
    "outside": pl.Float64,  # share of points on the wrong side of a bound; null: none is said
}
ROUNDING = 2e-4  # of traces, which are means in float32
RELU_GAP = (math.pi**2 - math.pi) / 2  # 3.36: d (log N - H) of the ReLU kernel at random queries and keys
MOST_NORMALISED = 1e3  # of Eq. 8, which is infinite at uniform rows
SHARP_WEIGHT = (1 + math.sqrt(0.5)) / 2  # of `sharp_rows`: a row with theta < 1/2 has a larger one


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A theorem as an expression of a point's columns, and the points of which it is said."""

    title: str
    measured: str  # a quantity, or normalised_entropy
    relation: Literal["equal", "at least", "at most"]
    predicted: Callable[[], pl.Expr]
    applies: Callable[[], pl.Expr]
    reads: tuple[str, ...]


def small_variance_entropy(uniform: pl.Expr, variance: pl.Expr) -> pl.Expr:
    """uniform - v/2: the entropy of softmax to second order in its logits, v their population variance, in nats."""
    return uniform - variance / 2


def normalised_entropy(uniform: pl.Expr, entropy: pl.Expr) -> pl.Expr:
    """H / (uniform - H), from 0 of one-hot rows to infinity of uniform ones, clamped at MOST_NORMALISED.

    Source: Hong & Lee 2025, Eq. 8, where uniform is log N.
    """
    return entropy / pl.max_horizontal(uniform - entropy, entropy / MOST_NORMALISED)


def next_order_entropy(num_keys: pl.Expr, variance: pl.Expr) -> pl.Expr:
    """log N - (N - 1) s^2/(2N) + 3 (N - 1) s^4/(4 N^2), s^2 = v N/(N - 1): of Gaussian logits, in nats."""
    squared = variance * num_keys / (num_keys - 1)
    return num_keys.log() - variance / 2 + 3 * (num_keys - 1) * squared**2 / (4 * num_keys**2)


def least_entropy(norm: np.ndarray, num_keys: np.ndarray | int) -> np.ndarray:
    """The least entropy of softmax of N logits, mean removed, of this 2-norm, in nats; tight.

    Source: Zhai et al. 2023, Theorem 3.1, with the row's norm for the product of spectral norms.
    """
    factor = np.exp(-norm * np.sqrt(num_keys / (num_keys - 1)))
    rest = 1 + (num_keys - 1) * factor
    return np.log(rest) + norm * np.sqrt(num_keys * (num_keys - 1)) * factor / rest


def least_norm(num_keys: pl.Expr, is_causal: pl.Expr) -> pl.Expr:
    """The least ||P||_F: 1 of rows that see all keys, sqrt(1 + 1/2 + ... + 1/N) of causal ones."""
    harmonic = num_keys.map_elements(lambda n: math.sqrt(sum(1 / i for i in range(1, n + 1))), pl.Float64)
    return pl.when(is_causal).then(harmonic).otherwise(1.0)


def sharp_entropy(num_keys: pl.Expr, uniform: pl.Expr, sharp: pl.Expr) -> pl.Expr:
    """The most mean entropy with this share of rows of theta < 1/2, in nats: each has a weight above SHARP_WEIGHT."""
    rest = 1 - SHARP_WEIGHT
    of_sharp = -SHARP_WEIGHT * math.log(SHARP_WEIGHT) - rest * math.log(rest) + rest * (num_keys - 1).log()
    return uniform - sharp * (uniform - of_sharp).clip(lower_bound=0)


def gradient_bound(p: np.ndarray, x: np.ndarray, *, dx: np.ndarray, dz: np.ndarray) -> float:
    """A bound of |D(P X)|_2 where X changes by dX and logits by dZ: |P|_2 |dX|_2 + max_j |x_j| |dZ|_F / sqrt 2.

    p (N, N) rows of softmax; x, dx (N, D); dz (N, N). Cauchy-Schwarz and Popoviciu. Hong & Lee 2025 print another in
    Eq. 9, which is false if its norms are read as Frobenius in and the largest row out.
    """
    of_x = np.linalg.norm(p, 2) * np.linalg.norm(dx, 2)
    return float(of_x + np.linalg.norm(x, axis=1).max() * np.linalg.norm(dz) / math.sqrt(2))


def _is_softmax() -> pl.Expr:
    return pl.col("rows") == "softmax"


STATEMENTS: dict[str, Statement] = {
    "theorem_5_1": Statement(
        title="Hong & Lee 2025, Theorem 5.1: H = log N - v/2, to first order in the variance v; v up to 1",
        measured="entropy",
        relation="equal",
        predicted=lambda: small_variance_entropy(pl.col("uniform_entropy"), pl.col("logit_variance")),
        applies=lambda: _is_softmax() & (pl.col("logit_variance") <= 1),
        reads=("uniform_entropy", "logit_variance"),
    ),
    "theorem_5_1_next_order": Statement(
        title="The same with the next order, of Gaussian logits; all keys seen, v up to 1",
        measured="entropy",
        relation="equal",
        predicted=lambda: next_order_entropy(pl.col("num_keys"), pl.col("logit_variance")),
        applies=lambda: _is_softmax() & pl.col("sees_all") & (pl.col("logit_variance") <= 1),
        reads=("logit_variance",),
    ),
    "equation_8": Statement(
        title="Hong & Lee 2025, Eq. 8, H / (log N - H), of that H; v up to 1; clamped at 1,000",
        measured="normalised_entropy",
        relation="equal",
        predicted=lambda: normalised_entropy(
            pl.col("uniform_entropy"), small_variance_entropy(pl.col("uniform_entropy"), pl.col("logit_variance"))
        ),
        applies=lambda: _is_softmax() & (pl.col("logit_variance") <= 1),
        reads=("uniform_entropy", "logit_variance"),
    ),
    "relu_kernel": Statement(
        title="ReLU kernel at random: H = log N - (pi^2 - pi)/(2d); all keys seen, before training",
        measured="entropy",
        relation="equal",
        predicted=lambda: pl.col("num_keys").log() - RELU_GAP / pl.col("width"),
        applies=lambda: (pl.col("rows") == "relu_kernel") & pl.col("sees_all") & (pl.col("step") == 0),
        reads=(),
    ),
    "proposition_5_3": Statement(
        title="Hong & Lee 2025, Prop. 5.3: ||P||_F at least 1, or sqrt(1 + ... + 1/N) under a causal mask",
        measured="frobenius_norm",
        relation="at least",
        predicted=lambda: least_norm(pl.col("num_keys"), pl.col("is_causal")),
        applies=lambda: (pl.col("rows") != "") & (pl.col("sees_all") | pl.col("is_causal")),
        reads=(),
    ),
    "theorem_3_1": Statement(
        title="Zhai et al. 2023, Theorem 3.1: H at least that of a row of the mean variance; all keys seen",
        measured="entropy",
        relation="at least",
        predicted=lambda: pl.struct("logit_variance", "num_keys").map_batches(_least_entropies, pl.Float64),
        applies=lambda: _is_softmax() & pl.col("sees_all"),
        reads=("logit_variance",),
    ),
    "theorem_3_1_rows": Statement(
        title="Zhai et al. 2023, Theorem 3.1, with measured row norms: H at least the mean of what such rows can have",
        measured="entropy",
        relation="at least",
        predicted=lambda: pl.col("entropy_bound"),
        applies=_is_softmax,
        reads=("entropy_bound",),
    ),
    "sharp_rows": Statement(
        title="Softmax Jacobian: H at most what the share of rows with theta < 1/2 leaves; all keys seen",
        measured="entropy",
        relation="at most",
        predicted=lambda: sharp_entropy(pl.col("num_keys"), pl.col("uniform_entropy"), pl.col("sharp_rows")),
        applies=lambda: _is_softmax() & pl.col("sees_all"),
        reads=("uniform_entropy", "sharp_rows"),
    ),
}


def theory_points(results: pl.DataFrame, attentions: pl.DataFrame, lots: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """A row a trial, step and layer: ATTENTION_COLUMNS, step, each of QUANTITIES that was measured, else null, and
    normalised_entropy.

    results: RESULT_COLUMNS. attentions: ATTENTION_COLUMNS. lots: trial_id and TRACE_COLUMNS in frames of whole trials.
    """
    require_columns(attentions, tuple(ATTENTION_COLUMNS), "the frame of attentions")
    of_trial = results.select("trial_id", "workload", "method").join(attentions, on=["workload", "method"])
    schema = {**ATTENTION_COLUMNS, "step": pl.Int32, **dict.fromkeys(QUANTITIES, pl.Float64)}
    points = [pl.DataFrame(schema=schema)]
    for lot in lots:
        rows = lot.filter(pl.col("quantity").is_in(QUANTITIES) & (pl.col("layer") >= 0) & pl.col("value").is_finite())
        values = [
            pl.col("value").filter(pl.col("quantity") == name).first().cast(pl.Float64).alias(name)
            for name in QUANTITIES
        ]
        wide = rows.group_by("trial_id", "step", "layer").agg(*values).join(of_trial, on="trial_id")
        points.append(wide.select(pl.col(name).cast(dtype) for name, dtype in schema.items()))
    normalised = normalised_entropy(pl.col("uniform_entropy"), pl.col("entropy"))
    return pl.concat(points).with_columns(normalised_entropy=normalised)


def theory_deviations(points: pl.DataFrame) -> pl.DataFrame:
    """DEVIATION_COLUMNS: a row for each of STATEMENTS that is said of points of a method on a workload."""
    frames = [pl.DataFrame(schema=DEVIATION_COLUMNS)]
    for name, one in STATEMENTS.items():
        said = points.drop_nulls([one.measured, *one.reads]).filter(one.applies())
        said = said.with_columns(predicted=one.predicted())
        said = said.with_columns(deviation=pl.col(one.measured) - pl.col("predicted"))
        side = {"equal": pl.col("deviation").abs(), "at least": -pl.col("deviation"), "at most": pl.col("deviation")}
        wrong = side[one.relation]
        rows = said.group_by("workload", "method").agg(
            statement=pl.lit(name),
            relation=pl.lit(one.relation),
            num_points=pl.len().cast(pl.Int64),
            measured=pl.col(one.measured).median(),
            predicted=pl.col("predicted").median(),
            largest=pl.col("deviation").get(wrong.arg_max()),
            deviation=pl.col("deviation").median(),
            outside=pl.lit(None, pl.Float64) if one.relation == "equal" else (wrong > ROUNDING).mean(),
        )
        frames.append(rows.select(pl.col(column).cast(dtype) for column, dtype in DEVIATION_COLUMNS.items()))
    order = pl.col("statement").replace_strict({name: index for index, name in enumerate(STATEMENTS)})
    return pl.concat(frames).sort("workload", order, "method")


def _least_entropies(points: pl.Series) -> pl.Series:
    variance, num_keys = (points.struct.field(name).to_numpy() for name in ("logit_variance", "num_keys"))
    return pl.Series(least_entropy(np.sqrt(variance * num_keys), num_keys))
