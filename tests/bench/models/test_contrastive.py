"""Losses and heads of contrastive learning, against PyTorch's modules and what the papers' code writes."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.contrastive import PREDICTOR, PROJECTOR, Contrastive, info_nce, nt_xent
from bench.models.dropout import Dropout
from bench.models.vit import vision_encoder


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_nt_xent_is_the_cross_entropy_of_simclrs_code():
    z = normal(2, 5, 4)
    hidden1, hidden2 = (functional.normalize(one, dim=-1) for one in z)
    masks = torch.eye(5, dtype=torch.float64) * 1e9
    logits_aa, logits_bb = hidden1 @ hidden1.T / 0.2 - masks, hidden2 @ hidden2.T / 0.2 - masks
    logits_ab, logits_ba = hidden1 @ hidden2.T / 0.2, hidden2 @ hidden1.T / 0.2
    labels = torch.arange(5)
    loss_a = functional.cross_entropy(torch.cat([logits_ab, logits_aa], 1), labels)
    loss_b = functional.cross_entropy(torch.cat([logits_ba, logits_bb], 1), labels)
    assert nt_xent(z, temperature=0.2).item() == pytest.approx((loss_a + loss_b).item() / 2, rel=1e-12)


def test_info_nce_is_the_cross_entropy_of_moco_v3s_code():
    q, k = normal(2, 6, 4)
    logits = torch.einsum("nc,mc->nm", [functional.normalize(q, dim=1), functional.normalize(k, dim=1)]) / 0.3
    expected = functional.cross_entropy(logits, torch.arange(6))
    assert info_nce(q, k, temperature=0.3).item() == pytest.approx(expected.item(), rel=1e-12)


def test_representations_that_are_all_alike_know_nothing():
    alike = torch.ones(2, 7, 3, dtype=torch.float64)
    assert nt_xent(alike, temperature=0.2).item() == pytest.approx(math.log(13), rel=1e-12)
    assert info_nce(alike[0], alike[1], temperature=0.2).item() == pytest.approx(math.log(7), rel=1e-12)


@pytest.mark.parametrize("apart", [False, True])
def test_heads_are_perceptrons_with_batch_normalisation(apart):
    settings = {"image_shape": (4, 4, 1), "pool": "mean", "norm_eps": 1e-6, "width": 8, "num_heads": 2, "num_layers": 1}
    encoder = vision_encoder("vit_digits", dropout=0.0, attention_dropout=0.0, **settings)
    model = Contrastive(
        encoder=encoder, projector_width=6, projection_width=5, has_predictor=True, normalises_views_apart=apart
    )
    generator = torch.Generator().manual_seed(1)

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    params, buffers = model.init(Softmax(), draw, torch.ones((), dtype=torch.float64))
    params = {name: draw(name, p.shape) if "norm_p" in name else p for name, p in params.items()}
    buffers |= {"step": torch.tensor(0)}
    views = normal(2, 7, 4, 4, 1)
    z, _ = model.projected(Softmax(), params, buffers, views, Mode(), Dropout())
    q = model.predicted(Softmax(), params, buffers, z)
    pooled, _ = model.features(Softmax(), params, buffers, views.flatten(0, 1), Mode(), Dropout())
    assert (z.shape, q.shape) == ((2, 7, 5), (2, 7, 5))
    for x, names, expected in ((pooled, PROJECTOR, z), (z.flatten(0, 1), PREDICTOR, q)):
        plain = perceptron(params, names)
        batches = x.split(7) if apart else [x]
        torch.testing.assert_close(torch.cat([plain(batch) for batch in batches]), expected.flatten(0, 1))


def perceptron(params: dict[str, torch.Tensor], names: tuple[str, ...]) -> nn.Module:
    modules: list[nn.Module] = []
    for name in names:
        weight = params[f"readout.{name}.weight"]
        linear = nn.Linear(*weight.shape, bias=False, dtype=torch.float64)
        linear.weight.data = weight.T
        is_last = name.endswith("_out")
        norm = nn.BatchNorm1d(weight.shape[1], affine=not is_last, dtype=torch.float64)
        modules += [linear, norm]
        if not is_last:
            norm.weight.data, norm.bias.data = (params[f"readout.norm_{name}.{part}"] for part in ("gain", "bias"))
            modules.append(nn.ReLU())
    return nn.Sequential(*modules)
