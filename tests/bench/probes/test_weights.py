"""Spectral norms against singular value decompositions; gammas of methods that have them."""

import pytest
import torch

from bench.lanczos import largest_singular_value
from bench.probes.weights import Gammas, SpectralNorms, product_norm
from tests.bench.probes.models import model_in_training
from tests.trials import language_trial, trial


@pytest.mark.parametrize("shape", [(64, 64), (256, 64), (16, 256)])
def test_twelve_iterations_find_the_largest_singular_value_of_a_random_matrix(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    start = torch.randn(shape[0], generator=torch.Generator().manual_seed(1))
    found = largest_singular_value(weight, start, 12)
    assert found.item() == pytest.approx(torch.linalg.matrix_norm(weight, ord=2).item(), rel=1e-3)


def test_the_product_of_a_head_is_that_of_the_dense_product():
    query, key = torch.randn(2, 48, 8, generator=torch.Generator().manual_seed(0)).double()
    start = torch.randn(48, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.linalg.matrix_norm(query @ key.mT, ord=2).item()
    assert product_norm(query, key, start, 12).item() == pytest.approx(expected, rel=1e-6)


def test_zeros_have_norm_zero():
    assert largest_singular_value(torch.zeros(4, 4), torch.ones(4), 3).item() == 0


def test_every_layer_and_head_of_a_model_has_its_own():
    model = model_in_training(language_trial(workload_params={"depth": 2}), steps=2)
    found = SpectralNorms().measure_model(model)
    for layer in range(2):
        query, key = (model.params[f"layers.{layer}.{role}.weight"] for role in ("query", "key"))
        products = [torch.linalg.matrix_norm(query[:, at] @ key[:, at].mT, ord=2) for at in (slice(0, 4), slice(4, 8))]
        assert found["query_norm"][layer].item() == pytest.approx(torch.linalg.matrix_norm(query, ord=2).item())
        assert found["key_norm"][layer].item() == pytest.approx(torch.linalg.matrix_norm(key, ord=2).item())
        assert found["query_key_norm"][layer].item() == pytest.approx(max(products).item())
        assert found["query_key_norm_mean"][layer].item() == pytest.approx(sum(products).item() / 2)


def test_norms_are_of_weights_as_they_multiply():
    """Of sigma-reparametrised weights gamma, as far as the power iteration is, whatever the weight that is trained."""
    model = model_in_training(trial(method="sigma_reparam_qk"), steps=4)
    found = SpectralNorms().measure_model(model)["query_norm"].item()
    assert found == pytest.approx(model.params["layers.0.query.gamma"].item(), rel=0.05)


def test_where_tokens_are_their_own_keys_the_key_weight_is_the_identity():
    one = trial(workload_params={"embedding": "pass_through", "merged_query_key": True})
    found = SpectralNorms().measure_model(model_in_training(one, steps=1))
    assert found["key_norm"].item() == pytest.approx(1)
    assert found["query_key_norm"].item() == pytest.approx(found["query_norm"].item())


def test_gammas_are_those_of_the_method_and_missing_without():
    model = model_in_training(trial(method="qk_layernorm_free", lr=0.1), steps=3)
    found = Gammas().measure_model(model)
    gamma = model.params["layers.0.method.gamma_q"]
    assert found["gamma_query"].item() == pytest.approx(gamma.square().mean().sqrt().item())
    assert Gammas().measure_model(model_in_training(trial(), steps=1))["gamma_query"].isnan()
