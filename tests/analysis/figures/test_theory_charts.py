"""Rows of random attention have the entropies that theory gives them, and the figures of them draw."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

from analysis.figures.frames import theory
from analysis.figures.frames.theory import (
    CONCENTRATIONS,
    KINDS,
    LEAST_WEIGHT,
    LOGIT_STDS,
    NUM_KEYS,
    dirichlet_rows,
    entropy_against_std,
    entropy_range,
    gaussian_curve,
    gaussian_rows,
    normalised_entropy,
    row_entropies,
    small_variance_entropy,
    weight_histograms,
    with_last_edge,
)
from analysis.figures.lr_loss import save_spec
from analysis.figures.theory_charts import entropy_against_norm, weights_and_entropy


@pytest.fixture(scope="module")
def histograms() -> pl.DataFrame:
    return weight_histograms()


@pytest.fixture(scope="module")
def entropies() -> pl.DataFrame:
    return entropy_against_std()


@pytest.fixture(scope="module")
def dirichlet() -> pl.DataFrame:
    return dirichlet_rows()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_sum_to_one_and_the_seed_decides_them(kind):
    rows = gaussian_rows(kind, 2.0, seed=0, num_rows=5, num_keys=7)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-12)
    assert (rows >= 0).all()
    assert (rows == gaussian_rows(kind, 2.0, seed=0, num_rows=5, num_keys=7)).all()
    assert (rows != gaussian_rows(kind, 2.0, seed=1, num_rows=5, num_keys=7)).any()


def test_entropies_of_rows_worked_out_by_hand():
    rows = np.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(row_entropies(rows), [math.log(4), 0, math.log(2)], rtol=1e-15)
    np.testing.assert_allclose(normalised_entropy(np.array([0, math.log(2)]), math.log(4)), [0, 1], rtol=1e-12)


@pytest.mark.parametrize("logit_std", [0.1, 0.2])
def test_softmax_of_small_logits_has_the_entropy_of_theorem_5_1(logit_std):
    """To O(s^4), and four standard errors."""
    found = row_entropies(gaussian_rows("softmax", logit_std, seed=3, num_rows=4000))
    error = abs(found.mean() - small_variance_entropy(np.array(logit_std), NUM_KEYS))
    assert error < logit_std**4 + 4 * found.std() / math.sqrt(len(found))
    assert math.log(NUM_KEYS) - found.mean() > 10 * error


def test_entropy_of_softmax_falls_as_logits_spread(entropies):
    means = entropies.filter(kind="softmax").sort("logit_std")["entropy"].to_numpy()
    assert (np.diff(means) < 0).all()
    assert means[-1] < 1


def test_entropy_of_the_relu_kernel_does_not_depend_on_the_spread(entropies):
    means = entropies.filter(kind="ReLU kernel")["entropy"].to_numpy()
    np.testing.assert_allclose(means, means[0], rtol=1e-12)
    assert 0 < math.log(NUM_KEYS) - means[0] < 0.1


def test_logits_of_kernels_have_the_stated_variance(monkeypatch):
    seen = []

    def watched(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return np.ones_like(x)

    monkeypatch.setitem(theory.KERNELS, "watched", watched)
    gaussian_rows("watched", 3.0, seed=0, num_rows=300)
    q_RD, k_RND = seen
    assert np.einsum("rd,rnd->rn", q_RD, k_RND).std() == pytest.approx(3, rel=0.03)


def test_shares_sum_to_one_and_weights_lie_between_their_edges(histograms):
    sums = histograms.group_by("kind", "logit_std").agg(pl.col("share").sum())
    assert sums.height == len(KINDS) * len(LOGIT_STDS)
    np.testing.assert_allclose(sums["share"], 1, rtol=1e-12)
    assert (histograms["low"].min(), histograms["high"].max()) == pytest.approx((LEAST_WEIGHT, 1))


def test_histogram_of_softmax_agrees_with_the_lognormal_law():
    """Of N weights exp(z) / sum, the sum is nearly N exp(s^2 / 2): medians of log weights are -log N - s^2 / 2."""
    weights = gaussian_rows("softmax", 1.0, seed=0, num_rows=2000)
    assert np.median(np.log(weights)) == pytest.approx(-math.log(NUM_KEYS) - 0.5, abs=0.01)


def test_the_last_bin_gets_an_end(histograms):
    line = histograms.filter(pl.col("kind") == "softmax", pl.col("logit_std") == 1.0)
    closed = with_last_edge(line)
    assert closed.height == line.height + 1
    assert closed["low"][-1] == 1.0
    assert closed["share"][-1] == line["share"][-1]


def test_dirichlet_rows_lie_between_the_bounds_of_their_norm(dirichlet):
    norm, entropy = dirichlet["norm"].to_numpy(), dirichlet["entropy"].to_numpy()
    least, largest = entropy_range(norm, NUM_KEYS)
    assert (least - 1e-9 <= entropy).all()
    assert (entropy <= largest + 1e-9).all()
    assert (entropy >= -2 * np.log(norm) - 1e-9).all()  # Renyi's entropy of order 2
    assert (entropy <= math.log(NUM_KEYS)).all()


def test_a_smaller_concentration_gives_larger_norms_and_less_entropy(dirichlet):
    spread, narrow = (dirichlet.filter(concentration=one) for one in CONCENTRATIONS)
    assert spread["norm"].median() < narrow["norm"].median()
    assert spread["entropy"].median() > narrow["entropy"].median()


@pytest.mark.parametrize("num_alike", [1, 3, 5, 8])
def test_bounds_meet_rows_that_reach_them(num_alike):
    """Uniform over k of 8 keys: the least entropy of its norm, log k."""
    least, largest = entropy_range(np.array([num_alike**-0.5]), 8)
    assert least[0] == pytest.approx(math.log(num_alike), abs=1e-6)
    assert (largest[0] == pytest.approx(least[0], abs=1e-6)) == (num_alike in (1, 8))


def test_the_largest_entropy_is_that_of_one_large_weight():
    row = np.array([0.4] + [0.1] * 6)
    assert entropy_range(np.array([np.linalg.norm(row)]), 7)[1][0] == pytest.approx(stats.entropy(row), rel=1e-9)


def test_gaussian_curve_of_two_keys_is_an_integral():
    """Two logits differ by sqrt(2) s times a normal; one key more than that has no closed form."""
    points = gaussian_curve(2).filter(pl.col("logit_variance").is_between(0.3, 30)).rows()
    assert len(points) >= 5
    for variance, found in points:

        def weighted(x: float, variance: float = variance) -> float:
            p = 1 / (1 + math.exp(-math.sqrt(2 * variance) * x))
            return float(stats.entropy([p, 1 - p]) * stats.norm.pdf(x))

        entropy = integrate.quad(weighted, -12, 12)[0]
        assert found == pytest.approx(entropy / (math.log(2) - entropy), rel=0.15)


def test_figures_draw_their_bounds(histograms, entropies, dirichlet, tmp_path):
    charts = {
        "weights": weights_and_entropy(histograms, entropies, num_keys=NUM_KEYS, width=64),
        "norms": entropy_against_norm(dirichlet, num_keys=NUM_KEYS),
    }
    for name, chart in charts.items():
        content = save_spec(chart.to_dict(), tmp_path, name, [])[0].read_text()
        assert f"log N (N = {NUM_KEYS})" in content
        assert "nats" in content
    assert "Theorem 5.1" in (tmp_path / "weights.svg").read_text()
