"""Encoder-decoders: equal to Marian of Hugging Face transformers, blind to padding, neighbours and the future.

Shapes: B batch, W source tokens, U target tokens, V vocabulary.
"""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Method
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.dropout import Dropout
from bench.models.encoder_decoder import EncoderDecoder, deepnorm_constants, encoder_decoder
from bench.randomness import normal
from tests.repetitions import EACH_METHOD

V, W, U = 11, 7, 6
LENGTHS = [7, 3, 5]
NO_DROPOUT = Dropout(rate=0.0)


def network(**settings: Any) -> EncoderDecoder:
    fixed = {"norm_eps": 1e-5, "dropout": 0.0, "attention_dropout": 0.0, "layer_dropout": 0.0}
    sizes = {"width": 8, "num_heads": 2, "num_layers": 2, "source_tokens": W, "target_tokens": U}
    return encoder_decoder("vaswani_1m", vocabulary_size=V, **(fixed | sizes | settings))


def started(model: EncoderDecoder, method: Method | None = None):
    """Params and buffers in float64, biases and gains drawn too."""
    seed, step = torch.tensor(0), torch.tensor(0)

    def draw(name, shape):
        return normal(seed, name, step, shape).double()

    params, buffers = model.init(method or Softmax(), draw, torch.tensor(1.0, dtype=torch.float64))
    small = {name: 0.1 * draw(name, tuple(p.shape)) for name, p in params.items() if name.endswith((".bias", ".gain"))}
    params = params | {name: params[name] + noise for name, noise in small.items()}
    return params, buffers | {"step": torch.tensor(0)}


def batch():
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(3, V, (3, W), generator=generator)
    is_source = torch.arange(W) < torch.tensor(LENGTHS)[:, None]
    return torch.where(is_source, source, 0), is_source, torch.randint(3, V, (3, U), generator=generator)


def logits_of(model, method, params, buffers, source, is_source, target, mode=None):
    """(B, U, V), and what the mode watches."""
    mode = mode or Mode()
    buffers = model.refresh(method, params, buffers)
    memory, of_encoder = model.encode(method, params, buffers, source, is_source, mode, NO_DROPOUT)
    is_target = torch.ones_like(target, dtype=torch.bool)
    h, of_decoder = model.decode(method, params, buffers, target, is_target, (memory, is_source), mode, NO_DROPOUT)
    return model.logits(method, params, buffers, h), [*of_encoder, *of_decoder]


def method_named(name: str) -> Method:
    return load_class(METHODS[name])()


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    """The library, which must not look for anything on the network."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setenv(name, "1")
        import transformers
    return transformers


def marian(transformers: ModuleType, model: EncoderDecoder, params: dict[str, torch.Tensor]) -> nn.Module:
    """Their Marian with our weights, which it keeps as (outputs, inputs)."""
    encoder, sizes = model.encoder, {}
    for side in ("encoder", "decoder"):
        sizes[f"{side}_layers"] = encoder.num_layers
        sizes[f"{side}_attention_heads"] = encoder.num_heads
        sizes[f"{side}_ffn_dim"] = encoder.mlp_width
    config = transformers.MarianConfig(
        vocab_size=V,
        d_model=encoder.width,
        activation_function="relu",
        max_position_embeddings=W,
        scale_embedding=True,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=1,
        dropout=0.0,
        attn_implementation="eager",
        **sizes,
    )
    theirs = transformers.MarianMTModel(config).to(torch.float64).eval()
    state = {f"model.{side}.embed_tokens.weight": params["embed.tokens"] for side in ("encoder", "decoder")}
    state |= {"model.shared.weight": params["embed.tokens"], "lm_head.weight": params["embed.tokens"]}
    projections = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
    for layer in model.layers:
        at = f"model.{layer.stack.replace('cross', 'decoder')}.layers.{layer.index}."
        attention = "encoder_attn" if layer.stack == "cross" else "self_attn"
        names = {role: f"{attention}.{name}" for role, name in projections.items()}
        names |= {"norm_attention": f"{attention}_layer_norm", "norm_mlp": "final_layer_norm"}
        names |= {"mlp_in": "fc1", "mlp_out": "fc2"}
        for name, p in params.items():
            part, _, kind = name.removeprefix(layer.prefix).rpartition(".")
            if name.startswith(layer.prefix):
                state[f"{at}{names[part]}.{'bias' if kind == 'bias' else 'weight'}"] = p.mT if p.ndim == 2 else p
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert {name.rsplit(".", 1)[-1] for name in missing} <= {"final_logits_bias"} | {"weight"}
    assert all("embed_positions" in name or "final_logits_bias" in name for name in missing)
    return theirs


@pytest.mark.whole
def test_it_is_marian_of_transformers(transformers):
    model = network()
    params, buffers = started(model)
    source, is_source, target = batch()
    theirs = marian(transformers, model, params)
    with torch.no_grad():
        expected = theirs(input_ids=source, attention_mask=is_source, decoder_input_ids=target).logits
    ours, _ = logits_of(model, Softmax(), params, buffers, source, is_source, target)
    # Their positions are in float32, and float32 again where ours are added.
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EACH_METHOD)
def test_an_example_depends_on_neither_its_padding_nor_its_neighbours(name):
    model, method = network(num_layers=1), method_named(name)
    params, buffers = started(model, method)
    source, is_source, target = batch()
    together, _ = logits_of(model, method, params, buffers, source, is_source, target)
    for row, length in enumerate(LENGTHS):
        own = source[row : row + 1, :length]
        is_own = torch.ones_like(own, dtype=torch.bool)
        alone, _ = logits_of(model, method, params, buffers, own, is_own, target[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("placement", ["pre", "post", "peri", "deepnorm", "none"])
def test_a_token_sees_no_later_token(placement):
    model = network(norm_placement=placement)
    params, buffers = started(model)
    source, is_source, target = batch()
    changed = torch.cat([target[:, :3], (target[:, 3:] + 1) % V], dim=1)
    one, other = (logits_of(model, Softmax(), params, buffers, source, is_source, t)[0] for t in (target, changed))
    torch.testing.assert_close(one[:, :3], other[:, :3], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(one[:, 3:], other[:, 3:])


def test_every_layer_is_watched_in_the_order_of_layers():
    model = network()
    params, buffers = started(model)
    mode = Mode(keeps_weights=True)
    _, watched = logits_of(model, Softmax(), params, buffers, *batch(), mode)
    shapes = {"encoder": (3, 2, W, W), "decoder": (3, 2, U, U), "cross": (3, 2, U, W)}
    assert [tuple(p.shape) for p in watched] == [shapes[layer.stack] for layer in model.layers]
    assert [layer.prefix for layer in model.layers] == [
        *("encoder.0.", "encoder.1.", "decoder.0.", "decoder.1.", "cross.0.", "cross.1.")
    ]
    is_source = batch()[1]
    assert not watched[-1].masked_select(~is_source[:, None, None, :]).any()


def test_a_window_is_softmax_in_cross_attention():
    model, window = network(num_layers=1), load_class(METHODS["window_softmax"])(width=1)
    params, buffers = started(model)
    watched = [
        logits_of(model, method, params, buffers, *batch(), Mode(keeps_weights=True))[1]
        for method in (window, Softmax())
    ]
    is_source = batch()[1]
    assert ((watched[0][-1] > 0) == is_source[:, None, None, :]).all()
    assert not torch.allclose(watched[0][1], watched[1][1])


def test_tied_queries_and_keys_project_the_memory_by_the_querys_weights():
    model, method = network(num_layers=1), method_named("l2_attention")
    params, buffers = started(model, method)
    assert "cross.0.key.weight" not in params
    _, (*_, cross) = logits_of(model, method, params, buffers, *batch(), Mode(keeps_weights=True))
    assert cross.shape == (3, 2, U, W)
    assert not torch.allclose(cross[..., 0], cross[..., 1])


def test_deepnorms_constants_are_the_papers_and_the_codes():
    """Of 6 and 6 layers, by hand: (6^5)^(1/16) = 1.7505."""
    size = 6 ** (5 / 16)
    (alpha, beta), of_decoder = deepnorm_constants(6, 6, code=False)
    assert (alpha, beta) == pytest.approx((0.81 * size, 0.87 / size), rel=1e-12)
    assert of_decoder == pytest.approx((18**0.25, 72**-0.25), rel=1e-12)
    assert deepnorm_constants(6, 6, code=True)[0] == pytest.approx((0.81 * size, 1.15 / size), rel=1e-12)


@pytest.mark.parametrize(("placement", "factor"), [("deepnorm", 0.87), ("deepnorm_torchscale", 1.15)])
def test_deepnorm_scales_values_outputs_and_mlps_of_each_side(placement, factor):
    plain, scaled = (started(network(norm_placement=p))[0] for p in ("post", placement))
    of_encoder, of_decoder = factor / 2 ** (5 / 16), 24**-0.25
    for name, p in plain.items():
        part = name.split(".")[-2]
        is_scaled = name.endswith(".weight") and part in ("value", "output", "mlp_in", "mlp_out")
        expected = (of_encoder if name.startswith("encoder.") else of_decoder) if is_scaled else 1.0
        torch.testing.assert_close(scaled[name], p * expected)


@pytest.mark.whole
def test_a_hundred_layers_a_side_are_finite():
    model = network(num_layers=100, norm_placement="deepnorm")
    torch.manual_seed(0)
    params, buffers = model.init(Softmax(), lambda name, shape: torch.randn(shape), torch.tensor(1.0))
    found, _ = logits_of(model, Softmax(), params, buffers | {"step": torch.tensor(0)}, *batch())
    assert found.isfinite().all()
    assert len(model.layers) == 300


def test_embeddings_are_one_matrix_or_three():
    tied, apart = (started(network(ties_embeddings=ties))[0] for ties in (True, False))
    assert "embed.tokens" in tied
    assert "readout.weight" not in tied
    assert {"embed.source", "embed.target", "readout.weight"} <= apart.keys()
