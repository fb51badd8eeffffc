"""Reparametrised weights: their spectral norm is gamma or 1, or their columns' norms are g; gradients follow.

Shapes: I inputs, O outputs, B batch.
"""

import itertools
import math

import numpy
import pytest
import torch
from torch.nn.utils import parametrizations

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.linear import ROLES, PlainLinear, SigmaReparam, SpectralNorm, WeightNorm

SHAPES = [(4, 4), (6, 3), (3, 6), (1, 5), (5, 1)]


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def started(weight_IO: torch.Tensor, seed: int = 1, **settings):
    return SigmaReparam(**settings).init(weight_IO, lambda name, shape: randn(seed, *shape))


def from_random_vectors(weight_IO: torch.Tensor):
    """Params, and buffers that are not singular vectors."""
    vectors = {"left": randn(7, weight_IO.shape[0]), "right": randn(8, weight_IO.shape[1])}
    return started(weight_IO)[0], {name: vector / vector.norm() for name, vector in vectors.items()}


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


def test_more_iterations_are_nearer_to_the_spectral_norm():
    params, buffers = from_random_vectors(randn(0, 8, 8))
    norms = []
    for times in (1, 5, 50):
        norm = torch.linalg.matrix_norm(SigmaReparam().weight(params, refreshed(params, buffers, times)), 2)
        norms.append(norm.item() - 1)
    assert all(later < earlier for earlier, later in itertools.pairwise(norms))
    assert -1e-15 < norms[-1] < 1e-6


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("shape", [(64, 64), (32, 96), (200, 50), (1, 5)])
@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
def test_the_first_step_divides_by_the_spectral_norm(shape, scale, dtype, tolerance):
    """Fifteen power iterations from random vectors left 64 x 64 off by up to 7%."""
    weight_IO = (scale * randn(1, *shape)).to(dtype)
    params, buffers = SpectralNorm().init(weight_IO, lambda name, shape: randn(2, *shape))
    buffers = SpectralNorm().refresh(params, buffers)
    norm = numpy.linalg.svd(SpectralNorm().weight(params, buffers).double().numpy(), compute_uv=False)[0]
    assert norm == pytest.approx(1, abs=tolerance)
    assert {tensor.dtype for tensor in buffers.values()} == {dtype}


def test_vectors_of_many_lanes_at_once_are_those_of_each():
    weights = torch.stack([randn(seed, 6, 9) for seed in range(5)])
    _, together = torch.func.vmap(lambda weight_IO: started(weight_IO))(weights)
    for lane, weight_IO in enumerate(weights):
        _, alone = started(weight_IO)
        outer = [one["left"][:, None] * one["right"] for one in (alone, {k: v[lane] for k, v in together.items()})]
        torch.testing.assert_close(outer[1], outer[0], rtol=0, atol=1e-12)  # both may have the other sign


@pytest.mark.parametrize("method", ["sigma_reparam", "spectral_norm"])
def test_weights_that_are_not_finite_diverge_and_leave_the_others(method):
    weights = torch.stack([randn(0, 4, 4), randn(0, 4, 4).fill_(math.inf), randn(1, 4, 4)])
    linear = WRAPPED[method]()
    effective = torch.func.vmap(lambda w: linear.weight(*linear.init(w, lambda name, shape: randn(1, *shape))))(weights)
    assert effective.isfinite().all(dim=(1, 2)).tolist() == [True, False, True]


@pytest.mark.parametrize("shape", SHAPES)
def test_gamma_from_sigma_starts_as_without_the_method(shape):
    weight_IO = randn(0, *shape)
    params, buffers = started(weight_IO, gamma_init="sigma")
    torch.testing.assert_close(params["gamma"], torch.linalg.matrix_norm(weight_IO, 2), rtol=1e-13, atol=0)
    effective = SigmaReparam().weight(params, SigmaReparam().refresh(params, buffers))
    torch.testing.assert_close(effective, weight_IO, rtol=1e-12, atol=0)


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
    params, buffers = from_random_vectors(weight_IO)
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


@pytest.mark.parametrize("shape", SHAPES)
def test_largest_singular_value_of_spectral_norm_is_one(shape):
    weight_IO = 7 * randn(0, *shape)
    params, buffers = SpectralNorm().init(weight_IO, lambda name, shape: randn(1, *shape))
    assert params.keys() == {"weight"}
    effective = SpectralNorm().weight(params, refreshed(params, buffers, 300)).numpy()
    numpy.testing.assert_allclose(numpy.linalg.svd(effective, compute_uv=False)[0], 1, rtol=1e-9)
    numpy.testing.assert_allclose(effective, weight_IO.numpy() / numpy.linalg.norm(weight_IO.numpy(), 2), rtol=1e-9)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_first_step_divides_by_sigma_where_squares_leave_float32(scale):
    weight_IO = (scale * randn(0, 6, 3)).float()
    params, buffers = SpectralNorm().init(weight_IO, lambda name, shape: randn(1, *shape))
    exact_IO = weight_IO.double() / torch.linalg.matrix_norm(weight_IO.double(), 2)
    torch.testing.assert_close(SpectralNorm().weight(params, buffers).double(), exact_IO, rtol=1e-5, atol=1e-6)


def test_sigma_reparam_with_gamma_one_is_spectral_norm():
    params, buffers = started(randn(0, 5, 4))
    assert params["gamma"] == 1
    torch.testing.assert_close(SigmaReparam().weight(params, buffers), SpectralNorm().weight(params, buffers))


def test_spectral_norms_gradient_is_orthogonal_to_the_weight():
    """The scale of the raw weight changes nothing, so no gradient points along it."""
    params, buffers = started(randn(0, 5, 4))
    grads = torch.func.grad(lambda p: (SpectralNorm().weight(p, buffers) * randn(2, 5, 4)).sum())(params)
    along = (grads["weight"] * params["weight"]).sum()
    torch.testing.assert_close(along, torch.zeros_like(along), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_column_norms_of_weight_norm_are_g(shape):
    weight_IO = randn(0, *shape)
    params, buffers = WeightNorm().init(weight_IO, lambda name, shape: randn(1, *shape))
    torch.testing.assert_close(WeightNorm().weight(params, buffers), weight_IO, rtol=1e-14, atol=0)
    params["gain"] = randn(2, shape[1])
    columns = WeightNorm().weight(params | {"weight": 5 * weight_IO}, buffers).numpy()
    numpy.testing.assert_allclose(numpy.linalg.norm(columns, axis=0), params["gain"].abs(), rtol=1e-12)


def test_a_column_of_zeros_stays_and_passes_finite_gradients():
    weight_IO = randn(0, 4, 3)
    weight_IO[:, 1] = 0
    params, buffers = WeightNorm().init(weight_IO, lambda name, shape: randn(1, *shape))
    assert torch.equal(WeightNorm().weight(params, buffers)[:, 1], torch.zeros(4, dtype=torch.float64))
    grads = torch.func.grad(lambda p: (randn(3, 4, 3) * WeightNorm().weight(p, buffers)).sum())(params)
    assert all(grad.isfinite().all() for grad in grads.values())


def test_weight_norm_and_its_gradients_equal_pytorchs():
    weight_IO, x_BI, cotangent_BO = randn(0, 6, 3), randn(2, 5, 6), randn(3, 5, 3)
    layer = torch.nn.Linear(6, 3, bias=False, dtype=torch.float64)
    layer.weight = torch.nn.Parameter(weight_IO.T.clone())
    parametrizations.weight_norm(layer, dim=0)
    gain_O1, weight_OI = (layer.get_parameter(f"parametrizations.weight.original{place}") for place in (0, 1))
    with torch.no_grad():
        gain_O1.mul_(1.5)
    expected = torch.autograd.grad((cotangent_BO * layer(x_BI).square()).sum(), (gain_O1, weight_OI))

    def loss(params):
        return (cotangent_BO * (x_BI @ WeightNorm().weight(params, {})).square()).sum()

    params, _ = WeightNorm().init(weight_IO, lambda name, shape: randn(1, *shape))
    grads = torch.func.grad(loss)(params | {"gain": 1.5 * params["gain"]})
    torch.testing.assert_close((grads["gain"][:, None], grads["weight"].T), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "linear", [SigmaReparam(), SpectralNorm(), WeightNorm()], ids=lambda linear: type(linear).__name__
)
def test_mixed_precision_leaves_the_parametrisation_in_float32(linear):
    params, buffers = linear.init(randn(0, 64, 32).float(), lambda name, shape: randn(1, *shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = linear.weight(params, buffers)
    assert torch.equal(mixed, linear.weight(params, buffers))


WRAPPED = {
    "sigma_reparam": SigmaReparam,
    "sigma_reparam_joint": SigmaReparam,
    "spectral_norm": SpectralNorm,
    "weight_norm": WeightNorm,
}


@pytest.mark.parametrize("name", METHODS)
def test_which_layers_are_wrapped(name):
    """All of the network's, or those of queries and keys alone, or none; a gate is a layer too."""
    method = load_class(METHODS[name])()
    kind = WRAPPED.get(name.removesuffix("_qk"), PlainLinear)
    for role in (*ROLES, "gate"):
        is_wrapped = not name.endswith("_qk") or role in ("query", "key")
        assert type(method.linear(role)) is (kind if is_wrapped else PlainLinear)
