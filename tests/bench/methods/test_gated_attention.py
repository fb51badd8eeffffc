"""Gated attention is softmax attention times a sigmoid of a projection of the layer's input."""

import torch

from bench.methods.gated_attention import GatedAttention
from bench.methods.linear import Draw
from bench.methods.mask import Mask
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.attention_only import AttentionOnly
from bench.models.decoder import decoder
from bench.models.dropout import Dropout
from tests.bench.methods.naive import FULL, queries_and_keys, randn

STEP = {"step": torch.tensor(0)}


def test_combine_multiplies_by_the_sigmoid():
    output, gate = queries_and_keys()
    torch.testing.assert_close(
        GatedAttention().combine(output, {"gate": gate}), output / (1 + (-gate).exp()), rtol=1e-14, atol=0
    )


def draws() -> Draw:
    """Normals that depend on the name, the same for both methods."""
    return lambda name, shape: randn(sum(map(ord, name)), *shape)


def test_a_layer_gives_plain_attention_times_the_gate():
    model = AttentionOnly(
        num_layers=1, num_tokens=7, width=4, residual=False, logit_scale=0.5, value_scale=1.0, initial_gain=1.0
    )
    x, one = randn(9, 2, 7, 4), torch.ones((), dtype=torch.float64)
    mask = Mask.shared(FULL, "full")
    params, _ = model.init(GatedAttention(), draws(), one)
    gated, _ = model.forward(GatedAttention(), params, STEP, x, mask, Mode())
    plain, _ = model.forward(Softmax(), params, STEP, x, mask, Mode())
    torch.testing.assert_close(gated, plain * (x @ params["layers.0.gate.weight"]).sigmoid(), rtol=1e-12, atol=0)


def test_closed_gates_halve_what_attention_adds_in_a_decoder():
    """With W_gate = 0 every gate is 1/2, as if the output projection were half."""
    model = decoder(
        "wortsman_2m",
        vocabulary_size=11,
        num_tokens=8,
        norm_eps=1e-5,
        dropout=0.0,
        attention_dropout=0.0,
        checkpointing=False,
        num_layers=1,
        width=8,
        num_heads=2,
    )
    params, _ = model.init(GatedAttention(), draws(), torch.ones((), dtype=torch.float64))
    params["layers.0.gate.weight"] = torch.zeros_like(params["layers.0.gate.weight"])
    tokens = torch.arange(16).reshape(2, 8) % 11
    gated, _ = model.forward(GatedAttention(), params, STEP, tokens, Mode(), Dropout(rate=0.0))
    params["layers.0.output.weight"] = params["layers.0.output.weight"] / 2
    plain, _ = model.forward(Softmax(), params, STEP, tokens, Mode(), Dropout(rate=0.0))
    torch.testing.assert_close(gated, plain, rtol=1e-5, atol=1e-6)
