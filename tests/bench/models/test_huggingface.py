"""GPT-2 and Llama train as those of Hugging Face transformers do: same weights, logits, loss and curve of losses.

Shapes: B batch, T tokens, V vocabulary.
"""

import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import nn

from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.dropout import Dropout
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Trial
from bench.workloads.language_modeling import LanguageModeling
from tests.decay_groups import decay_groups
from tests.trials import language_trial

NUM_STEPS, WARMUP_STEPS = 20, 4
SETTINGS = {
    "gpt2": {"model": "gpt_1m", "depth": 2, "width": 16, "context": 12},
    "llama": {"model": "llama_1m", "depth": 2, "width": 16, "context": 12, "num_micro_batches": 2},
}
Params = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    """The library, which must not look for anything on the network."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setenv(name, "1")
        import transformers
    return transformers


def gpt2(transformers: ModuleType, workload: LanguageModeling, params: Params) -> nn.Module:
    """Their GPT-2 with our weights; its layers too keep them as (inputs, outputs)."""
    ours = workload.network.transformer
    config = transformers.GPT2Config(
        vocab_size=workload.network.vocabulary_size,
        n_positions=ours.num_tokens,
        n_embd=ours.width,
        n_layer=ours.num_layers,
        n_head=ours.num_heads,
        n_inner=ours.mlp_width,
        activation_function="gelu_new",
        layer_norm_epsilon=1e-5,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), None),
        attn_implementation="eager",
    )
    state = {"wte.weight": params["embed.tokens"], "wpe.weight": params["embed.positions"]}
    state |= {f"ln_f.{theirs}": params[f"norm.{name}"] for theirs, name in (("weight", "gain"), ("bias", "bias"))}
    for layer in range(ours.num_layers):
        own = {name.removeprefix(f"layers.{layer}."): p for name, p in params.items()}
        at = f"h.{layer}."
        for part in ("weight", "bias"):
            joined = torch.cat([own[f"{role}.{part}"] for role in ("query", "key", "value")], dim=-1)
            state[f"{at}attn.c_attn.{part}"] = joined
            for theirs, role in (("attn.c_proj", "output"), ("mlp.c_fc", "mlp_in"), ("mlp.c_proj", "mlp_out")):
                state[f"{at}{theirs}.{part}"] = own[f"{role}.{part}"]
            for theirs, norm in (("ln_1", "norm_attention"), ("ln_2", "norm_mlp")):
                state[f"{at}{theirs}.{part}"] = own[f"{norm}.{'gain' if part == 'weight' else 'bias'}"]
    model = transformers.GPT2LMHeadModel(config).to(params["embed.tokens"].dtype)
    model.transformer.load_state_dict(state)
    assert model.lm_head.weight is model.transformer.wte.weight
    return model


def llama(transformers: ModuleType, workload: LanguageModeling, params: Params) -> nn.Module:
    """Their Llama with our weights, which its layers keep as (outputs, inputs)."""
    ours = workload.network.transformer
    config = transformers.LlamaConfig(
        vocab_size=workload.network.vocabulary_size,
        max_position_embeddings=ours.num_tokens,
        hidden_size=ours.width,
        intermediate_size=ours.mlp_width,
        num_hidden_layers=ours.num_layers,
        num_attention_heads=ours.num_heads,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        **dict.fromkeys(("bos_token_id", "eos_token_id"), None),
        attn_implementation="sdpa",  # its eager attention computes softmax in float32
    )
    names = {
        "self_attn.q_proj": "query",
        "self_attn.k_proj": "key",
        "self_attn.v_proj": "value",
        "self_attn.o_proj": "output",
        "mlp.up_proj": "mlp_in",
        "mlp.gate_proj": "mlp_gate",
        "mlp.down_proj": "mlp_out",
    }
    norms = {"input_layernorm": "norm_attention", "post_attention_layernorm": "norm_mlp"}
    state = {"model.embed_tokens.weight": params["embed.tokens"], "model.norm.weight": params["norm.gain"]}
    state["lm_head.weight"] = params["readout.weight"].T
    for layer in range(ours.num_layers):
        at = f"model.layers.{layer}."
        state |= {f"{at}{theirs}.weight": params[f"layers.{layer}.{role}.weight"].T for theirs, role in names.items()}
        state |= {f"{at}{theirs}.weight": params[f"layers.{layer}.{norm}.gain"] for theirs, norm in norms.items()}
    model = transformers.LlamaForCausalLM(config).to(params["embed.tokens"].dtype)
    model.load_state_dict(state)
    return model


def with_exact_norms(model: nn.Module) -> nn.Module:
    """With PyTorch's RMSNorm: theirs computes in float32 whatever the dtype."""
    for name, module in list(model.named_modules()):
        if type(module).__name__ == "LlamaRMSNorm":
            norm = nn.RMSNorm(len(module.weight), eps=1e-5, dtype=module.weight.dtype)
            norm.load_state_dict(module.state_dict())
            model.set_submodule(name, norm)
    return model


MODELS: dict[str, Callable[[ModuleType, LanguageModeling, Params], nn.Module]] = {"gpt2": gpt2, "llama": llama}


def trial_of(kind: str) -> Trial:
    return language_trial(
        workload_params=SETTINGS[kind] | {"num_steps": NUM_STEPS, "initialisation": "fan_in"},
        schedule="cosine",
        warmup_steps=WARMUP_STEPS,
        lr=0.02,
        weight_decay=0.1,
        grad_clip=1.2,
        seed=3,
    )


def batch_at(workload: LanguageModeling, step: int) -> torch.Tensor:
    return workload.batches(torch.tensor([3]), torch.tensor([step]))["tokens"][0, 0]


def loss_of(model: nn.Module, tokens_BT: torch.Tensor) -> torch.Tensor:
    """Of PyTorch's cross entropy: theirs computes in float32."""
    logits_BTV = model(tokens_BT[:, :-1]).logits
    return nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())


def params_of(run: PackRun) -> Params:
    return {name: tensor[0] for name, tensor in run.state()["lanes"]["params"].items()}


def train(model: nn.Module, one: Trial, workload: LanguageModeling) -> tuple[list[float], list[float]]:
    """Losses and gradient norms, by torch.optim.AdamW in two groups, warmup and half a cosine."""
    knobs = one.knobs
    optimizer = torch.optim.AdamW(decay_groups(model, knobs.weight_decay), lr=knobs.lr)
    losses, norms = [], []
    for step in range(NUM_STEPS):
        progress = max(0.0, (step - WARMUP_STEPS) / (NUM_STEPS - WARMUP_STEPS))
        factor = min(1.0, (step + 1) / WARMUP_STEPS) * (1 + math.cos(math.pi * progress)) / 2
        for group in optimizer.param_groups:
            group["lr"] = knobs.lr * factor
        loss = loss_of(model, batch_at(workload, step))
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), knobs.grad_clip).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def logits_of(workload: LanguageModeling, params: Params, tokens_BT: torch.Tensor) -> torch.Tensor:
    buffers = {"step": torch.tensor(0)}
    return workload.network.forward(Softmax(), params, buffers, tokens_BT[:, :-1], Mode(), Dropout(rate=0.0))[0]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_equal_theirs(transformers, kind, dtype):
    """To 1e-5: their Llama normalises and turns in float32 whatever the dtype."""
    run = PackRun(Pack(trials=(trial_of(kind),)), dtype=dtype)
    workload, params = run.program.workload, params_of(run)
    model, tokens_BT = MODELS[kind](transformers, workload, params), batch_at(workload, 0)
    with torch.no_grad():
        expected = model(tokens_BT[:, :-1]).logits
    assert expected.dtype == getattr(torch, dtype)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits_of(workload, params, tokens_BT), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "rtol"), [("gpt2", 1e-10), pytest.param("llama", 1e-6, marks=pytest.mark.slow)])
def test_training_equals_theirs(transformers, kind, rtol):
    """Losses, gradient norms and the trained model's logits, in float64; Llama's angles are float32 in both."""
    one = trial_of(kind)
    run = PackRun(Pack(trials=(one,)), dtype="float64")
    workload = run.program.workload
    model = with_exact_norms(MODELS[kind](transformers, workload, params_of(run)))
    run.advance()
    losses, norms = train(model, one, workload)
    history = run.state()["history"]
    assert history["loss"][:, 0].tolist() == pytest.approx(losses, rel=rtol)
    assert history["grad_norm"][:, 0].tolist() == pytest.approx(norms, rel=10 * rtol)
    assert losses[-1] < losses[0] - 0.5
    assert min(norms) < one.knobs.grad_clip < max(norms)  # clipping acts, and not always
    tokens_BT = batch_at(workload, NUM_STEPS)
    with torch.no_grad():
        expected = model(tokens_BT[:, :-1]).logits
    torch.testing.assert_close(logits_of(workload, params_of(run), tokens_BT), expected, rtol=10 * rtol, atol=10 * rtol)
