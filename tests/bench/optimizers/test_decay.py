"""What weight decay leaves alone, in models of ours: gains, biases and what methods add, for every optimizer."""

import dataclasses

import pytest
import torch

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Heads
from bench.methods.linear import ROLES
from bench.optimizers import OPTIMIZERS
from bench.optimizers.decay import Decaying, is_embedding, is_matrix
from bench.optimizers.layers import over_layers, stack_layers
from bench.training.lane import Lane, LaneProgram
from tests.repetitions import EACH_METHOD, one_of_each_kind
from tests.trials import language_trial, trial

DECAYING = [name for name, target in OPTIMIZERS.items() if issubclass(load_class(target), Decaying)]
WEIGHT_DECAY, LR, NUM_STEPS = 0.1, 0.05, 10
LANGUAGE = {"depth": 2, "has_biases": True, "norm_placement": "pre", "norm": "layer"}


def program_of(optimizer: str, method: str, decays: str = "matrices") -> LaneProgram:
    """Of a GPT with norms, biases, learned positions and a tied embedding."""
    one = language_trial(
        optimizer=optimizer, optimizer_params={"decays": decays}, method=method, workload_params=LANGUAGE
    )
    return LaneProgram.of(one)


def after(program: LaneProgram, start: Lane, grads: dict[str, torch.Tensor], weight_decay: float) -> dict:
    """Parameters after NUM_STEPS updates by the same gradients."""
    knobs = {"lr": LR, "warmup_steps": 0.0, "grad_clip": float("inf"), "weight_decay": weight_decay}
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}
    lane = start
    for step in range(NUM_STEPS):
        gradients = {"grads": grads, "loss": torch.ones(()), "buffers": lane["buffers"], "max_logits": []}
        lane, _, _ = program.update(lane, gradients, knobs, torch.tensor(step))  # pyright: ignore[reportArgumentType]
    return lane["params"]


def start_of(program: LaneProgram) -> Lane:
    return program.start(torch.tensor(1), torch.ones((), dtype=torch.float64))


def are_gains(name: str) -> bool:
    """By hand: gains and biases of norms and projections, and what sigma-reparam and QK-LayerNorm add."""
    return name.endswith((".gain", ".bias", ".gamma")) or ".method.gamma_" in name


@pytest.mark.parametrize("method", ["sigma_reparam", "qk_layernorm_free", "weight_norm", "qk_norm"])
@pytest.mark.parametrize("optimizer", one_of_each_kind(DECAYING, ["adamw"]))
def test_ten_steps_of_decay_leave_gains_biases_and_scalars_of_methods_as_without(optimizer, method):
    program = program_of(optimizer, method)
    start = start_of(program)
    grads = {name: (3 * p).cos() for name, p in start["params"].items()}
    decayed, plain = (after(program, start, grads, decay) for decay in (WEIGHT_DECAY, 0.0))
    same = {name for name in plain if torch.equal(decayed[name], plain[name])}
    expected = {name for name in plain if are_gains(name) or name.endswith("method.g")}
    assert same == expected
    assert {"embed.tokens", "embed.positions", "layers.1.query.weight"} <= plain.keys() - same


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lion", "schedule_free_adamw"])
@pytest.mark.parametrize(("decays", "kept"), [("matrices", 1.0), ("all", (1 - LR * WEIGHT_DECAY) ** NUM_STEPS)])
def test_gains_without_gradients_shrink_only_where_all_decays(optimizer, decays, kept):
    """Schedule-free's y is 0.9 of its average and 0.1 of z, which the decay of y moves."""
    program = program_of(optimizer, "qk_layernorm_free", decays)
    start = start_of(program)
    zeros = {name: torch.zeros_like(p) for name, p in start["params"].items()}
    found = after(program, start, zeros, WEIGHT_DECAY)
    gains = [name for name in found if name.endswith(".gain") or ".method." in name]
    tolerance = 0.03 if optimizer == "schedule_free_adamw" and decays == "all" else 1e-12
    for name in gains:
        torch.testing.assert_close(found[name], kept * start["params"][name], rtol=tolerance, atol=0)


def test_all_but_embeddings_leaves_tokens_and_positions_alone():
    program = program_of("adamw", "qk_layernorm_free", "all_but_embeddings")
    start = start_of(program)
    grads = {name: (3 * p).cos() for name, p in start["params"].items()}
    decayed, plain = (after(program, start, grads, decay) for decay in (WEIGHT_DECAY, 0.0))
    assert {name for name in plain if torch.equal(decayed[name], plain[name])} == {"embed.tokens", "embed.positions"}


def test_layers_of_patches_are_matrices_and_no_embeddings():
    patches = torch.zeros(12, 8)
    assert is_matrix("embed.patches.weight", patches)
    assert not is_embedding("embed.patches.weight")
    assert [is_embedding(name) for name in ("embed.tokens", "embed.class_token", "readout.weight")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("blocks.*.mix.w1", (4, 4), True),
        ("blocks.*.conv.weight", (4, 4, 3), True),
        ("blocks.*.mix.w1", (4,), False),
        ("blocks.*.method.table", (4, 4), False),
        ("blocks.*.mix.scale", (4, 4), False),
        ("upscale", (4, 4), True),
    ],
)
def test_models_of_ones_own_go_by_dimensions_and_names(name, shape, expected):
    assert is_matrix(name, torch.zeros(shape)) == expected


@pytest.mark.parametrize("method", EACH_METHOD)
def test_what_a_method_adds_is_no_matrix_whatever_its_shape(method):
    entry = load_class(METHODS[method])()
    added = {"method." + name for name in entry.init_params(Heads(num_heads=2, width=4, num_keys=8))}
    for role in (*ROLES, *entry.roles):
        params, _ = entry.linear(role).init(torch.eye(4), lambda _, shape: torch.ones(shape))
        added |= {f"{role}.{name}" for name in params.keys() - {"weight"}}
    assert not [name for name in added if is_matrix("layers.*." + name, torch.zeros(4, 4, 4))]


def test_layers_stacked_are_judged_one_by_one():
    """A gain of width 4 of two layers is stacked to (2, 4) and still is none of a matrix."""
    seen = {}

    def look(p, name):
        seen[name] = is_matrix(name, p)
        return p

    lane = start_of(program_of("adamw", "softmax"))
    layers = LaneProgram.of(language_trial(workload_params=LANGUAGE)).workload.layers
    for name, p in stack_layers(lane["params"], layers).items():
        over_layers(lambda p, name=name: look(p, name), name, p)
    assert {name for name, is_one in seen.items() if is_one} == {
        name for name in seen if name.endswith(".weight") or name.startswith("embed.")
    }


def test_old_trials_train_as_they_did():
    """Without the parameter: every tensor decayed then, and the id is that of a trial with `all`."""
    new = trial(optimizer="adamw", optimizer_params={"decays": "all"}, weight_decay=0.1)
    params = {name: value for name, value in new.optimizer.params.items() if name != "decays"}
    old = dataclasses.replace(new, optimizer=dataclasses.replace(new.optimizer, params=params))
    assert old.id == new.id == trial(optimizer="adamw", weight_decay=0.1).as_earlier.id
    assert old.id != trial(optimizer="adamw", weight_decay=0.1).id
    assert LaneProgram.of(old).optimizer == LaneProgram.of(new).optimizer
