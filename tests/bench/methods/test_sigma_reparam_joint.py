"""One sigma and one gamma of fused projections: those of the matrix that has them side by side.

Shapes: C channels, I inputs, O outputs.
"""

import pytest
import torch

from bench.methods.linear import SigmaReparam
from bench.methods.sigma_reparam import SigmaReparamAll, SigmaReparamJoint
from bench.models.attention_only import AttentionOnly
from bench.models.projections import weights_of
from bench.optimizers.layers import layers_of
from bench.training.model_view import scales_of

WIDTH = 4
MODEL = AttentionOnly(
    num_layers=1, num_tokens=5, width=WIDTH, residual=True, logit_scale=1.0, value_scale=1.0, initial_gain=1.0
)
(LAYER,) = layers_of("layers", 1)
FUSED = {"qk": ("query", "key"), "qkv": ("query", "key", "value")}


def randn(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def started(method):
    params, buffers = MODEL.init(method, randn, torch.tensor(1.0, dtype=torch.float64))
    return params, buffers | {"step": torch.tensor(0)}


def weights(method, params, buffers):
    return weights_of(method, params, buffers, MODEL.projections(method, LAYER).values())


@pytest.mark.parametrize("joint", FUSED)
def test_fused_weights_are_those_of_one_matrix_after_steps_of_training(joint):
    """A wrapped linear layer of as many outputs, as the authors' code has it, in value, gradient and kept vectors."""
    method = SigmaReparamJoint(joint=joint)
    params, buffers = started(method)
    whole_IO = torch.cat([params[f"layers.0.{role}.weight"] for role in FUSED[joint]], dim=-1)
    own, kept = SigmaReparam().init(whole_IO, randn)
    own["gamma"] = params["layers.0.query.gamma"] = torch.tensor(1.7, dtype=torch.float64)
    for _ in range(3):
        buffers, kept = MODEL.refresh(method, params, buffers), SigmaReparam().refresh(own, kept)

        def fused(params, buffers=buffers):
            found = weights(method, params, buffers)
            joined_IO = torch.cat([found[role] for role in FUSED[joint]], dim=-1)
            return joined_IO.square().cos().sum(), joined_IO

        def of_one(own, kept=kept):
            whole_IO = SigmaReparam().weight(own, kept)
            return whole_IO.square().cos().sum(), whole_IO

        (grads, actual), (expected_grads, expected) = (
            torch.func.grad(run, has_aux=True)(tensors) for run, tensors in ((fused, params), (of_one, own))
        )
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(
            torch.cat([grads[f"layers.0.{role}.weight"] for role in FUSED[joint]], dim=-1),
            expected_grads["weight"],
            rtol=1e-10,
            atol=1e-13,
        )
        torch.testing.assert_close(grads["layers.0.query.gamma"], expected_grads["gamma"], rtol=1e-10, atol=1e-13)
        params = {name: tensor - 0.1 * grads[name] for name, tensor in params.items()}
        own = {name: tensor - 0.1 * expected_grads[name] for name, tensor in own.items()}


def test_weights_that_are_not_fused_are_as_without():
    joint, apart = SigmaReparamJoint(joint="qk"), SigmaReparamAll()
    (params, buffers), (others, other_buffers) = started(joint), started(apart)
    assert torch.equal(weights(joint, params, buffers)["value"], weights(apart, others, other_buffers)["value"])
    assert params.keys() ^ others.keys() == {"layers.0.key.gamma"}


def test_probes_see_weights_as_they_multiply_and_the_one_gamma():
    method = SigmaReparamJoint(joint="qkv")
    params, buffers = started(method)
    scales, found = scales_of(method, params, buffers, LAYER), weights(method, params, buffers)
    assert torch.equal(scales.weight_query_IO, found["query"])
    assert torch.equal(scales.weight_key_IO, found["key"])
    assert scales.gamma_query is scales.gamma_key is not None
