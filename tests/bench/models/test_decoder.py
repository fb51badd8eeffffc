"""Decoders have the size that papers state, share what they tie, and refuse what does not fit."""

from typing import Any

import pytest
import torch

from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.decoder import PRESETS, Decoder, decoder
from bench.models.dropout import Dropout
from bench.randomness import normal

CONTEXT, VOCABULARY = 1024, 50257


def decoder_of(preset: str = "gpt_1m", **settings: Any) -> Decoder:
    common = {"vocabulary_size": VOCABULARY, "num_tokens": CONTEXT, "norm_eps": 1e-5}
    off = {"dropout": 0.0, "attention_dropout": 0.0, "checkpointing": False}
    return decoder(preset, **(common | off | settings))


SMALL = {"vocabulary_size": 11, "num_tokens": 6, "num_layers": 1, "width": 8, "num_heads": 2}


def started(model: Decoder, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return normal(torch.tensor(0), name, torch.tensor(0), shape).to(dtype)

    return model.init(Softmax(), draw, torch.tensor(1.0, dtype=dtype))[0]


def logits(model: Decoder, params: dict[str, torch.Tensor], tokens_BT: torch.Tensor) -> torch.Tensor:
    buffers = {"step": torch.tensor(0)}
    return model.forward(Softmax(), params, buffers, tokens_BT, Mode(), Dropout(rate=0.0))[0]


TOKENS = torch.arange(12).reshape(2, 6) % 11


def parameters_of(preset: str) -> dict[str, torch.Tensor]:
    """Tensors without memory."""

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    return decoder_of(preset).init(Softmax(), draw, torch.empty((), device="meta"))[0]


def num_parameters(params: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() for tensor in params.values())


def test_gpt2_has_the_published_number_of_parameters():
    """Radford et al. 2019's smallest model, as its released weights count."""
    assert num_parameters(parameters_of("gpt2_124m")) == 124_439_808


def gpt2_size(layers: int, width: int) -> int:
    """Weights and biases of query, key, value, output and an MLP four times as wide; norms; tied embeddings."""
    block = 12 * width**2 + (4 + 4 + 1) * width + 2 * 2 * width
    return layers * block + 2 * width + (VOCABULARY + CONTEXT) * width


def llama_size(layers: int, width: int, mlp_width: int) -> int:
    return layers * (4 * width**2 + 3 * width * mlp_width + 2 * width) + width + 2 * VOCABULARY * width


def wortsman_size(layers: int, width: int) -> int:
    return layers * (12 * width**2 + 2 * width) + width + 2 * VOCABULARY * width


SIZES = {
    "gpt_1m": gpt2_size(6, 128),
    "gpt_10m": gpt2_size(6, 384),
    "gpt2_124m": gpt2_size(12, 768),
    "wortsman_2m": wortsman_size(3, 256),
    "wortsman_10m": wortsman_size(3, 512),
    "llama_1m": llama_size(6, 128, 344),
    "llama_1b": llama_size(16, 2048, 8192),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_the_size_of_its_formula(preset):
    assert num_parameters(parameters_of(preset)) == SIZES[preset]


@pytest.mark.parametrize("preset", PRESETS)
def test_names_of_presets_tell_their_size(preset):
    """In millions within a fifth: GPT-2's with embeddings, the others' without."""
    stated = {"1m": 1, "2m": 2, "10m": 10, "124m": 124, "1b": 1000}[preset.rpartition("_")[2]]
    params = parameters_of(preset)
    counted = params if preset == "gpt2_124m" else {name: p for name, p in params.items() if "layers." in name}
    assert num_parameters(counted) / 1e6 == pytest.approx(stated, rel=0.2)


def test_tied_embeddings_are_one_tensor_with_the_gradients_of_both_uses():
    tied, untied = (decoder_of(ties_embeddings=ties, **SMALL) for ties in (True, False))
    params = started(tied)
    assert {name for name in params if name.startswith(("embed", "readout"))} == {"embed.tokens", "embed.positions"}
    both = params | {"readout.weight": params["embed.tokens"].T.clone()}
    assert both.keys() == started(untied).keys()
    torch.testing.assert_close(logits(tied, params, TOKENS), logits(untied, both, TOKENS), rtol=1e-13, atol=1e-15)

    def grads(model: Decoder, params: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return torch.func.grad(lambda params: logits(model, params, TOKENS).square().sum())(params)

    of_tied, of_both = grads(tied, params), grads(untied, both)
    expected = of_both["embed.tokens"] + of_both["readout.weight"].T
    torch.testing.assert_close(of_tied["embed.tokens"], expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("preset", PRESETS)
def test_logits_do_not_depend_on_later_tokens(preset):
    model = decoder_of(preset, **SMALL)
    params = started(model)
    changed = (TOKENS + (torch.arange(6) >= 4)) % 11
    seen, other = (logits(model, params, tokens) for tokens in (TOKENS, changed))
    assert seen.shape == (2, 6, 11)
    torch.testing.assert_close(seen[:, :4], other[:, :4], rtol=1e-12, atol=1e-14)
    assert (seen[:, 4:] != other[:, 4:]).any(dim=-1).all()


def test_positions_are_learned_only_where_asked_for():
    shapes = {
        positions: started(decoder_of(positions=positions, **SMALL)).get("embed.positions")
        for positions in ("learned", "rotary", "none")
    }
    assert shapes["learned"].shape == (6, 8)
    assert shapes["rotary"] is shapes["none"] is None


def test_the_mlp_follows_a_changed_width_unless_it_is_given():
    """In the preset's proportion: 4 for GPT-2, 344 / 128 for the small Llama."""
    widths = [
        decoder_of(preset, **(SMALL | settings)).transformer.mlp_width
        for preset, settings in (
            ("gpt_1m", {"width": 64}),
            ("llama_1m", {"width": 64}),
            ("llama_1m", {"width": 64, "mlp_width": 10}),
        )
    ]
    assert widths == [256, 172, 10]
    assert decoder_of("llama_1m").transformer.mlp_width == 344


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 10, "num_heads": 4}, "width must be a multiple of num_heads, got 10 and 4"),
        ({"width": 12, "num_heads": 4, "positions": "rotary"}, "rotary positions need heads of even width"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        decoder_of(**settings)
