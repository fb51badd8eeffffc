"""Muon's steps are orthogonal matrices of known length; what is not a hidden matrix takes AdamW."""

import pytest
import torch

from bench.optimizers.adam import AdamW
from bench.optimizers.muon import Muon, is_hidden_matrix, orthogonal

KNOBS = {"lr": torch.tensor(0.1, dtype=torch.float64), "weight_decay": torch.tensor(0.2, dtype=torch.float64)}
AT_START = torch.tensor(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(8, 8), (20, 5), (5, 20), (1, 6)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_singular_vectors_stay_and_values_near_1_whatever_the_size(shape, size):
    left, _, right = torch.linalg.svd(draw(*shape), full_matrices=False)
    matrix = size * (left * torch.linspace(0.1, 1, min(shape), dtype=torch.float64)) @ right
    found = orthogonal(matrix, 5)
    values = left.mT @ found @ right.mT
    assert (values.diagonal() > 0.65).all()
    assert (values.diagonal() < 1.25).all()
    torch.testing.assert_close(values, torch.diag(values.diagonal()), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("inputs", "outputs", "scale"), [(4, 4, 1.0), (4, 16, 2.0), (16, 4, 1.0)])
def test_steps_are_scaled_by_outputs_over_inputs(inputs, outputs, scale):
    """PyTorch's weights are (outputs, inputs), ours (inputs, outputs)."""
    p, grad = torch.zeros(inputs, outputs, dtype=torch.float64), draw(inputs, outputs)
    name = "layers.*.mlp_in.weight"
    moved, _ = Muon().update(name, p, grad, Muon().init(name, p), KNOBS, AT_START)
    torch.testing.assert_close(-moved, 0.1 * scale * orthogonal(grad, 5), rtol=1e-12, atol=0)


def test_pytorchs_muon_in_bfloat16_differs_by_its_rounding():
    p, grad = draw(6, 9), draw(6, 9).cos()
    theirs = torch.nn.Parameter(p.mT.contiguous())
    theirs.grad = grad.mT.contiguous()
    torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2).step()
    name = "layers.*.query.weight"
    ours, _ = Muon().update(name, p, grad, Muon().init(name, p), KNOBS, AT_START)
    torch.testing.assert_close(ours, theirs.detach().mT, rtol=0, atol=0.1 * 0.03)


def test_hidden_matrices_are_the_weights_inside_layers():
    shapes = {
        "layers.*.query.weight": (4, 4),
        "layers.*.query.bias": (4,),
        "layers.*.query.gamma": (),
        "layers.*.norm_mlp.gain": (4,),
        "layers.*.method.gamma_q": (1, 1, 4),
        "layers.*.method.table": (4, 4),
        "embed.tokens": (4, 4),
        "embed.patches.weight": (4, 4),
        "readout.weight": (4, 4),
        "norm.gain": (4,),
    }
    hidden = [name for name, shape in shapes.items() if is_hidden_matrix(name, torch.zeros(shape))]
    assert hidden == ["layers.*.query.weight"]


def test_all_else_takes_adamw_at_a_share_of_the_learning_rate():
    p, grad = draw(4, 3), draw(4, 3).cos()
    muon, adamw = Muon(adamw_lr_ratio=0.25), AdamW(beta2=0.95, eps=1e-10)
    ours, _ = muon.update("readout.weight", p, grad, muon.init("readout.weight", p), KNOBS, AT_START)
    at_a_quarter = KNOBS | {"lr": KNOBS["lr"] / 4}
    expected, _ = adamw.update("", p, grad, adamw.init("", p), at_a_quarter, AT_START)
    torch.testing.assert_close(ours, expected, rtol=1e-15, atol=0)
