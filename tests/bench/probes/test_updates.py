"""Norms by role, ratios to Adam's second moment, kurtosis: closed forms and sums over parameters of a small model."""

import dataclasses

import pytest
import torch

from bench.probes.updates import GradientKurtosis, LayerGradients, Norms, SecondMoments, kurtosis
from bench.roles import ROLES, role_of
from tests.bench.probes.models import model_in_training
from tests.trials import language_trial, trial


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("layers.0.query.weight", "query"),
        ("layers.3.query.gamma", "method"),
        ("layers.3.query.gain", "method"),
        ("layers.3.key.bias", "bias"),
        ("layers.0.mlp_gate.weight", "mlp"),
        ("layers.0.output.weight", "output"),
        ("layers.0.norm_attention.bias", "norm"),
        ("norm.gain", "norm"),
        ("layers.0.method.gamma_q", "method"),
        ("embed.tokens", "embedding"),
        ("embed.patches.weight", "embedding"),
        ("embed.patches.bias", "bias"),
        ("embed", "embedding"),
        ("readout.weight", "readout"),
        ("readout", "readout"),
        ("readout.projector_in.weight", "readout"),
        ("readout.projector_in.gamma", "method"),
        ("readout.norm_projector_in.gain", "norm"),
        ("layers.0.gate.weight", "other"),
    ],
)
def test_parameters_have_roles_by_their_names(name, role):
    assert role_of(name) == role
    assert role in ROLES


def test_squares_of_norms_over_roles_are_those_of_the_whole_model():
    model = model_in_training(language_trial(), steps=3)
    found = Norms().measure_model(model)
    update = model.update
    whole = {
        "weight_norm": model.params,
        "gradient_norm": update.grads,
        "update_norm": {name: update.after[name] - p for name, p in model.params.items()},
    }
    for name, tensors in whole.items():
        squares = sum(found[f"{name}_{role}"].nan_to_num().square().item() for role in ROLES)
        assert squares == pytest.approx(sum(one.square().sum().item() for one in tensors.values()))
    ratio = found["update_norm_query"] / found["weight_norm_query"]
    assert found["relative_update_query"].item() == pytest.approx(ratio.item())
    assert found["weight_norm_other"].isnan()


def test_squares_of_norms_by_layer_and_of_the_rest_are_those_of_the_whole_model():
    model = model_in_training(language_trial(workload_params={"depth": 2}), steps=3)
    found = LayerGradients().measure_model(model)
    assert found["layer_gradient_norm"].shape == (2,)
    squares = found["layer_gradient_norm"].square().sum() + found["input_gradient_norm"].square()
    rest = [grad for name, grad in model.update.grads.items() if not name.startswith(("layers.", "embed."))]
    whole = sum(grad.square().sum().item() for grad in model.update.grads.values())
    assert squares.item() + sum(grad.square().sum().item() for grad in rest) == pytest.approx(whole)
    assert found["input_gradient_norm"] > 0
    assert LayerGradients().measure_model(model_in_training(trial(), steps=1))["input_gradient_norm"].isnan()


def test_gradients_are_as_the_optimizer_gets_them():
    found = Norms().measure_model(model_in_training(language_trial(grad_clip=0.01), steps=3))
    total = sum(found[f"gradient_norm_{role}"].nan_to_num().square().item() for role in ROLES)
    assert total**0.5 == pytest.approx(0.01, rel=1e-3)


def test_the_update_is_the_one_that_training_makes():
    model, after = (model_in_training(language_trial(), steps=steps) for steps in (3, 4))
    for name, p in model.update.after.items():
        torch.testing.assert_close(p, after.params[name], rtol=1e-12, atol=1e-14)


def test_gradients_that_do_not_change_have_the_ratio_one():
    """At step 0 v is g^2, so that g^2 / v is 1 wherever g is not 0."""
    model = model_in_training(language_trial(), steps=0)
    found = SecondMoments().measure_model(model)
    grads = torch.cat([grad.reshape(-1) for grad in model.update.grads.values()])
    share = (grads != 0).double().mean().item()
    assert found["moment_ratio_rms"].item() == pytest.approx(share**0.5, rel=1e-5)
    assert found["moment_spike_share"].isnan()


def test_the_share_of_spikes_is_of_the_average_without_the_gradient():
    model = model_in_training(language_trial(), steps=5)
    update = model.update
    jumped = {name: 100 * update.moments_before[name].sqrt() for name in update.grads}
    half = {name: grad if "mlp" in name else 0 * grad for name, grad in jumped.items()}
    changed = dataclasses.replace(model, update_of_step=lambda: dataclasses.replace(update, grads=half))
    num_spikes = sum((grad > 0).sum().item() for grad in half.values())
    expected = num_spikes / sum(grad.numel() for grad in half.values())
    found = SecondMoments(threshold=9_000).measure_model(changed)["moment_spike_share"].item()
    assert found == pytest.approx(expected)
    assert SecondMoments(threshold=11_000).measure_model(changed)["moment_spike_share"].item() == 0


def test_without_second_moments_nothing_is_said():
    found = SecondMoments().measure_model(model_in_training(trial(optimizer="sgd"), steps=2))
    assert all(value.isnan() for value in found.values())


def test_kurtosis_of_normals_is_three_and_of_one_element_their_number():
    normals = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).double()
    assert kurtosis(normals).item() == pytest.approx(3, rel=0.02)
    assert kurtosis(torch.eye(7)[0]).item() == pytest.approx(7)
    assert kurtosis(1e-30 * normals).item() == pytest.approx(kurtosis(normals).item())
    assert kurtosis(torch.zeros(5)).item() == 1
    assert GradientKurtosis().measure_model(model_in_training(trial(), steps=1))["gradient_kurtosis"].item() >= 1
