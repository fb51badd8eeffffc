"""sigma-reparam: the effective weight has spectral norm gamma, and gradients leave the kept vectors alone."""

import itertools

import pytest
import torch

from bench.methods.linear import PlainLinear, SigmaReparam
from bench.methods.sigma_reparam import SigmaReparamQK

SHAPES = [(4, 4), (6, 3), (3, 6), (1, 5), (5, 1)]


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def started(weight_IO: torch.Tensor, seed: int = 1, **settings):
    return SigmaReparam(**settings).init(weight_IO, lambda name, shape: randn(seed, *shape))


def refreshed(params, buffers, times: int):
    for _ in range(times):
        buffers = SigmaReparam().refresh(params, buffers)
    return buffers


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gamma", [1.0, -0.5, 3.0])
def test_spectral_norm_of_the_weight_is_gamma(shape, gamma):
    weight_IO = randn(0, *shape)
    params, buffers = started(weight_IO)
    params["gamma"] = torch.tensor(gamma, dtype=torch.float64)
    buffers = refreshed(params, buffers, 300)
    sigma = buffers["left"] @ weight_IO @ buffers["right"]
    torch.testing.assert_close(sigma, torch.linalg.matrix_norm(weight_IO, 2), rtol=1e-9, atol=0)
    effective = SigmaReparam().weight(params, buffers)
    torch.testing.assert_close(torch.linalg.matrix_norm(effective, 2).item(), abs(gamma), rtol=1e-9, atol=0)
    torch.testing.assert_close(
        effective, gamma * weight_IO / torch.linalg.matrix_norm(weight_IO, 2), rtol=1e-9, atol=1e-12
    )


def test_refreshes_follow_a_weight_in_training():
    """One iteration a step keeps sigma near, while the weight moves a little each step."""
    weight_IO = randn(0, 4, 4)
    params, buffers = started(weight_IO)
    for step in range(200):
        params["weight"] = weight_IO + 0.005 * step * torch.eye(4, dtype=torch.float64)
        buffers = SigmaReparam().refresh(params, buffers)
    effective = SigmaReparam().weight(params, buffers)
    torch.testing.assert_close(torch.linalg.matrix_norm(effective, 2).item(), 1.0, rtol=1e-2, atol=0)


def test_more_iterations_at_the_start_are_nearer_to_the_spectral_norm():
    norms = []
    for num_init_iterations in (0, 1, 5, 50):
        params, buffers = started(randn(0, 8, 8), num_init_iterations=num_init_iterations)
        norms.append(torch.linalg.matrix_norm(SigmaReparam().weight(params, buffers), 2).item() - 1)
    assert all(later < earlier for earlier, later in itertools.pairwise(norms))
    assert 0 <= norms[-1] < 1e-6


def test_kept_vectors_have_norm_one_and_one_refresh_is_one_power_iteration():
    params, buffers = started(randn(0, 6, 3))
    right_O = params["weight"].mT @ buffers["left"]
    right_O = right_O / torch.linalg.vector_norm(right_O)
    left_I = params["weight"] @ right_O
    left_I = left_I / torch.linalg.vector_norm(left_I)
    new = SigmaReparam().refresh(params, buffers)
    torch.testing.assert_close(new, {"left": left_I, "right": right_O}, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("times", [0, 3, 300])
def test_gradient_equals_that_of_a_quotient_with_fixed_vectors(times):
    """Of gamma W / (u^T W v) with u and v constant; and, converged, that of W / ||W||_2 as PyTorch takes it."""
    weight_IO, x_BI, cotangent_BO = randn(0, 6, 3), randn(2, 5, 6), randn(3, 5, 3)
    params, buffers = started(weight_IO, num_init_iterations=0)
    params["gamma"] = torch.tensor(1.7, dtype=torch.float64)
    buffers = refreshed(params, buffers, times)

    def loss(params):
        return (cotangent_BO * (x_BI @ SigmaReparam().weight(params, buffers)).square()).sum()

    grads = torch.func.grad(loss)(params)
    weight = weight_IO.clone().requires_grad_()
    gamma = params["gamma"].clone().requires_grad_()
    sigma = torch.einsum("i,io,o->", buffers["left"].detach(), weight, buffers["right"].detach())
    if times == 300:
        sigma = torch.linalg.matrix_norm(weight, 2)
    independent = (cotangent_BO * torch.einsum("bi,io->bo", x_BI, weight / sigma * gamma) ** 2).sum()
    expected = torch.autograd.grad(independent, (weight, gamma))
    torch.testing.assert_close((grads["weight"], grads["gamma"]), expected, rtol=1e-8, atol=1e-10)


def test_converged_weight_does_not_depend_on_the_scale_of_the_raw_one():
    weight_IO = randn(0, 5, 4)
    effective = []
    for scale in (1.0, 1e-3, 1e3):
        params, buffers = started(scale * weight_IO)
        effective.append(SigmaReparam().weight(params, refreshed(params, buffers, 300)))
    torch.testing.assert_close(effective[1], effective[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(effective[2], effective[0], rtol=1e-9, atol=1e-12)


def test_plain_weight_is_itself():
    weight_IO = randn(0, 3, 2)
    params, buffers = PlainLinear().init(weight_IO, lambda name, shape: randn(1, *shape))
    assert PlainLinear().weight(params, PlainLinear().refresh(params, buffers)) is weight_IO
    assert buffers == {}


def test_sigma_reparam_qk_wraps_queries_and_keys_alone():
    kinds = {role: type(SigmaReparamQK().linear(role)) for role in ("query", "key", "value")}
    assert kinds == {"query": SigmaReparam, "key": SigmaReparam, "value": PlainLinear}
