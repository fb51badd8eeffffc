"""Rows of attention from random draws alone, as theory has them: what `theory_figures` draws. Computes; draws nothing.

Shapes: R rows, N keys, D width of queries and keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl
from scipy.special import entr, expit

Floats = np.ndarray

NUM_KEYS = 200  # Hong & Lee 2025, Fig. 3
LOGIT_STDS = (1.0, 2.0, 4.0, 8.0)  # Hong & Lee 2025, Fig. 3
CONCENTRATIONS = (0.1, 0.001)  # Hong & Lee 2025, Fig. 10
WIDTH = 64  # of a head's queries and keys, for kernels; a head of GPT-2
NUM_SOFTMAX_ROWS = 400  # at a logit standard deviation
NUM_KERNEL_ROWS = 40  # the same for kernels, whose rows are more alike and dearer to draw
NUM_DIRICHLET_ROWS = 400
NUM_BINS = 40
SEED = 0  # of every figure
LEAST_WEIGHT = 1e-12  # smaller weights count in the first bin

# phi of a kernel, in P_ij = phi(q_i) . phi(k_j) / sum. Source: Hong & Lee 2025, Sec. 3.
KERNELS: dict[str, Callable[[Floats], Floats]] = {
    "ReLU kernel": lambda x: np.maximum(x, 0.0),
    "ELU+1 kernel": lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0.0))),
    "sigmoid kernel": expit,
}
KINDS = ("softmax", *KERNELS)


def row_entropies(p: Floats) -> Floats:
    """Entropy of each row in nats, in [0, log N]. (..., N) -> (...)."""
    return entr(p).sum(axis=-1)


def normalised_entropy(entropy: Floats, largest: Floats | float) -> Floats:
    """H / (largest H - H), from 0 for one-hot rows to infinity for uniform ones. (...), (...) -> (...).

    Source: Hong & Lee 2025, Eq. 8, where the largest is log N. Of rows that do not all see N keys it is the mean over
    rows of the log of the number of keys.
    """
    room = np.maximum(largest - entropy, np.finfo(float).tiny)
    return entropy / room


def gaussian_rows(kind: str, logit_std: float, *, seed: int, num_rows: int, num_keys: int = NUM_KEYS) -> Floats:
    """P (R, N) of one of KINDS where logits have the standard deviation `logit_std`; else the seed alone decides.

    softmax: z ~ N(0, s^2 I_N), as in Theorem 5.1. Kernels: every coordinate of q and k is N(0, s / sqrt(D)), so that
    q . k has variance s^2.
    """
    rng = np.random.default_rng(seed)
    if kind == "softmax":
        z_RN = logit_std * rng.standard_normal((num_rows, num_keys))
        weights_RN = np.exp(z_RN - z_RN.max(axis=-1, keepdims=True))
    else:
        scale = (logit_std / math.sqrt(WIDTH)) ** 0.5
        phi_q_RD = KERNELS[kind](scale * rng.standard_normal((num_rows, WIDTH)))
        phi_k_RND = KERNELS[kind](scale * rng.standard_normal((num_rows, num_keys, WIDTH)))
        weights_RN = np.einsum("rd,rnd->rn", phi_q_RD, phi_k_RND)
    return weights_RN / weights_RN.sum(axis=-1, keepdims=True)


def _num_rows(kind: str) -> int:
    return NUM_SOFTMAX_ROWS if kind == "softmax" else NUM_KERNEL_ROWS


def weight_histograms() -> pl.DataFrame:
    """The share of a row's weights in log-spaced bins, of each of KINDS at each of LOGIT_STDS.

    Columns: kind, logit_std, low, high (edges of the bin), share (sums to 1 over a line's bins). Of Fig. 3.
    """
    edges = np.geomspace(LEAST_WEIGHT, 1.0, NUM_BINS + 1)
    parts = []
    for kind in KINDS:
        for logit_std in LOGIT_STDS:
            weights = (
                gaussian_rows(kind, logit_std, seed=SEED, num_rows=_num_rows(kind)).ravel().clip(LEAST_WEIGHT, 1.0)
            )
            share = np.histogram(weights, bins=edges)[0] / len(weights)
            line = {"low": edges[:-1], "high": edges[1:], "share": share}
            parts.append(pl.DataFrame({"kind": kind, "logit_std": logit_std, **line}))
    return pl.concat(parts)


def with_last_edge(histogram: pl.DataFrame) -> pl.DataFrame:
    """A histogram (columns low, high, share) with a row more for the end of each line's last bin, to draw as steps."""
    last = histogram.filter(pl.col("high") == pl.col("high").max()).with_columns(low=pl.col("high"))
    return pl.concat([histogram, last])


def entropy_against_std() -> pl.DataFrame:
    """Mean row entropy of each of KINDS as the standard deviation of logits grows from 0.1 to 10. Of Fig. 3.

    Columns: kind, logit_std, entropy (nats), spread (standard deviation over rows).
    """
    rows = []
    for kind in KINDS:
        for logit_std in np.geomspace(0.1, 10, 17).tolist():
            entropies = row_entropies(gaussian_rows(kind, logit_std, seed=SEED, num_rows=_num_rows(kind)))
            rows.append((kind, logit_std, float(entropies.mean()), float(entropies.std())))
    return pl.DataFrame(rows, schema=["kind", "logit_std", "entropy", "spread"], orient="row")


def small_variance_entropy(logit_std: Floats, num_keys: int) -> Floats:
    """log N - (N - 1) s^2 / (2 N), to O(s^4) the entropy of softmax. Source: Hong & Lee 2025, Theorem 5.1."""
    return math.log(num_keys) - (num_keys - 1) * np.square(logit_std) / (2 * num_keys)


def gaussian_curve(num_keys: int) -> pl.DataFrame:
    """Softmax of Gaussian logits: logit_variance, normalised_entropy (of the mean entropy). Drawn into Fig. 4."""
    stds = np.geomspace(1e-3, 1e3, 49)
    entropies = [
        row_entropies(gaussian_rows("softmax", std, seed=SEED, num_rows=1000, num_keys=num_keys)).mean() for std in stds
    ]
    normalised = normalised_entropy(np.array(entropies), math.log(num_keys))
    return pl.DataFrame({"logit_variance": stds**2, "normalised_entropy": normalised})


def dirichlet_rows() -> pl.DataFrame:
    """Rows drawn from Dirichlet(a) for each a of CONCENTRATIONS, of Fig. 10.

    Columns: concentration, norm (2-norm, in [1/sqrt N, 1]), entropy (nats, in [0, log N]).
    """
    rng = np.random.default_rng(SEED)
    parts = []
    for concentration in CONCENTRATIONS:
        p_RN = rng.dirichlet(np.full(NUM_KEYS, concentration), size=NUM_DIRICHLET_ROWS)
        norm = np.linalg.norm(p_RN, axis=-1)
        parts.append(pl.DataFrame({"concentration": concentration, "norm": norm, "entropy": row_entropies(p_RN)}))
    return pl.concat(parts)


def entropy_range(norm: Floats, num_keys: int) -> tuple[Floats, Floats]:
    """Least and largest entropy in nats that a row of this 2-norm can have.

    Least: of rows that are uniform over some keys but for one smaller weight. Largest: one large weight, others alike.
    Source: Harremoes & Topsoe 2001, Theorem II.5.
    """
    norm = np.clip(norm, 1 / math.sqrt(num_keys), 1.0)
    squared = norm**2
    num_alike = np.minimum(np.floor(1 / squared * (1 + 1e-12)), num_keys)
    # k weights a and one b <= a with k a + b = 1 and k a^2 + b^2 = |p|^2.
    root = np.sqrt(np.maximum(num_alike * ((num_alike + 1) * squared - 1), 0.0))
    alike = (num_alike + root) / (num_alike * (num_alike + 1))
    least = num_alike * entr(alike) + entr(np.maximum(1 - num_alike * alike, 0.0))
    others = num_keys - 1
    large = (1 + np.sqrt(np.maximum(others * (num_keys * squared - 1), 0.0))) / num_keys
    largest = entr(large) + others * entr(np.maximum(1 - large, 0.0) / others)
    return least, largest
