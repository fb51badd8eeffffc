"""Kernel attention equals its definition, written out as loops; rows without any similarity are told apart."""

import math

import pytest
import torch

from bench.methods.kernel import EluKernel, ReluKernel, SigmoidKernel, normalized_rows

TOKENS, WIDTH = 6, 3
FULL = torch.ones(TOKENS, TOKENS, dtype=torch.bool)
FEATURES = {
    ReluKernel: lambda x: max(x, 0.0),
    EluKernel: lambda x: x + 1 if x > 0 else math.exp(x),
    SigmoidKernel: lambda x: 1 / (1 + math.exp(-x)),
}


def queries_and_keys(dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, 2, TOKENS, WIDTH, generator=generator, dtype=dtype) for _ in "qk")
    k[..., 0] = k[..., 0].abs() + 0.1
    q[..., 0] = q[..., 0].abs() + 0.1  # no row of the ReLU kernel is empty
    return q, k


@pytest.mark.parametrize("kernel", FEATURES)
@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("mask_QK", [FULL, FULL.tril()], ids=["full", "causal"])
def test_kernel_equals_a_loop(kernel, eps, mask_QK):
    q, k = queries_and_keys()
    phi = FEATURES[kernel]
    expected = torch.zeros(2, 2, TOKENS, TOKENS, dtype=torch.float64)
    for b in range(2):
        for h in range(2):
            for i in range(TOKENS):
                similarity = [
                    sum(phi(x) * phi(y) for x, y in zip(q[b, h, i].tolist(), k[b, h, j].tolist(), strict=True))
                    for j in range(TOKENS)
                    if mask_QK[i, j]
                ]
                row = torch.tensor(similarity, dtype=torch.float64) / (sum(similarity) + eps)
                expected[b, h, i, mask_QK[i]] = row
    torch.testing.assert_close(kernel(eps=eps).weights(q, k, mask_QK, {}), expected, rtol=1e-12, atol=1e-15)


def weights_and_gradients(method, q, k, mask_B1QK=FULL):
    q, k = q.clone().requires_grad_(), k.clone().requires_grad_()
    p_BHQK = method.weights(q, k, mask_B1QK, {})
    return p_BHQK, *torch.autograd.grad(p_BHQK.square().sum() + p_BHQK[..., 0].sum(), (q, k))


def test_an_empty_row_is_uniform_over_its_allowed_keys_and_passes_no_gradient():
    q, k = queries_and_keys()
    q[:, :, 2] = -1
    p_BHQK, q_grad, k_grad = weights_and_gradients(ReluKernel(), q, k, FULL.tril())
    uniform_K = torch.tensor([1 / 3] * 3 + [0] * 3, dtype=torch.float64)
    assert torch.equal(p_BHQK[:, :, 2], uniform_K.expand(2, 2, -1))
    assert (q_grad[:, :, 2] == 0).all()
    assert q_grad.isfinite().all()
    others = [i for i in range(TOKENS) if i != 2]
    _, q_expected, k_expected = weights_and_gradients(ReluKernel(), q[:, :, others], k, FULL.tril()[others])
    torch.testing.assert_close(q_grad[:, :, others], q_expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(k_grad, k_expected, rtol=1e-12, atol=1e-15)


def test_an_empty_row_with_eps_gives_nothing_and_passes_no_gradient():
    q, k = queries_and_keys()
    q[:, :, 2] = -1
    p_BHQK, q_grad, k_grad = weights_and_gradients(ReluKernel(eps=1e-3), q, k)
    assert (p_BHQK[:, :, 2] == 0).all()
    assert (q_grad[:, :, 2] == 0).all()
    assert q_grad.isfinite().all()
    assert k_grad.isfinite().all()


def test_eps_lowers_the_sum_of_a_row():
    q, k = queries_and_keys()
    total_BHQ = (q.relu() @ k.relu().mT).sum(dim=-1)
    row_sum = ReluKernel(eps=0.25).weights(q, k, FULL, {}).sum(dim=-1)
    torch.testing.assert_close(row_sum, total_BHQ / (total_BHQ + 0.25), rtol=1e-12, atol=0)
    assert ReluKernel().rows_sum_to_one
    assert not ReluKernel(eps=0.25).rows_sum_to_one


@pytest.mark.parametrize("kernel", [EluKernel, SigmoidKernel])
@pytest.mark.parametrize("depth", [-15.0, -40.0, -49.0, -60.0, -100.0])
def test_saturated_features_keep_gradients_finite(kernel, depth):
    """Both features are exp(depth): below about -44 their product is subnormal in float32 and 1 / total^2 infinite."""
    q, k = (torch.full((1, 1, TOKENS, WIDTH), depth) for _ in "qk")
    p_BHQK, q_grad, k_grad = weights_and_gradients(kernel(), q, k)
    torch.testing.assert_close(p_BHQK, torch.full_like(p_BHQK, 1 / TOKENS))
    assert q_grad.isfinite().all()
    assert k_grad.isfinite().all()


@pytest.mark.parametrize(("total", "is_uniform"), [(1e-20, True), (1e-18, False)])
def test_rows_count_as_empty_below_the_root_of_the_smallest_normal_number(total, is_uniform):
    """In float32 1.08e-19: the square of a smaller one is subnormal, and dividing by it twice may overflow."""
    similarity = torch.tensor([[[[0.75, 0.25, 0.0]]]]) * total
    expected = [0.5, 0.5, 0.0] if is_uniform else [0.75, 0.25, 0.0]
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(normalized_rows(similarity, mask)[0, 0, 0], torch.tensor(expected), rtol=1e-6, atol=0)


def test_elu_features_do_not_overflow_backwards():
    """exp of a large positive input is never taken, on neither branch."""
    x = torch.tensor([-200.0, -1.0, 0.0, 1.0, 200.0, 1e4], requires_grad=True)
    (grad,) = torch.autograd.grad(EluKernel().features(x).sum(), x)
    torch.testing.assert_close(EluKernel().features(x), torch.nn.functional.elu(x) + 1, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(grad, torch.where(x > 0, 1.0, x.clamp_max(0).exp()), rtol=1e-6, atol=0)
