"""A transformer equals PyTorch's own layers, sees no later token where it is causal, and no order without positions.

Shapes: B batch, T tokens, C channels, O outputs.
"""

import functools
from typing import Any

import pytest
import torch
from torch import nn

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.mask import Mask
from bench.methods.softmax import Softmax
from bench.models.attention import Mode, attend
from bench.models.dropout import Dropout
from bench.models.transformer import Transformer

BATCH, TOKENS, WIDTH, HEADS, LAYERS = 3, 7, 8, 2, 2
BASE: dict[str, Any] = {
    "num_layers": LAYERS,
    "num_tokens": TOKENS,
    "width": WIDTH,
    "num_heads": HEADS,
    "mlp_width": 12,
    "mlp": "gelu",
    "norm": "layer",
    "norm_placement": "pre",
    "norm_eps": 1e-5,
    "positions": "none",
    "has_biases": True,
    "initialisation": "fan_in",
    "is_causal": False,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "checkpointing": False,
}


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def started(**settings: Any) -> tuple[Transformer, dict[str, torch.Tensor]]:
    """A transformer and its parameters, biases and gains too away from where they start."""
    transformer = Transformer(**(BASE | settings))
    generator = torch.Generator().manual_seed(0)

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    params, _ = transformer.init(Softmax(), draw, torch.tensor(1.0, dtype=torch.float64))
    return transformer, {
        name: p + 0.3 * draw(name, p.shape) if name.endswith(("bias", "gain")) else p for name, p in params.items()
    }


def output(transformer: Transformer, params: dict[str, torch.Tensor], h_BTC: torch.Tensor) -> torch.Tensor:
    buffers = {"step": torch.tensor(0)}
    return transformer.forward(Softmax(), params, buffers, h_BTC, Mode(), Dropout(rate=0.0))[0]


def torch_layers(params: dict[str, torch.Tensor], *, is_pre: bool) -> nn.TransformerEncoder:
    """The same model of PyTorch's layers, which keep weights as (O, C) and query, key and value in one."""
    gelu = functools.partial(nn.functional.gelu, approximate="tanh")
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 12, dropout=0.0, activation=gelu, batch_first=True, norm_first=is_pre, dtype=torch.float64
    )
    model = nn.TransformerEncoder(
        layer, LAYERS, norm=nn.LayerNorm(WIDTH).double() if is_pre else None, enable_nested_tensor=False
    )
    state = {"norm.weight": params["norm.gain"], "norm.bias": params["norm.bias"]} if is_pre else {}
    for index in range(LAYERS):
        own = {n.removeprefix(f"layers.{index}."): p for n, p in params.items() if n.startswith(f"layers.{index}.")}
        roles = ("query", "key", "value")
        of_layer = {
            "self_attn.in_proj_weight": torch.cat([own[f"{role}.weight"].T for role in roles]),
            "self_attn.in_proj_bias": torch.cat([own[f"{role}.bias"] for role in roles]),
        }
        names = {"output": "self_attn.out_proj", "mlp_in": "linear1", "mlp_out": "linear2"}
        for ours, theirs in names.items():
            of_layer |= {f"{theirs}.weight": own[f"{ours}.weight"].T, f"{theirs}.bias": own[f"{ours}.bias"]}
        for ours, theirs in {"norm_attention": "norm1", "norm_mlp": "norm2"}.items():
            of_layer |= {f"{theirs}.weight": own[f"{ours}.gain"], f"{theirs}.bias": own[f"{ours}.bias"]}
        state |= {f"layers.{index}.{name}": tensor for name, tensor in of_layer.items()}
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("norm_placement", ["pre", "post"])
def test_equals_pytorchs_layers(norm_placement, is_causal):
    transformer, params = started(norm_placement=norm_placement, is_causal=is_causal)
    h_BTC = randn(1, BATCH, TOKENS, WIDTH)
    hidden_TT = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1) if is_causal else None
    expected = torch_layers(params, is_pre=norm_placement == "pre")(h_BTC, mask=hidden_TT)
    torch.testing.assert_close(output(transformer, params, h_BTC), expected, rtol=1e-11, atol=1e-13)


SHAPES = [
    {},
    {"positions": "rotary", "norm": "rms", "mlp": "swiglu", "has_biases": False},
    {"norm_placement": "post"},
    {"norm_placement": "deepnorm"},
    {"norm_placement": "peri"},
    {"norm_placement": "admin"},
    {"norm_placement": "none"},
]


@pytest.mark.parametrize("settings", SHAPES)
def test_a_causal_transformer_sees_no_later_token(settings):
    transformer, params = started(is_causal=True, **settings)
    h_BTC, changed = randn(1, BATCH, TOKENS, WIDTH), randn(2, BATCH, TOKENS, WIDTH)
    expected = output(transformer, params, h_BTC)
    for t in range(1, TOKENS):
        other = output(transformer, params, torch.cat([h_BTC[:, :t], changed[:, t:]], dim=1))
        torch.testing.assert_close(other[:, :t], expected[:, :t], rtol=1e-12, atol=1e-13)
        assert (other[:, t:] != expected[:, t:]).any()


@pytest.mark.parametrize("settings", SHAPES)
def test_a_causal_transformer_sees_every_earlier_token(settings):
    transformer, params = started(is_causal=True, **settings)
    h_TC = randn(1, TOKENS, WIDTH)
    jacobian_TCTC = torch.autograd.functional.jacobian(lambda h: output(transformer, params, h[None])[0], h_TC)
    is_seen_TT = (jacobian_TCTC.abs() > 1e-9).any(dim=3).any(dim=1)
    assert torch.equal(is_seen_TT, torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril())


@pytest.mark.parametrize("norm_placement", ["pre", "post", "none"])
def test_without_positions_and_order_permuted_tokens_give_permuted_outputs(norm_placement):
    transformer, params = started(norm_placement=norm_placement)
    h_BTC, order_T = randn(1, BATCH, TOKENS, WIDTH), torch.randperm(TOKENS, generator=torch.Generator().manual_seed(3))
    expected = output(transformer, params, h_BTC)[:, order_T]
    torch.testing.assert_close(output(transformer, params, h_BTC[:, order_T]), expected, rtol=1e-11, atol=1e-13)


def test_rotary_positions_tell_the_order():
    transformer, params = started(positions="rotary")
    h_BTC = randn(1, BATCH, TOKENS, WIDTH)
    difference = output(transformer, params, h_BTC.flip(1)) - output(transformer, params, h_BTC).flip(1)
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("norm_placement", "expected"),
    [
        (
            "pre",
            {"layers.0.norm_attention", "layers.0.norm_mlp", "layers.1.norm_attention", "layers.1.norm_mlp", "norm"},
        ),
        ("post", {"layers.0.norm_attention", "layers.0.norm_mlp", "layers.1.norm_attention", "layers.1.norm_mlp"}),
        ("none", set()),
    ],
)
def test_norms_are_where_they_are_said_to_be(norm_placement, expected):
    _, params = started(norm_placement=norm_placement)
    assert {name.removesuffix(".gain") for name in params if name.endswith(".gain")} == expected


def test_deepnorm_starts_smaller_and_weighs_its_shortcut():
    """Of values, outputs and MLPs, not of queries and keys. With weights of its own a block is norm(a x + f(x))."""
    (post, start), (deep, deep_start) = (started(norm_placement=name) for name in ("post", "deepnorm"))
    for name, p in start.items():
        is_scaled = name.endswith(".weight") and name.split(".")[2] in ("value", "output", "mlp_in", "mlp_out")
        factor = (8 * LAYERS) ** -0.25 if is_scaled else 1
        torch.testing.assert_close(deep_start[name], factor * p, rtol=1e-12, atol=0)
    assert deep.norms.shortcut == (2 * LAYERS) ** 0.25, (
        "(kM)^(1/4) of k sub-layers a block; a decoder's, of 3, is (3M)^(1/4)"
    )
    silent = {
        name: torch.zeros_like(p) if ".output." in name or ".mlp_out." in name else p for name, p in start.items()
    }
    h_BTC = randn(1, BATCH, TOKENS, WIDTH)
    torch.testing.assert_close(
        output(deep, silent, h_BTC), output(post, silent, deep.norms.shortcut * h_BTC), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("norm_placement", ["pre", "none"])
def test_a_block_that_adds_nothing_is_the_identity_up_to_the_last_norm(norm_placement):
    transformer, params = started(norm_placement=norm_placement)
    silent = {
        name: torch.zeros_like(p) if ".output." in name or ".mlp_out." in name else p for name, p in params.items()
    }
    h_BTC = randn(1, BATCH, TOKENS, WIDTH)
    expected = h_BTC
    if norm_placement == "pre":
        expected = nn.functional.layer_norm(h_BTC, (WIDTH,), params["norm.gain"], params["norm.bias"])
    torch.testing.assert_close(output(transformer, silent, h_BTC), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_norms_equal_pytorchs(norm):
    transformer, params = started(norm=norm)
    x_BTC, gain = randn(1, BATCH, TOKENS, WIDTH), params["norm.gain"]
    if norm == "layer":
        expected = nn.functional.layer_norm(x_BTC, (WIDTH,), gain, params["norm.bias"], eps=1e-5)
    else:
        assert "norm.bias" not in params
        expected = nn.functional.rms_norm(x_BTC, (WIDTH,), gain, eps=1e-5)
    torch.testing.assert_close(transformer.norms.in_front(params, "norm.", x_BTC), expected, rtol=1e-12, atol=1e-14)


def test_starting_weights_have_the_stated_spread():
    """With draws of 1 a weight is its standard deviation. Norms start at gain 1, biases at 0, at any init_scale."""

    def ones(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.ones(shape)

    def spread(initialisation: Any) -> dict[str, float]:
        transformer = Transformer(**(BASE | {"initialisation": initialisation}))
        params, _ = transformer.init(Softmax(), ones, torch.tensor(2.0))
        return {name: p.unique().item() for name, p in params.items() if name.startswith(("layers.1", "norm"))}

    reading = [f"layers.1.{role}.weight" for role in ("query", "key", "value", "mlp_in")]
    for initialisation, read, output_std, mlp_out_std in (
        ("gpt2", 0.02, 0.02 / 4**0.5, 0.02 / 4**0.5),
        ("fan_in", WIDTH**-0.5, WIDTH**-0.5, 12**-0.5),
    ):
        found = spread(initialisation)
        expected = dict.fromkeys(reading, 2 * read)
        expected |= {"layers.1.output.weight": 2 * output_std, "layers.1.mlp_out.weight": 2 * mlp_out_std}
        expected |= {name: 1.0 if name.endswith("gain") else 0.0 for name in found if not name.endswith("weight")}
        assert found == pytest.approx(expected, rel=1e-6)


SEED, STEP = torch.tensor(3), torch.tensor(7)


def test_dropout_acts_on_what_blocks_add_and_on_weights():
    """By streams of their own, each at its rate."""
    transformer, params = started(dropout=0.5, attention_dropout=0.25)
    seen: list[tuple[str, float]] = []

    class Recording(Dropout):
        def __call__(self, stream: str, x: torch.Tensor) -> torch.Tensor:
            seen.append((stream, self.rate))
            return x

    noise = Recording(seed=SEED, step=STEP)
    transformer.forward(Softmax(), params, {"step": STEP}, randn(1, BATCH, TOKENS, WIDTH), Mode(), noise)
    of_layer = [("weights", 0.25), ("attention", 0.5), ("mlp", 0.5)]
    assert seen == [(f"layers.{layer}.{name}", rate) for layer in range(LAYERS) for name, rate in of_layer]


@pytest.mark.parametrize("method", ["softmax", "relu_kernel", "soft_capping"])
def test_dropout_of_weights_is_pytorchs_with_our_mask(method):
    """PyTorch's own drops elements of P, and scales those that it keeps, before P V."""
    q, k, v = (randn(seed, BATCH, HEADS, 80, 4) for seed in range(3))  # long enough for a fused path
    mask = Mask.shared(torch.ones(80, 80, dtype=torch.bool), "full")
    noise = Dropout(rate=0.3, seed=SEED, step=STEP)
    built = load_class(METHODS[method])()
    state = {"step": STEP}

    def attended(dropout: Dropout | None) -> torch.Tensor:
        return attend(built, q, k, v, mask, state, Mode(), logit_scale=0.5, dropout=dropout, stream="weights")[0]

    kept = noise("weights", torch.ones(BATCH, HEADS, 80, 80, dtype=torch.float64))
    p_BHTT = built.weights(0.5 * q, k, mask.allowed_B1QK, state)
    torch.testing.assert_close(attended(noise), (p_BHTT * kept) @ v, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(attended(None), p_BHTT @ v, rtol=1e-10, atol=1e-12)
    assert torch.equal(attended(Dropout(rate=0.3)), attended(None))  # without a seed: an evaluation
    assert kept.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert (kept > 0).double().mean().item() == pytest.approx(0.7, abs=0.02)


def test_peri_norms_what_comes_in_and_what_is_added():
    """x + norm(f(norm(x))), and a norm behind the last block; with all gains 0 but the last nothing is added."""
    transformer, params = started(norm_placement="peri", num_layers=1, has_biases=False)
    h_BTC = randn(1, BATCH, TOKENS, WIDTH)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.layer_norm(x, (WIDTH,), eps=1e-5) * params[name + ".gain"]

    heads = [
        (norm("layers.0.norm_attention", h_BTC) @ params[f"layers.0.{role}.weight"]).unflatten(-1, (HEADS, -1))
        for role in ("query", "key", "value")
    ]
    q, k, v = (x.transpose(1, 2) for x in heads)
    attended = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    expected = h_BTC + norm("layers.0.norm_attention_added", attended @ params["layers.0.output.weight"])
    inner = norm("layers.0.norm_mlp", expected) @ params["layers.0.mlp_in.weight"]
    given = nn.functional.gelu(inner, approximate="tanh") @ params["layers.0.mlp_out.weight"]
    expected = norm("norm", expected + norm("layers.0.norm_mlp_added", given))
    torch.testing.assert_close(output(transformer, params, h_BTC), expected, rtol=1e-11, atol=1e-13)


def test_layer_dropout_leaves_out_whole_blocks_at_its_rate_in_training_alone():
    transformer, params = started(norm_placement="post", num_layers=1, layer_dropout=0.25)
    h_BTC = randn(1, BATCH, TOKENS, WIDTH)
    whole = output(transformer, params, h_BTC)

    def trained(step: int) -> torch.Tensor:
        dropout = Dropout(rate=0.0, seed=torch.tensor(0), step=torch.tensor(step))
        buffers = {"step": torch.tensor(step)}
        return transformer.forward(Softmax(), params, buffers, h_BTC, Mode(is_training=True), dropout)[0]

    outputs = [trained(step) for step in range(200)]
    dropped = [torch.equal(one, h_BTC) for one in outputs]
    assert all(torch.equal(one, whole) for one, is_out in zip(outputs, dropped, strict=True) if not is_out)
    assert 30 <= sum(dropped) <= 70  # of 200 draws, 50 +- 3.3 standard deviations
