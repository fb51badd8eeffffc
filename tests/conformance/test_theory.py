"""The papers' theorems, which scores and figures are read by, hold for the methods and probes as written.

N keys, M samples of a row of logits, H heads. Source: Hong & Lee 2025, Theorem 5.1 and Prop. 5.3; Zhai et al. 2023,
Theorem 3.1.
"""

import itertools
import math

import numpy
import pytest
import torch

from bench.methods.kernel import ReluKernel
from bench.methods.linear import SpectralNorm
from bench.methods.softmax import Softmax
from bench.probes.attention import frobenius_norm, row_entropies
from bench.probes.base import Attention

N, M = 20, 20_000
MASK = torch.ones(1, N, dtype=torch.bool)
CAUSAL = torch.ones(N, N, dtype=torch.bool).tril()


@pytest.fixture(scope="module")
def noise_MN() -> torch.Tensor:
    """Standard normal rows and their negatives: the odd terms of every expansion cancel."""
    half = torch.randn(M // 2, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat([half, -half])


def softmax_weights(z_MN: torch.Tensor) -> torch.Tensor:
    """Rows of softmax(z): one query of width 1, whose keys are the logits."""
    q_M111 = torch.ones(len(z_MN), 1, 1, 1, dtype=z_MN.dtype)
    return Softmax().weights(q_M111, z_MN[:, None, :, None], MASK, {})[:, 0, 0]


def entropies(p_MN: torch.Tensor) -> torch.Tensor:
    """Entropy of each row, by the probe: vmap makes each row a model."""

    def of_row(p_N: torch.Tensor) -> torch.Tensor:
        p_11QK = p_N[None, None, None]
        return row_entropies(Attention(z_BHQK=p_11QK, p_BHQK=p_11QK, mask_B1QK=MASK)).mean()

    return torch.func.vmap(of_row)(p_MN)


def test_mean_entropy_falls_by_the_variance_to_first_order(noise_MN):
    """E H(softmax z) = log N - (N - 1) s^2 / (2 N) + O(s^4), z ~ N(0, s^2 I)."""
    for s in (0.05, 0.1, 0.2):
        fall_M = math.log(N) - entropies(softmax_weights(s * noise_MN))
        standard_error = fall_M.std() / M**0.5
        assert abs(fall_M.mean() - (N - 1) * s**2 / (2 * N)) < 4 * standard_error + s**4


def test_what_first_order_leaves_is_of_fourth_order(noise_MN):
    """H = log N - k2/2 - k3/3 - k4/8 - ... in the cumulants of the row; E k4 = -6 (N - 1) s^4 / N^2.

    The variance of a row, k2, has the known mean (N - 1) s^2 / N and serves as control variate.
    """
    for s in (0.1, 0.2):
        k2_M = (s * noise_MN).var(dim=-1, correction=0)
        rest_M = entropies(softmax_weights(s * noise_MN)) - math.log(N) + k2_M / 2
        pairs_M = rest_M.unflatten(0, (2, -1)).mean(dim=0)
        standard_error = pairs_M.std() / (M / 2) ** 0.5
        expected = 0.75 * (N - 1) / N**2 * s**4
        assert abs(pairs_M.mean() - expected) < 4 * standard_error + s**6
        assert 4 * standard_error < expected


def test_mean_entropy_strictly_decreases_in_the_scale(noise_MN):
    """For every sample, not only on average: dH/ds = -Var_p(z) / s < 0."""
    scales = (0.1, 0.5, 1, 2, 4, 8)
    by_scale = [entropies(softmax_weights(s * noise_MN)) for s in scales]
    for entropy_M, larger_M in itertools.pairwise(by_scale):
        assert (larger_M < entropy_M).all()
        assert larger_M.mean() < entropy_M.mean()


def test_mean_entropy_of_causal_rows_falls_by_each_rows_own_length(noise_MN):
    """E H(p_i) = log n_i - (n_i - 1) s^2 / (2 n_i) + O(s^4) for row i with n_i keys, on four heads at once."""
    s = 0.1
    z_BHNN = (s * noise_MN).reshape(M // N // 4, 4, N, N)
    identity = torch.eye(N, dtype=torch.float64).expand_as(z_BHNN)
    p_BHNN = Softmax().weights(identity, z_BHNN.mT.contiguous(), CAUSAL, {})  # keys whose products with it are z
    actual_N = torch.special.entr(p_BHNN).sum(dim=-1).mean(dim=(0, 1))
    n_N = torch.arange(1, N + 1)
    expected_N = n_N.log() - (n_N - 1) * s**2 / (2 * n_N)
    torch.testing.assert_close(actual_N, expected_N.double(), rtol=0, atol=5e-4)
    layer = Attention(z_BHQK=z_BHNN, p_BHQK=p_BHNN, mask_B1QK=CAUSAL)
    torch.testing.assert_close(row_entropies(layer).mean(), actual_N.mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("s", [0.1, 1.0, 3.0])
def test_derivative_of_entropy_by_the_variance(noise_MN, s):
    """d E H / d s^2 = -E Var_p(z) / (2 s^2), as the paper's appendix has it; it holds sample by sample.

    Central differences in s^2 over the same samples; the main text prints another expression.
    """
    z_MN = s * noise_MN
    p_MN = softmax_weights(z_MN)
    mean_M = (p_MN * z_MN).sum(dim=-1)
    closed_M = -((p_MN * z_MN.square()).sum(dim=-1) - mean_M.square()) / (2 * s**2)
    step = 1e-4 * s**2
    low_M, high_M = (entropies(softmax_weights((s**2 + side * step) ** 0.5 * noise_MN)) for side in (-0.5, 0.5))
    torch.testing.assert_close((high_M - low_M) / step, closed_M, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mask_QK", [CAUSAL | True, CAUSAL], ids=["full", "causal"])
def test_relu_kernel_entropy_does_not_depend_on_the_scale(mask_QK):
    generator = torch.Generator().manual_seed(1)
    q, k = (torch.randn(25, 2, N, 8, generator=generator, dtype=torch.float64) for _ in "qk")
    expected = ReluKernel().weights(q, k, mask_QK, {})
    for s in (1e-3, 0.5, 8, 1e4):
        torch.testing.assert_close(ReluKernel().weights(s * q, s * k, mask_QK, {}), expected, rtol=1e-12, atol=0)


def test_relu_kernel_entropy_approaches_that_of_uniform_rows():
    """log N - E H falls as 1/d: times d it stays within a factor of two while d grows 16-fold."""
    generator = torch.Generator().manual_seed(2)
    gaps = []
    for width in (16, 64, 256):
        q, k = (torch.randn(200, 1, N, width, generator=generator, dtype=torch.float64) for _ in "qk")
        p_BHQK = ReluKernel().weights(q, k, torch.ones(N, N, dtype=torch.bool), {})
        gaps.append(
            width * (math.log(N) - row_entropies(Attention(z_BHQK=p_BHQK, p_BHQK=p_BHQK, mask_B1QK=MASK)).mean())
        )
    assert max(gaps) < 2 * min(gaps)


def norm_of(p_NN: torch.Tensor) -> torch.Tensor:
    p_11QK = p_NN[None, None]
    return frobenius_norm(Attention(z_BHQK=p_11QK, p_BHQK=p_11QK, mask_B1QK=MASK.expand(N, N)))


def test_norm_is_1_for_uniform_rows_and_root_n_for_one_hot_rows():
    uniform = torch.full((N, N), 1 / N, dtype=torch.float64)
    one_hot = torch.eye(N, dtype=torch.float64)[torch.randint(N, (N,), generator=torch.Generator().manual_seed(3))]
    torch.testing.assert_close(norm_of(uniform), torch.tensor(1.0, dtype=torch.float64), rtol=1e-14, atol=0)
    torch.testing.assert_close(norm_of(one_hot), torch.tensor(N, dtype=torch.float64).sqrt(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("concentration", [1e-3, 0.1, 1.0, 100.0])
def test_norm_of_stochastic_rows_lies_between(concentration):
    rows = numpy.random.default_rng(4).dirichlet(numpy.full(N, concentration), size=N)
    assert 1 <= norm_of(torch.from_numpy(rows)) <= math.sqrt(N) + 1e-12


@pytest.mark.parametrize("concentration", [1e-3, 1.0, 100.0])
def test_norm_of_causal_rows_lies_between_that_of_uniform_and_of_one_hot_rows(concentration):
    """Row i has n_i keys: sum of 1 / n_i <= ||P||_F^2 <= N, so the lower bound is above 1."""
    rows = numpy.zeros((N, N))
    generator = numpy.random.default_rng(5)
    for i in range(N):
        rows[i, : i + 1] = generator.dirichlet(numpy.full(i + 1, concentration))
    lowest = math.sqrt(sum(1 / n for n in range(1, N + 1)))
    assert lowest - 1e-12 <= norm_of(torch.from_numpy(rows)) <= math.sqrt(N) + 1e-12
    uniform = CAUSAL / torch.arange(1, N + 1, dtype=torch.float64)[:, None]
    torch.testing.assert_close(norm_of(uniform).item(), lowest, rtol=1e-14, atol=0)


def lowest_entropy(sigma: float) -> float:
    """log(1 + (N - 1) b) + sigma sqrt(N (N - 1)) b / (1 + (N - 1) b), b = exp(-sigma sqrt(N / (N - 1)))."""
    b = math.exp(-sigma * math.sqrt(N / (N - 1)))
    return math.log1p((N - 1) * b) + sigma * math.sqrt(N * (N - 1)) * b / (1 + (N - 1) * b)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0, 30.0])
def test_entropy_of_logits_of_norm_sigma_keeps_to_zhais_bound_and_reaches_it(noise_MN, sigma):
    z_MN = sigma * noise_MN / torch.linalg.vector_norm(noise_MN, dim=-1, keepdim=True)
    assert entropies(softmax_weights(z_MN)).min() >= lowest_entropy(sigma)
    ahead_1N = torch.full((1, N), -1 / math.sqrt(N * (N - 1)), dtype=torch.float64)
    ahead_1N[0, 0] = math.sqrt((N - 1) / N)
    reached = entropies(softmax_weights(sigma * ahead_1N))[0].item()
    assert reached == pytest.approx(lowest_entropy(sigma), rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_spectral_norm_keeps_entropy_above_a_bound_that_the_inputs_alone_decide(scale):
    """||W_K W_Q^T||_2 <= 1 however large the raw weights grow; without it entropy collapses."""
    generator = torch.Generator().manual_seed(6)
    x_BNC = 0.3 * torch.randn(10, N, 6, generator=generator, dtype=torch.float64)
    plain, normalised = [], []
    for _ in "qk":
        raw = scale * torch.randn(6, 6, generator=generator, dtype=torch.float64)
        linear = SpectralNorm()
        params, buffers = linear.init(raw, lambda name, shape: torch.ones(shape))
        plain.append((x_BNC @ raw)[:, None])
        normalised.append((x_BNC @ linear.weight(params, buffers))[:, None])
    sigma_x_B = torch.linalg.matrix_norm(x_BNC @ x_BNC.mT, 2)
    p_B1NN = Softmax().weights(*normalised, MASK.expand(N, N), {})
    entropy_BN = torch.special.entr(p_B1NN[:, 0]).sum(dim=-1)
    for entropy_N, sigma_x in zip(entropy_BN, sigma_x_B, strict=True):
        assert entropy_N.min() >= lowest_entropy(sigma_x.item()) - 1e-9
    if scale == 1e6:
        collapsed = torch.special.entr(Softmax().weights(*plain, MASK.expand(N, N), {})).sum(dim=-1)
        assert collapsed.max() < lowest_entropy(sigma_x_B.min().item())
