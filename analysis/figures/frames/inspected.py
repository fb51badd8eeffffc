"""What looking inside training gave, and what figures of attention draw of it and of traces. Computes; draws nothing.

Shapes: A layers, S sequences, H heads, Q queries, K keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from analysis.figures.frames.aggregate import layer_summary, most_entropy
from analysis.figures.frames.theory import normalised_entropy, row_entropies

# One row a value of a layer. `quantity` is a key of bench.probes.gains.GAINS.
GAIN_COLUMNS: dict[str, str] = {
    "method": "String",
    "step": "Int64",
    "layer": "Int64",
    "quantity": "String",
    "value": "Float64",
}
# One row a bin. `of`: "weight" (positive weights) or "entropy" (of rows, nats); `share` sums to 1 over a layer's bins.
HISTOGRAM_COLUMNS: dict[str, str] = {
    "method": "String",
    "step": "Int64",
    "layer": "Int64",
    "of": "String",
    "low": "Float64",
    "high": "Float64",
    "share": "Float64",
}
GAMMAS = ("gamma_query", "gamma_key", "gamma_product")
MAX_CELLS = 32  # of a heat map's side; larger matrices are averaged in blocks
NUM_LOOKS = 5  # steps of which a method's rows and matrices are shown


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """P of the first sequences of the probed batch of one step: p_ASHQK, NaN in rows of padding.

    Where stacks of layers differ all have the size of the largest, with such rows and with keys of weight 0.
    """

    method: str
    step: int
    p_ASHQK: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was seen inside one run of each method at one learning rate (of each method) and seed.

    gains: GAIN_COLUMNS; histograms: HISTOGRAM_COLUMNS; diverged: methods whose run ended by divergence; parted: the
    first step at which the losses of a method's run are not those of the stored one, of methods where there is one.
    """

    seed: int
    gains: pl.DataFrame
    histograms: pl.DataFrame
    snapshots: tuple[Snapshot, ...]
    diverged: frozenset[str]
    parted: Mapping[str, int]


def variance_and_entropy(
    results: pl.DataFrame, traces: pl.DataFrame, lr: float | Mapping[str, float], num_keys: int
) -> pl.DataFrame:
    """Logit variance and normalised entropy H / (largest H - H) of every layer during training, of Fig. 4.

    Columns: method, outcome, layer, step, logit_variance, normalised_entropy (of the mean entropy over seeds),
    most_entropy (the largest H, as aggregate.most_entropy has it). Points where variance or normalised entropy are not
    positive and finite, which no log axis can show, are left out.
    """
    on = ["method", "outcome", "layer", "step"]
    variance = layer_summary(results, traces, lr, "logit_variance").select(*on, logit_variance="value")
    entropy = layer_summary(results, traces, lr)
    entropy = entropy.with_columns(most_entropy=most_entropy(entropy, num_keys))
    both = variance.join(entropy.select(*on, "most_entropy", entropy="value"), on=on)
    # Single precision can put the entropy of nearly uniform rows a little above the largest.
    room = both["most_entropy"] - both["entropy"]
    normalised = normalised_entropy(both["entropy"].to_numpy(), both["most_entropy"].to_numpy())
    drawn = (both["logit_variance"] > 0) & (both["entropy"] > 0) & (room > 1e-6)
    return both.with_columns(normalised_entropy=normalised).filter(drawn).drop("entropy").sort(*on)


def gamma_summary(inspection: Inspection) -> pl.DataFrame:
    """The gammas of every method that has them, of Fig. 8: GAIN_COLUMNS, is_end (the last before divergence)."""
    gains = inspection.gains.filter(pl.col("quantity").is_in(GAMMAS), pl.col("value").is_finite())
    is_last = pl.col("step") == pl.col("step").max().over("method")
    diverged = pl.col("method").is_in(sorted(inspection.diverged))
    return gains.with_columns(is_end=is_last & diverged).sort("method", "quantity", "layer", "step")


def histogram_summary(inspection: Inspection) -> pl.DataFrame:
    """Histograms of weights and of row entropies at NUM_LOOKS steps of each method, layers averaged.

    Columns: method, of, place (0, 1, ... in the order of steps), step, low, high, share.
    """
    looks = _looks(inspection.histograms.select("method", "step").unique())
    mean = inspection.histograms.group_by("method", "of", "step", "low", "high").agg(share=pl.col("share").mean())
    columns = ("method", "of", "place", "step", "low", "high", "share")
    return mean.join(looks, on=["method", "step"]).select(columns).sort("of", "method", "place", "low")


def heat_map_summary(inspection: Inspection, *, sequence: int, layer: int, head: int) -> pl.DataFrame:
    """P of one sequence, layer and head at NUM_LOOKS steps of each method, of Fig. 11.

    Columns: method, place, step, query, key (the first of a block), size (keys of a block's side), weight (its mean).
    """
    seen = pl.DataFrame([(one.method, one.step) for one in inspection.snapshots], ["method", "step"], orient="row")
    looks = {(method, step): place for method, step, place in _looks(seen).iter_rows()}
    parts = []
    for one in inspection.snapshots:
        if (one.method, one.step) not in looks:
            continue
        p_QK = one.p_ASHQK[layer, sequence, head]
        size = -(-max(p_QK.shape) // MAX_CELLS)
        blocks = _block_means(p_QK, size)
        query, key = (index.ravel() * size for index in np.indices(blocks.shape))
        where = {"method": one.method, "place": looks[one.method, one.step], "step": one.step}
        parts.append(pl.DataFrame({**where, "query": query, "key": key, "size": size, "weight": blocks.ravel()}))
    return pl.concat(parts).sort("method", "place", "query", "key")


def most_collapsed(inspection: Inspection) -> int:
    """The layer with the least mean row entropy at the last look, over methods."""
    last: dict[str, Snapshot] = {}
    for one in sorted(inspection.snapshots, key=lambda one: one.step):
        last[one.method] = one
    entropy_A = np.mean([entropy_by_layer(one.p_ASHQK) for one in last.values()], axis=0)
    return int(np.argmin(entropy_A))


def entropy_by_layer(p_ASHQK: np.ndarray) -> np.ndarray:
    """Mean entropy in nats of rows divided by their sums, as the traced `entropy`; (A, S, H, Q, K) -> (A,).

    Rows of NaN, as padding has, do not count; a layer of no others has NaN.
    """
    p_ASHQK = p_ASHQK.astype(np.float64)
    p_ASHQK = p_ASHQK / np.maximum(p_ASHQK.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    entropy_AR = row_entropies(p_ASHQK).reshape(len(p_ASHQK), -1)
    return np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in entropy_AR])


def spread(steps: Iterable[int], count: int) -> list[int]:
    """At most `count` of the steps: the first, the last, and those nearest to log-spaced ones between."""
    steps_N = np.array(sorted(set(steps)))
    wanted = np.geomspace(steps_N[0] + 1, steps_N[-1] + 1, count) - 1
    return sorted({int(steps_N[np.abs(np.log1p(steps_N) - np.log1p(one)).argmin()]) for one in wanted})


def _looks(seen: pl.DataFrame) -> pl.DataFrame:
    """NUM_LOOKS of the steps at which each method was seen (method, step): method, step, place."""
    rows = [
        (method, step, place)
        for (method,), own in seen.sort("method").group_by("method", maintain_order=True)
        for place, step in enumerate(spread(own["step"], NUM_LOOKS))
    ]
    return pl.DataFrame(rows, schema={"method": pl.String, "step": pl.Int64, "place": pl.Int64}, orient="row")


def _block_means(p_QK: np.ndarray, size: int) -> np.ndarray:
    """Means of blocks of size x size; the last ones may be smaller."""
    starts = [np.arange(0, length, size) for length in p_QK.shape]
    sums = np.add.reduceat(np.add.reduceat(p_QK, starts[0], axis=0), starts[1], axis=1)
    counts = [np.minimum(size, length - start) for start, length in zip(starts, p_QK.shape, strict=True)]
    return sums / (counts[0][:, None] * counts[1])
