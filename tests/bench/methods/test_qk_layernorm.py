"""QK-LayerNorm is PyTorch's LayerNorm before PyTorch's attention; its clippings are PyTorch's."""

import pytest
import torch
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from bench.methods.base import Heads
from bench.methods.qk_layernorm import (
    LAYERNORM_EPS,
    QKLayerNormFixed,
    QKLayerNormFree,
    QKLayerNormGradientClipped,
    QKLayerNormWeightClipped,
)

TOKENS, WIDTH = 7, 5
STEP = torch.tensor(0)
HEADS = Heads(num_heads=2, width=WIDTH, num_keys=TOKENS)
FULL = torch.ones(TOKENS, TOKENS, dtype=torch.bool)
LEARNED = [QKLayerNormFree(), QKLayerNormWeightClipped(), QKLayerNormGradientClipped()]


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(method, q, k, params) -> torch.Tensor:
    return method.weights(*method.normalize(q, k, params), FULL, params)


@pytest.mark.parametrize("method", [QKLayerNormFixed(), *LEARNED], ids=lambda method: type(method).__name__)
def test_weights_equal_pytorchs_layer_norm_and_attention(method):
    q, k = 3 * randn(0, 2, 2, TOKENS, WIDTH) + 1, randn(1, 2, 2, TOKENS, WIDTH) - 2
    params = {name: gamma + randn(2, WIDTH) for name, gamma in method.init_params(HEADS).items()}
    identity = torch.eye(TOKENS, dtype=torch.float64).expand(2, 2, -1, -1)
    q_normal, k_normal = (
        layer_norm(x, (WIDTH,), params[name].flatten() if params else None, eps=LAYERNORM_EPS)
        for x, name in ((q, "gamma_q"), (k, "gamma_k"))
    )
    expected = scaled_dot_product_attention(q_normal, k_normal, identity, scale=1.0)
    torch.testing.assert_close(weights(method, q, k, params), expected, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("factor", [1e-1, 1e2, 1e6])
def test_scale_and_offset_of_queries_and_keys_change_nothing(factor):
    """Up to LayerNorm's eps, which matters where the variance of a token is small beside it."""
    q, k = 10 * randn(0, 2, 1, TOKENS, WIDTH), 10 * randn(1, 2, 1, TOKENS, WIDTH)
    method = QKLayerNormFixed()
    expected = weights(method, q, k, {})
    tolerance = 100 * LAYERNORM_EPS
    torch.testing.assert_close(weights(method, factor * q, k, {}), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(weights(method, q, factor * k, {}), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(weights(method, q + 3, k - 5, {}), expected, rtol=1e-10, atol=1e-12)


def test_logits_are_bounded_by_the_width():
    """|LN(q)| <= sqrt D, so |Z| <= D, whatever the queries and keys."""
    q, k = 1e4 * randn(0, 2, 1, TOKENS, WIDTH), 1e4 * randn(1, 2, 1, TOKENS, WIDTH)
    method = QKLayerNormFixed()
    assert method.logits(*method.normalize(q, q, {}), FULL, {}).amax() == pytest.approx(WIDTH, rel=1e-9)
    assert method.logits(*method.normalize(q, k, {}), FULL, {}).abs().amax() <= WIDTH


@pytest.mark.parametrize("method", LEARNED, ids=lambda method: type(method).__name__)
def test_gamma_starts_at_one_has_the_width_of_a_head_and_is_shared(method):
    params = method.init_params(HEADS)
    assert params.keys() == {"gamma_q", "gamma_k"}
    assert all(torch.equal(gamma, torch.ones(1, 1, WIDTH)) for gamma in params.values())


def test_fixed_gamma_is_free_gamma_of_one():
    q, k = randn(0, 1, 1, TOKENS, WIDTH), randn(1, 1, 1, TOKENS, WIDTH)
    params = {name: gamma.double() for name, gamma in QKLayerNormFree().init_params(HEADS).items()}
    assert torch.equal(weights(QKLayerNormFixed(), q, k, {}), weights(QKLayerNormFree(), q, k, params))


def test_weight_clipping_equals_clamping_each_element():
    gammas = {"gamma_q": 3 * randn(0, WIDTH), "gamma_k": 0.1 * randn(1, WIDTH)}
    limited = QKLayerNormWeightClipped(max_gamma=0.5).limit_params(gammas, STEP)
    assert {name: [min(max(x, -0.5), 0.5) for x in gamma.tolist()] for name, gamma in gammas.items()} == {
        name: gamma.tolist() for name, gamma in limited.items()
    }


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e6])
def test_gradient_clipping_equals_pytorchs_for_each_gamma_alone(scale):
    grads = {"gamma_q": scale * randn(0, WIDTH), "gamma_k": 3 * scale * randn(1, WIDTH)}
    limited = QKLayerNormGradientClipped(max_grad_norm=0.7).limit_grads(grads, STEP)
    for name, grad in grads.items():
        parameter = torch.nn.Parameter(torch.zeros(WIDTH, dtype=torch.float64))
        parameter.grad = grad.clone()
        torch.nn.utils.clip_grad_norm_([parameter], 0.7)
        # PyTorch adds 1e-6 to the norm.
        torch.testing.assert_close(limited[name], parameter.grad, rtol=2e-6, atol=0)


def test_free_and_fixed_gammas_are_not_limited():
    gammas = {"gamma_q": 1e6 * randn(0, WIDTH)}
    assert QKLayerNormFree().limit_params(gammas, STEP) == gammas
    assert QKLayerNormFree().limit_grads(gammas, STEP) == gammas
    assert QKLayerNormWeightClipped().limit_grads(gammas, STEP) == gammas
    assert QKLayerNormGradientClipped().limit_params(gammas, STEP) == gammas
