"""Admin's omegas are those worked out by hand, of every model, and the start of every lane alone.

Shapes: B batch, T tokens, C channels.
"""

import dataclasses
import math

import pytest
import torch
from torch.nn.functional import layer_norm

from bench.interventions import INTERVENTIONS
from bench.methods.softmax import Softmax
from bench.models.admin import Profile
from bench.models.attention import Mode
from bench.models.dropout import Dropout
from bench.optimizers.decay import is_matrix
from bench.roles import role_of
from bench.training.pack import Pack
from bench.training.train import PackRun
from tests.bench.models import test_encoder_decoder as two_stacks
from tests.bench.models import test_transformer as one_stack
from tests.repetitions import one_of_each_kind
from tests.trials import choice, trial

SETTINGS = {"norm_placement": "admin", "num_steps": 4, "final_loss_steps": 1}
SIZES = {
    "translation": {"depth": 2, "width": 16, "batch_size": 4, "digits": 4, "dropout": 0.1},
    "image_classification": {"depth": 2, "width": 16, "batch_size": 8},
    "speech_recognition": {"model": "ctc_100k", "num_words": 1, "batch_size": 2, "eval_utterances": 2},
    "self_supervised_images": {
        "objective": "moco_v3", "depth": 1, "width": 16, "batch_size": 8, "bank_size": 20, "num_queries": 10
    },
    "language_modeling": {"checkpointing": True, "num_micro_batches": 2},
}  # fmt: skip


def omegas(tensors, prefix=""):
    """By name, in order; every channel of one is alike."""
    found = {n.removeprefix(prefix): p for n, p in tensors.items() if n.startswith(prefix) and n.endswith(".omega")}
    assert all((p == p[..., :1]).all() for p in found.values())
    return {name: p[..., 0].clone() for name, p in found.items()}


def started(workload, *seeds, method="softmax", lr=1e-3, optimizer="adam", **settings):
    params = SETTINGS | SIZES[workload] | settings
    trials = (
        trial(workload=workload, workload_params=params, method=method, optimizer=optimizer, seed=seed, lr=lr)
        for seed in seeds
    )
    return PackRun(Pack(trials=tuple(trials)))


def test_omegas_are_those_worked_out_by_hand():
    """Tokens of variance 1, branches that add variances of 4 and 9, to a stream that is normalised between them."""
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0]).expand(2, 3, 4)
    profile = Profile()
    found = [profile.omega(name, signs, size * signs, None) for name, size in (("a", 2), ("b", 3), ("c", 1))]
    assert [each.tolist() for each in found] == [pytest.approx([math.sqrt(n)] * 4) for n in (1, 1 + 4, 1 + 4 + 9)]
    assert list(profile.omegas) == ["a", "b", "c"]
    profile.begin()
    assert profile.omega("d", signs, signs, None).tolist() == [1] * 4


def test_a_stream_of_another_variance_counts_as_it_is():
    """As the first branch's, which reads embeddings: 1 * 0.25 + 2.25; a mean of all numbers is no variance."""
    signs, profile = torch.tensor([1.0, -1.0]).expand(1, 2, 2), Profile()
    profile.omega("a", 0.5 * signs, 1.5 * signs + 7, None)
    assert profile.omega("b", signs, signs, None).tolist() == pytest.approx([math.sqrt(2.5)] * 2)


def test_rows_of_padding_do_not_count():
    h, y = (one_stack.randn(seed, 3, 5, 8) for seed in (0, 1))
    is_token = torch.arange(5) < torch.tensor([[5], [1], [3]])
    profile, alone = Profile(), Profile()
    for each, rows, mask in ((profile, (h, y), is_token), (alone, (h[is_token][None], y[is_token][None]), None)):
        each.omega("a", *rows, mask)
    left = [each.omega("b", h, y, None) for each in (profile, alone)]
    torch.testing.assert_close(*left, rtol=1e-12, atol=0)


def test_a_transformers_are_those_of_a_loop():
    transformer, params = one_stack.started(norm_placement="admin", mlp="relu", has_biases=False, num_heads=1)
    x = h = one_stack.randn(1, 3, 7, 8)
    expected, gathered = {}, torch.tensor(1.0, dtype=torch.float64)
    for index in range(one_stack.LAYERS):
        own = {n.removeprefix(f"layers.{index}."): p for n, p in params.items() if n.startswith(f"layers.{index}.")}
        for branch in ("attention", "mlp"):
            if branch == "attention":
                q, k, v = (h @ own[f"{role}.weight"] for role in ("query", "key", "value"))
                y = (q @ k.mT / math.sqrt(8)).softmax(-1) @ v @ own["output.weight"]
            else:
                y = torch.relu(h @ own["mlp_in.weight"]) @ own["mlp_out.weight"]
            omega = expected[f"layers.{index}.norm_{branch}.omega"] = gathered.sqrt()
            gathered = (omega * h).var(correction=0) + y.var(correction=0)
            h = layer_norm(omega * h + y, (8,), own[f"norm_{branch}.gain"], eps=1e-5)
    profile = Profile()
    seen, _ = transformer.forward(
        Softmax(), params, {"step": torch.tensor(0)}, x, Mode(profile=profile), Dropout(rate=0.0)
    )
    torch.testing.assert_close(omegas(profile.omegas), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(seen, h, rtol=1e-11, atol=1e-13)
    adapted = params | profile.omegas  # the pass was one of the model that starts
    torch.testing.assert_close(one_stack.output(transformer, adapted, x), h, rtol=1e-11, atol=1e-13)


def test_both_stacks_begin_at_1_and_go_through_attention_cross_attention_and_mlp():
    model = two_stacks.network(norm_placement="admin")
    params, buffers = two_stacks.started(model)
    profile = Profile()
    seen, _ = two_stacks.logits_of(model, Softmax(), params, buffers, *two_stacks.batch(), mode=Mode(profile=profile))
    found = {name.removesuffix(".omega"): value.item() for name, value in omegas(profile.omegas).items()}
    branches = ("norm_attention", "norm_mlp")
    order = {
        "encoder": [f"encoder.{index}.{branch}" for index in range(2) for branch in branches],
        "decoder": [
            name
            for index in range(2)
            for name in (
                f"decoder.{index}.norm_attention",
                f"cross.{index}.norm_attention",
                f"decoder.{index}.norm_mlp",
            )
        ],
    }
    assert list(found) == [*order["encoder"], *order["decoder"]]
    for names in order.values():
        values = [found[name] for name in names]
        assert values[0] == 1
        assert values == sorted(set(values))
    again, _ = two_stacks.logits_of(model, Softmax(), params | profile.omegas, buffers, *two_stacks.batch())
    torch.testing.assert_close(again, seen, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("workload", one_of_each_kind(SIZES, {"language_modeling", "translation"}))
def test_every_model_starts_from_its_first_batch(workload):
    seeds = (0,) if workload == "language_modeling" else (0, 1)  # checkpointing trains one lane
    run = started(workload, *seeds)
    starts = omegas(run._lanes["params"])
    last = list(starts.values())[-1]
    assert (last != 1).all()
    assert len(set(last.tolist())) == len(seeds)
    averaged = omegas(run._lanes["buffers"], "momentum.")
    assert bool(averaged) == (workload == "self_supervised_images")
    assert all(torch.equal(value, starts[name]) for name, value in averaged.items())
    alone = omegas(started(workload, seeds[-1])._lanes["params"])
    torch.testing.assert_close({n: v[0] for n, v in alone.items()}, {n: v[-1] for n, v in starts.items()})
    run.advance(max_steps=2)
    assert not any(torch.equal(p[..., 0], starts[n]) for n, p in run._lanes["params"].items() if n in starts)


def test_what_intervenes_from_the_first_step_on_leaves_the_start_alone():
    (one,) = started("image_classification", 0).pack.trials
    clamp = choice(INTERVENTIONS, "logit_clamp", limit=1e-3)
    twins = PackRun(Pack(trials=(one, dataclasses.replace(one, intervention=clamp))))
    for twin, intervened in omegas(twins._lanes["params"]).values():
        assert twin == intervened


def test_omegas_are_a_norms_and_do_not_decay():
    assert role_of("layers.0.norm_mlp.omega") == "norm"
    assert not is_matrix("layers.0.norm_mlp.omega", torch.ones(8))
