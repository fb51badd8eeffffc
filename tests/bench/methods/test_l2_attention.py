"""L2 attention equals its definition; the Jacobian of a layer keeps to the paper's bound, that of softmax does not."""

import math

import numpy
import pytest
import torch
from scipy.special import lambertw

from bench.methods.l2_attention import L2Attention
from bench.methods.mask import Mask
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.attention_only import AttentionOnly
from bench.models.projections import Projection, project_roles
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


@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_values_are_those_of_x_a_of_each_head(num_heads):
    """Kim et al. 2021, Eq. 13: A = W_Q W_Q^T / sqrt(D) of each head, then W_V; a bias comes after."""
    width = 8
    projections = {
        role: Projection(prefix=role + ".", role=role, num_inputs=width, num_outputs=width, std=1.0, has_bias=True)
        for role in ("query", "value")
    }
    params = {f"{role}.weight": randn(place, width, width) for place, role in enumerate(projections)}
    params |= {f"{role}.bias": randn(7 + place, width) for place, role in enumerate(projections)}
    x_BTC = randn(3, 2, 5, width)
    read = project_roles(L2Attention(), params, {}, projections, x_BTC, num_heads)
    head_width = width // num_heads
    for h in range(num_heads):
        own = slice(h * head_width, (h + 1) * head_width)
        w_query, w_value = params["query.weight"][:, own], params["value.weight"][:, own]
        expected = x_BTC @ (w_query @ w_query.T / math.sqrt(head_width)) @ w_value + params["value.bias"][own]
        torch.testing.assert_close(read["value"][..., own], expected, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(read["query"], x_BTC @ params["query.weight"] + params["query.bias"])


def spectral_norm_of_jacobian(function, x_TC: torch.Tensor) -> float:
    jacobian = torch.func.jacrev(function)(x_TC)
    return torch.linalg.matrix_norm(jacobian.reshape(x_TC.numel(), -1), 2).item()


def layer_of(method, params, num_tokens: int, width: int):
    """A layer of one head and nothing else, as a function of its tokens."""
    model = AttentionOnly(
        num_layers=1,
        num_tokens=num_tokens,
        width=width,
        residual=False,
        logit_scale=1.0,
        value_scale=1.0,
        initial_gain=1.0,
    )
    mask = Mask.shared(torch.ones(num_tokens, num_tokens, dtype=torch.bool), "full")
    buffers = {"step": torch.tensor(0)}
    return lambda x_TC: model.forward(method, params, buffers, x_TC[None], mask, Mode())[0][0]


class OwnValues(L2Attention):
    """With the model's values, as the paper has not."""

    def value_weight(self, value_CHD, query_CHD):
        return value_CHD


@pytest.mark.parametrize("num_tokens", [2, 5, 20])
@pytest.mark.parametrize("is_blind", [False, True])
def test_the_jacobian_of_a_layer_keeps_to_the_bound_of_the_paper(num_tokens, is_blind):
    """Kim et al. 2021, Thm. 3.2 for one head: sqrt(N/D) (4 phi^-1(N - 1) + 1) |W_Q|^2 |W_V|, phi(x) = x exp(x + 1).

    is_blind: queries don't see channel 0, along which tokens move: values that A doesn't filter grow without bound.
    Else the first token is 0, where the Jacobian of dot products grows with the variance of the others.
    """
    width = 3
    w_query, w_value = randn(0, width, width), randn(1, width, width)
    if is_blind:
        w_query[0] = 0
    params = {"layers.0.query.weight": w_query, "layers.0.value.weight": w_value, "layers.0.key.weight": w_query}
    bounded, *others = (
        layer_of(method, params, num_tokens, width) for method in (L2Attention(), OwnValues(), Softmax())
    )
    inverse = lambertw((num_tokens - 1) / math.e).real
    norms = torch.linalg.matrix_norm(w_query, 2) ** 2 * torch.linalg.matrix_norm(w_value, 2)
    bound = math.sqrt(num_tokens / width) * (4 * inverse + 1) * norms.item()
    largest = 0.0
    for scale in (1e-2, 0.1, 1, 10, 1e3):
        x = randn(num_tokens, num_tokens, width) * (torch.tensor([scale, 1, 1]) if is_blind else scale)
        x[0] *= 1 if is_blind else 0
        assert spectral_norm_of_jacobian(bounded, x) <= bound
        largest = spectral_norm_of_jacobian(others[0 if is_blind else 1], x)
    assert largest > bound
