"""L2 attention equals its definition; the Jacobian of P X A keeps to the paper's bound, that of softmax does not."""

import math

import numpy
import pytest
import torch
from scipy.special import lambertw

from bench.methods.l2_attention import L2Attention
from tests.bench.methods.naive import MASKS, WIDTH, by_rows, queries_and_keys, randn, softmax


@pytest.mark.parametrize("mask", MASKS)
def test_weights_equal_the_definition(mask):
    q, k = queries_and_keys(MASKS[mask])

    def row(q, i, k, j):
        return softmax(numpy.array([-((q - k_j) ** 2).sum() / math.sqrt(WIDTH) for k_j in k]))

    actual = L2Attention().weights(q, k, MASKS[mask], {})
    torch.testing.assert_close(actual, by_rows(q, k, MASKS[mask], row), rtol=1e-11, atol=0)


def test_a_token_attends_most_to_itself():
    _, k = queries_and_keys()
    z = L2Attention().logits(k, k, MASKS["full"], {})
    torch.testing.assert_close(z.diagonal(dim1=-2, dim2=-1), torch.zeros_like(z[..., 0]), rtol=0, atol=1e-14)
    assert (z <= 1e-14).all()
    assert torch.equal(z.argmax(dim=-1), torch.arange(7).expand(2, 3, -1))


def test_one_projection_serves_both_and_the_scale_is_its_own():
    assert L2Attention().ties_query_and_key
    assert L2Attention().logit_scale(0.25) == 1


def spectral_norm_of_jacobian(function, x_TC: torch.Tensor) -> float:
    jacobian = torch.func.jacrev(function)(x_TC)
    return torch.linalg.matrix_norm(jacobian.reshape(x_TC.numel(), -1), 2).item()


@pytest.mark.parametrize("num_tokens", [2, 5, 20])
def test_jacobian_keeps_to_the_bound_of_the_paper_and_that_of_softmax_grows(num_tokens):
    """Kim et al. 2021, Thm. 3.2 for one head: sqrt(N/D) (4 phi^-1(N - 1) + 1) |W_Q|^2 |W_V|, phi(x) = x exp(x + 1)."""
    width = 3
    w_query, w_value = randn(0, width, width), randn(1, width, width)
    mask_QK = torch.ones(num_tokens, num_tokens, dtype=torch.bool)

    def l2(x_TC):
        q = (x_TC @ w_query)[None, None]
        p = L2Attention().weights(q, q, mask_QK, {})[0, 0]
        return p @ x_TC @ (w_query @ w_query.T / math.sqrt(width)) @ w_value

    def dot_product(x_TC):
        q = x_TC @ w_query
        return (q @ q.T).softmax(dim=-1) @ x_TC @ w_value

    inverse = lambertw((num_tokens - 1) / math.e).real
    norms = torch.linalg.matrix_norm(w_query, 2) ** 2 * torch.linalg.matrix_norm(w_value, 2)
    bound = math.sqrt(num_tokens / width) * (4 * inverse + 1) * norms.item()
    softmaxs = []
    for scale in (1e-2, 0.1, 1, 10, 1e3):
        x = scale * randn(num_tokens, num_tokens, width)
        x[0] = 0  # where the Jacobian of dot products grows with the variance of the others
        assert spectral_norm_of_jacobian(l2, x) <= bound
        softmaxs.append(spectral_norm_of_jacobian(dot_product, x))
    assert softmaxs[-1] > bound
