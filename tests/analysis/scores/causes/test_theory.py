"""Theorems as functions: against rows drawn at random, searches for counterexamples, and points worked out by hand."""

import math

import numpy as np
import polars as pl
import pytest

from analysis.scores.causes.theory import (
    ATTENTION_COLUMNS,
    MOST_NORMALISED,
    RELU_GAP,
    SHARP_WEIGHT,
    gradient_bound,
    least_entropy,
    least_norm,
    next_order_entropy,
    normalised_entropy,
    sharp_entropy,
    small_variance_entropy,
    theory_deviations,
    theory_points,
)
from tests.analysis.synthetic_results import TRACE_SCHEMA, frame, row


def softmax(z: np.ndarray) -> np.ndarray:
    weights = np.exp(z - z.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)


def evaluated(expression: pl.Expr, **columns) -> list[float]:
    return pl.DataFrame(columns).select(expression).to_series().to_list()


@pytest.mark.parametrize("s", [0.2, 0.4])
def test_the_next_order_is_nearer_than_the_first(s):
    """3 (N - 1)/(4 N^2) s^4 = 0.0356 s^4 is what the first order lacks, and most of what there is."""
    noise = np.random.default_rng(0).standard_normal((200_000, 20))
    z = s * np.concatenate([noise, -noise])
    lacking = (entropy(softmax(z)) - math.log(20) + z.var(axis=-1) / 2).mean()
    columns = {"u": [math.log(20)], "n": [20], "v": [s**2 * 19 / 20]}
    plain = evaluated(small_variance_entropy(pl.col("u"), pl.col("v")), **columns)[0]
    better = evaluated(next_order_entropy(pl.col("n"), pl.col("v")), **columns)[0]
    assert better - plain == pytest.approx(0.035625 * s**4)
    assert lacking == pytest.approx(better - plain, rel=0.25)


@pytest.mark.parametrize(
    ("num_keys", "expected"), [(197, [5.242, 3.672, 0.0949, 8.1e-6]), (20, [2.691, 0.625, 0.00749, 5.0e-7])]
)
def test_zhais_bound_has_the_values_that_are_known(num_keys, expected):
    found = least_entropy(np.array([2.0, 5.0, 10.0, 20.0]), num_keys)
    np.testing.assert_allclose(found, expected, rtol=0.012)


@pytest.mark.parametrize("num_keys", [4, 20, 197])
def test_zhais_bound_is_attained_and_never_undercut(num_keys):
    rng = np.random.default_rng(0)
    for s in (0.5, 2.0, 6.0):
        tight = np.full(num_keys, -s / math.sqrt(num_keys * (num_keys - 1)))
        tight[0] = s * math.sqrt((num_keys - 1) / num_keys)
        assert np.linalg.norm(tight) == pytest.approx(s)
        assert entropy(softmax(tight)) == pytest.approx(least_entropy(np.array(s), num_keys))
        z = rng.standard_normal((2000, num_keys)) ** 3
        z -= z.mean(axis=-1, keepdims=True)
        z *= s / np.linalg.norm(z, axis=-1, keepdims=True)
        assert (entropy(softmax(z)) >= least_entropy(np.array(s), num_keys) - 1e-12).all()


def test_the_relu_gap_is_that_of_random_queries_and_keys():
    rng = np.random.default_rng(0)
    for width in (32, 128):
        q, k = (np.maximum(rng.standard_normal((40, 400, width)), 0) for _ in "qk")
        p = q @ k.transpose(0, 2, 1)
        p /= p.sum(axis=-1, keepdims=True)
        assert width * (math.log(400) - entropy(p).mean()) == pytest.approx(RELU_GAP, rel=0.06)


def test_the_least_norm_is_that_of_uniform_rows():
    found = evaluated(least_norm(pl.col("n"), pl.col("c")), n=[20, 20, 256, 1024], c=[False, True, True, True])
    assert found == pytest.approx([1, 1.90, 2.48, 2.74], abs=6e-3)


def test_rows_with_a_sharp_weight_have_no_more_entropy_than_is_said():
    p = np.full(8, (1 - SHARP_WEIGHT) / 7)
    p[0] = SHARP_WEIGHT
    most = evaluated(sharp_entropy(pl.col("n"), pl.col("u"), pl.col("s")), n=[8, 8], u=[math.log(8)] * 2, s=[1.0, 0.0])
    assert most == pytest.approx([float(entropy(p)), math.log(8)])


def test_the_safe_bound_of_a_change_of_attention_holds_and_is_near():
    """|D(P X)|_2 for changes of logits and of X, searched at random; two tokens far apart come near to it."""
    rng, worst = np.random.default_rng(0), 0.0
    for trial in range(400):
        z, x = 3 * rng.standard_normal((6, 6)), rng.standard_normal((6, 3))
        dz, dx = rng.standard_normal((6, 6)), rng.standard_normal((6, 3))
        if trial % 2:  # one row between two opposite tokens
            z, dz, dx = np.zeros((6, 6)), np.zeros((6, 6)), 0 * dx
            z[:, 2:], dz[0, :2] = -30.0, (1.0, -1.0)
            x = np.array([[1.0, 0, 0], [-1.0, 0, 0], *np.zeros((4, 3))])
        p = softmax(z)
        dp = p * (dz - (p * dz).sum(axis=-1, keepdims=True))
        worst = max(worst, np.linalg.norm(dp @ x + p @ dx, 2) / gradient_bound(p, x, dx=dx, dz=dz))
    assert 0.99 < worst <= 1 + 1e-9


def test_equation_9_is_false_in_one_reading_and_the_safe_bound_holds_there():
    """P X with Z = X W X', X of 16 tokens (query 1, key, value); one step moves the logits of every row alike.

    |DA|_F <= |P|_F + sqrt 2 |X|_(2,inf) |DZ|_(F,(2,inf)), as printed, with the largest row out, and with |X| of tokens
    or of columns: found larger, by up to sqrt(N)/2. |P|_2 + max_j |x_j| |DZ|_2 / sqrt 2 is met.
    """
    num_tokens, gain, size = 16, 1000.0, 10.0
    x = np.zeros((num_tokens, 3))
    x[:, 0], x[2:, 1], x[:2, 2] = 1.0, -0.02, (size, -size)
    w = np.zeros((3, 3))
    w[0, 1] = gain  # logit: the query's first coordinate times the key's second
    p = softmax(x @ w @ x.T)
    of_attention, of_logits = [], []
    for one in np.eye(x.size):
        dx = one.reshape(x.shape)
        dz = dx @ w @ x.T + x @ w @ dx.T
        dp = p * (dz - (p * dz).sum(axis=-1, keepdims=True))
        of_attention.append((dp @ x + p @ dx).ravel())
        of_logits.append(dz)
    true = np.linalg.norm(np.stack(of_attention), 2)
    logits = np.stack(of_logits)  # (inputs, row, key)
    largest_row = max(np.linalg.norm(logits[:, row], 2) for row in range(num_tokens))
    printed = {
        "tokens": np.linalg.norm(p) + math.sqrt(2) * np.linalg.norm(x, axis=1).max() * largest_row,
        "columns": np.linalg.norm(p) + math.sqrt(2) * np.linalg.norm(x, axis=0).max() * largest_row,
    }
    assert true / printed["tokens"] > 1.9
    assert true / printed["columns"] > 1.3
    safe = np.linalg.norm(p, 2) + np.linalg.norm(x, axis=1).max() * np.linalg.norm(
        logits.reshape(len(logits), -1), 2
    ) / math.sqrt(2)
    assert 0.95 < true / safe <= 1


def points(values: list[tuple[int, str, float]], **attention) -> pl.DataFrame:
    """Of a trial of softmax over 20 keys, values by step and quantity in layer 0."""
    kind = {"workload": "w", "method": "m", "rows": "softmax", "num_keys": 20, "width": 4, "sees_all": True}
    attentions = pl.DataFrame([kind | {"is_causal": False} | attention], schema=ATTENTION_COLUMNS)
    trial = frame([row("m", 0.1, 0, 1.0, workload="w", trial_id="t")])
    traced = [("t", step, name, 0, value) for step, name, value in values]
    return theory_points(trial, attentions, [pl.DataFrame(traced, schema=TRACE_SCHEMA, orient="row")])


def test_deviations_worked_by_hand():
    log_n = math.log(20)
    values = {"entropy": log_n - 0.2, "uniform_entropy": log_n, "logit_variance": 0.5, "frobenius_norm": 0.9}
    found = theory_deviations(points([(0, name, value) for name, value in values.items()]))
    by_name = {one["statement"]: one for one in found.to_dicts()}
    assert list(by_name) == [
        "theorem_5_1",
        "theorem_5_1_next_order",
        "equation_8",
        "proposition_5_3",
        "theorem_3_1",
    ]
    eighth = by_name["equation_8"]
    assert eighth["measured"] == pytest.approx((log_n - 0.2) / 0.2, rel=1e-5)
    assert eighth["predicted"] == pytest.approx((log_n - 0.25) / 0.25, rel=1e-5)
    assert by_name["theorem_5_1"]["deviation"] == pytest.approx(0.05, abs=1e-6)
    assert by_name["theorem_5_1"]["outside"] is None
    norm = by_name["proposition_5_3"]
    assert (norm["largest"], norm["outside"], norm["num_points"]) == (pytest.approx(-0.1, abs=1e-6), 1.0, 1)
    bound = least_entropy(np.sqrt(np.array(0.5 * 20)), 20)
    assert by_name["theorem_3_1"]["predicted"] == pytest.approx(float(bound), abs=1e-6)
    assert by_name["theorem_3_1"]["outside"] == 0.0


def test_statements_are_said_of_what_they_are_about():
    values = [(0, "entropy", 2.0), (0, "uniform_entropy", 2.9), (0, "logit_variance", 4.0), (0, "frobenius_norm", 2.0)]
    assert theory_deviations(points(values))["statement"].to_list() == ["proposition_5_3", "theorem_3_1"]
    causal = theory_deviations(points(values, sees_all=False, is_causal=True))
    assert causal["statement"].to_list() == ["proposition_5_3"]
    relu = theory_deviations(points([*values, (5, "entropy", 1.0)], rows="relu_kernel"))
    assert dict(relu.select("statement", "num_points").iter_rows()) == {"relu_kernel": 1, "proposition_5_3": 1}
    assert theory_deviations(points(values, rows="")).is_empty()
    bound = [(0, "entropy_bound", 1.5), (1, "entropy", 1.0), (1, "entropy_bound", 1.25)]
    of_rows = theory_deviations(points([*values, *bound], sees_all=False, is_causal=True))
    of_rows = of_rows.filter(statement="theorem_3_1_rows")
    assert of_rows.select("num_points", "largest", "outside").row(0) == (2, -0.25, 0.5)
    sharp = theory_deviations(points([*values, (0, "sharp_rows", 1.0)]))
    assert sharp.filter(statement="sharp_rows")["outside"].to_list() == [1.0]


def test_equation_8_is_clamped_where_rows_are_uniform():
    uniform = math.log(20)
    found = evaluated(normalised_entropy(pl.col("u"), pl.col("h")), u=[uniform] * 3, h=[uniform, uniform / 2, 0.0])
    assert found[:2] == pytest.approx([MOST_NORMALISED, 1.0])
    assert not found[2] > 0


def scalar_curvature(point: np.ndarray) -> float:
    """Of Fisher's metric in the first n - 1 probabilities, by finite differences."""
    size, step = len(point), 1e-3

    def metric(x: np.ndarray) -> np.ndarray:
        return np.diag(1 / x) + 1 / (1 - x.sum())

    def derivative(function, x: np.ndarray) -> np.ndarray:
        return np.stack([(function(x + e) - function(x - e)) / (2 * step) for e in step * np.eye(size)])

    def christoffel(x: np.ndarray) -> np.ndarray:
        d = derivative(metric, x)  # d[k, i, j]
        lower = (np.einsum("ikj->kij", d) + np.einsum("jki->kij", d) - d) / 2
        return np.einsum("lk,kij->lij", np.linalg.inv(metric(x)), lower)

    gamma, d_gamma = christoffel(point), derivative(christoffel, point)  # d_gamma[k, l, i, j]
    ricci = np.einsum("llij->ij", d_gamma) - np.einsum("jlil->ij", d_gamma)
    trace = np.einsum("klk->l", gamma)
    ricci += np.einsum("l,lij->ij", trace, gamma) - np.einsum("kjl,lik->ij", gamma, gamma)
    return float(np.einsum("ij,ij->", np.linalg.inv(metric(point)), ricci))


@pytest.mark.parametrize(("num_categories", "expected"), [(3, 0.5), (4, 1.5), (5, 3.0)])
def test_the_simplex_has_constant_curvature_whatever_the_entropy(num_categories, expected):
    """(n - 1)(n - 2)/4, so that a curvature C (alpha - H), as a forum post has it, is false."""
    uniform = np.full(num_categories, 1 / num_categories)
    sharp = np.array([0.6, *[0.4 / (num_categories - 1)] * (num_categories - 1)])
    found = [scalar_curvature(p[:-1]) for p in (uniform, sharp)]
    assert found == pytest.approx([expected] * 2, rel=5e-3)
