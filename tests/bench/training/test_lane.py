"""One lane: every knob acts, clipping is PyTorch's, and a lane that diverges stays as it was."""

import dataclasses
import math
from dataclasses import dataclass

import pytest
import torch
from torch.utils import _pytree as pytree

from bench.methods.qk_layernorm import QKLayerNormFree
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.optimizers.sgd import SGD
from bench.probes import build_probes
from bench.probes.base import measured_by
from bench.training.compile import cost, trace
from bench.training.lane import LaneProgram
from bench.trial import KNOB_NAMES, Trial
from tests.repetitions import EACH_METHOD
from tests.trials import trial

PROBES = build_probes(None)

SEED = torch.tensor(1)
DTYPE = torch.float64


def scalars(trial: Trial) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, dtype=DTYPE) for name, value in dataclasses.asdict(trial.knobs).items()}


def batch_at(program: LaneProgram, step: int, seed: torch.Tensor = SEED) -> dict[str, torch.Tensor]:
    batches = program.workload.batches(seed[None], torch.tensor([step]))
    return {name: tensor[0, 0].to(DTYPE) for name, tensor in batches.items()}


def counters(step: int) -> dict[str, torch.Tensor]:
    """Buffers that a step adds."""
    return {"step": torch.tensor(step), "seed": SEED, "draw": torch.tensor(step)}


def start(trial: Trial) -> tuple[LaneProgram, dict, dict]:
    program, knobs = LaneProgram.of(trial), scalars(trial)
    return program, program.start(SEED, knobs["init_scale"]), knobs


def trained(trial: Trial, num_steps: int = 3) -> tuple[dict, list, list]:
    program, lane, knobs = start(trial)
    losses, norms = [], []
    for step in range(num_steps):
        lane, loss, norm = program.train(lane, batch_at(program, step), knobs, torch.tensor(step))
        losses.append(loss)
        norms.append(norm)
    return lane, losses, norms


def same(one, other) -> bool:
    leaves = zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True)
    return all(torch.equal(a, b) for a, b in leaves)


@dataclass(frozen=True, kw_only=True)
class OtherFastPath(Softmax):
    """A fast path that computes something else, so that who takes it is seen."""

    def attend(self, q_BHQD, k_BHKD, v_BHKD, mask, state):
        return 2 * super().attend(q_BHQD, k_BHKD, v_BHKD, mask, state)


def test_the_reference_is_trained_without_a_fast_path():
    program, lane, _ = start(trial())
    batch, zero = batch_at(program, 0), torch.tensor(0)
    losses = {
        (method, is_reference): dataclasses.replace(program, method=method, is_reference=is_reference).gradients(
            lane, batch, zero, zero
        )["loss"]
        for method in (Softmax(), OtherFastPath())
        for is_reference in (False, True)
    }
    assert losses[OtherFastPath(), True] == losses[Softmax(), True]
    assert losses[OtherFastPath(), False] != losses[OtherFastPath(), True]


@pytest.mark.parametrize("knob", KNOB_NAMES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_knob_changes_training(knob, optimizer):
    # Adam does not feel a constant factor on the gradient: clip some of the steps alone.
    grad_clip = float(torch.stack(trained(trial(optimizer=optimizer))[2]).median())
    others = {"lr": 0.2, "warmup_steps": 2, "weight_decay": 0.1, "grad_clip": grad_clip, "init_scale": 2}
    base = trained(trial(optimizer=optimizer))[0]
    assert not same(base["params"], trained(trial(optimizer=optimizer, **{knob: others[knob]}))[0]["params"])


def test_no_clipping_equals_a_bound_that_is_never_reached():
    assert same(trained(trial())[0], trained(trial(grad_clip=1e30))[0])


@pytest.mark.parametrize("method", EACH_METHOD)
@pytest.mark.parametrize("grad_clip", [1e-3, 0.5, 1e6])
def test_clipping_equals_pytorchs(method, grad_clip):
    """One step of SGD with lr 1 is minus the clipped gradient, where the method limits nothing itself."""
    free = {"qk_layernorm_weight_clipped": {"max_gamma": 1e9}, "qk_layernorm_gradient_clipped": {"max_grad_norm": 1e9}}
    settings = {"method": method, "lr": 1, "init_scale": 5}
    if method in free:
        settings["method_params"] = free[method]
    program, lane, knobs = start(trial(**settings, grad_clip=grad_clip))
    batch = batch_at(program, 0)
    after, _, norm = program.train(lane, batch, knobs, torch.tensor(0))
    params = {name: torch.nn.Parameter(p.clone()) for name, p in lane["params"].items()}
    buffers = program.workload.refresh(program.method, lane["params"], lane["buffers"]) | counters(0)
    objective = program.workload.loss(program.method, params, buffers, batch, Mode(is_training=True)).objective
    program.method.scale_loss(objective, torch.tensor(0)).backward()
    expected_norm = torch.nn.utils.clip_grad_norm_(params.values(), grad_clip)
    torch.testing.assert_close(norm, expected_norm, rtol=1e-10, atol=0)
    for name, parameter in params.items():
        step = lane["params"][name] - after["params"][name]
        torch.testing.assert_close(step, parameter.grad, rtol=1e-8, atol=1e-12)


def test_grad_norm_is_measured_before_clipping():
    assert trained(trial(), 1)[2] == trained(trial(grad_clip=1e-3), 1)[2]


def test_init_scale_scales_the_initial_weights():
    lanes = [start(trial(method="qk_layernorm_free", init_scale=scale))[1]["params"] for scale in (1, 3)]
    for name, tensor in lanes[0].items():
        factor = 1 if ".method." in name else 3
        torch.testing.assert_close(lanes[1][name], factor * tensor, rtol=1e-14, atol=0)


def test_initial_weights_have_the_stated_spread():
    """N(0, (init_scale initial_gain)^2 / width): 10,000 draws, four standard errors."""
    params = {"dimension": 99, "initial_gain": 0.3, "batch_size": 1}
    weights = start(trial(init_scale=2, workload_params=params))[1]["params"]["layers.0.query.weight"]
    assert weights.shape == (100, 100)
    assert weights.std().item() == pytest.approx(0.06, rel=4 / 20_000**0.5)
    assert weights.mean().item() == pytest.approx(0, abs=4 * 0.06 / 100)


def test_evaluation_and_observation_see_what_the_next_step_sees():
    """Also where buffers move at every step."""
    program, lane, knobs = start(trial(method="sigma_reparam_qk", init_scale=5))
    for step in range(3):
        batch, now = batch_at(program, step), torch.tensor(step)
        measured, observed = (
            program.evaluate(lane, batch, now)["loss"],
            program.observe(lane, batch, now, probes=PROBES),
        )
        seen = program.gradients(lane, batch, now, torch.tensor(0))
        buffers = seen["buffers"] | counters(step)
        of_step = program.workload.loss(program.method, lane["params"], buffers, batch, Mode(probes=PROBES))
        assert not same(seen["buffers"], lane["buffers"])
        lane, loss, _ = program.train(lane, batch, knobs, now)
        torch.testing.assert_close(measured, loss, rtol=1e-12, atol=0)
        torch.testing.assert_close(observed, torch.stack(of_step.watched, dim=-1), rtol=1e-12, atol=1e-14)
        assert observed.shape == (len(measured_by(PROBES)), program.workload.num_layers)


def averaged(lane: dict, name: str, beta1: float = 0.9) -> torch.Tensor:
    """x of y = beta1 x + (1 - beta1) z, for a tensor of the model."""
    parts = name.split(".")
    z = lane["optimizer"][".".join(["layers", "*", *parts[2:]])]["z"][int(parts[1])]
    return (lane["params"][name] - (1 - beta1) * z) / beta1


def test_evaluation_and_observation_see_the_weights_that_the_optimizer_evaluates():
    """Of schedule-free AdamW those of an average; plain SGD's see the weights as they are."""
    program, lane, knobs = start(
        trial(optimizer="schedule_free_adamw", method="sigma_reparam_qk", workload_params={"depth": 2})
    )
    plain = dataclasses.replace(program, optimizer=SGD())
    for step in range(3):
        lane, _, _ = program.train(lane, batch_at(program, step), knobs, torch.tensor(step))
    average = lane | {"params": {name: averaged(lane, name) for name in lane["params"]}}
    batch, now = batch_at(program, 3), torch.tensor(3)
    for function, options in (("evaluate", {}), ("observe", {"probes": PROBES})):
        found, expected, trained = (
            getattr(one, function)(of, batch, now, **options)
            for one, of in ((program, lane), (plain, average), (plain, lane))
        )
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
        assert not same(found, trained)


def test_weights_that_are_evaluated_as_they_are_cost_no_operation():
    counts = {}
    for optimizer in ("sgd", "adam", "schedule_free_adamw"):
        program, lane, _ = start(trial(optimizer=optimizer))
        arguments = (lane, batch_at(program, 0), torch.tensor(0))
        counts[optimizer] = cost(trace(program.evaluate, arguments)[0]).num_operations
    assert counts["sgd"] == counts["adam"] < counts["schedule_free_adamw"]


@pytest.mark.parametrize("optimizer", ["adam", "schedule_free_adamw", "muon", "shampoo"])
@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_non_finite_step_freezes_the_lane_as_it_was(poison, optimizer):
    program, lane, knobs = start(trial(optimizer=optimizer, method="sigma_reparam_qk"))
    lane, _, _ = program.train(lane, batch_at(program, 0), knobs, torch.tensor(0))
    batch = batch_at(program, 1)
    if poison == "loss":
        batch["x"][0, 0, 0] = math.nan
    else:  # the loss stays finite, its gradient's square does not
        batch["w"] = batch["w"] * 1e153
    bad, loss, norm = program.train(lane, batch, knobs, torch.tensor(1))
    assert loss.isfinite() == (poison == "gradient")
    assert not norm.isfinite()
    assert not bad["alive"]
    assert bad["diverged_step"] == 1
    for part in ("params", "buffers", "optimizer"):
        assert same(bad[part], lane[part])
    later, loss, norm = program.train(bad, batch_at(program, 2), knobs, torch.tensor(2))
    assert loss.isnan()
    assert norm.isnan()
    assert same(later, bad)


@dataclass(frozen=True, kw_only=True)
class WithoutGradients(Softmax):
    """Whatever the loss, no gradient comes of it."""

    def scale_loss(self, loss, step):
        return torch.zeros_like(loss)


def test_an_infinite_loss_freezes_the_lane_though_its_gradients_are_finite():
    program, lane, knobs = start(trial())
    program = dataclasses.replace(program, method=WithoutGradients())
    batch = batch_at(program, 0)
    batch["w"] = batch["w"] * 1e200
    after, loss, norm = program.train(lane, batch, knobs, torch.tensor(0))
    assert loss.isinf()
    assert norm == 0
    assert not after["alive"]
    assert after["diverged_step"] == 0


def test_a_lane_that_is_alive_has_no_diverged_step():
    lane, _, _ = trained(trial())
    assert lane["alive"]
    assert lane["diverged_step"] == -1


def test_method_limits_act_in_training():
    """gamma clipped by value stays in its range; clipped by gradient it moves by at most lr times the bound."""
    lane, _, _ = trained(trial(method="qk_layernorm_weight_clipped", method_params={"max_gamma": 0.5}), 1)
    assert all((p.abs() <= 0.5).all() for name, p in lane["params"].items() if ".method." in name)
    settings = {"method": "qk_layernorm_gradient_clipped", "method_params": {"max_grad_norm": 1e-3}, "lr": 2.0}
    before, after = start(trial(**settings))[1]["params"], trained(trial(**settings), 1)[0]["params"]
    moved = [torch.linalg.vector_norm(after[name] - p) for name, p in before.items() if ".method." in name]
    assert max(moved) == pytest.approx(2e-3, rel=1e-6)


@dataclass(frozen=True, kw_only=True)
class DatedGrads(QKLayerNormFree):
    """What is limited becomes the step, counted from 1."""

    def limit_grads(self, grads, step):
        return {name: (step + 1) * torch.ones_like(grad) for name, grad in grads.items()}


@dataclass(frozen=True, kw_only=True)
class DatedParams(QKLayerNormFree):
    def limit_params(self, params, step):
        return {name: (step + 1) * torch.ones_like(p) for name, p in params.items()}


@dataclass(frozen=True, kw_only=True)
class DatedProjections(QKLayerNormFree):
    reads_max_logits = True

    def limit_projections(self, query_CHD, key_CHD, max_logit_H, step):
        return tuple((step + 1) * torch.ones_like(weight) for weight in (query_CHD, key_CHD))


@pytest.mark.parametrize(
    ("method", "kind"), [(DatedParams(), "method"), (DatedProjections(), "query"), (DatedProjections(), "key")]
)
def test_what_a_method_limits_knows_the_step(method, kind):
    program, lane, knobs = start(trial(method="qk_layernorm_free", workload_params={"depth": 2}))
    program = dataclasses.replace(program, method=method)
    for step in range(3):
        lane, _, _ = program.train(lane, batch_at(program, step), knobs, torch.tensor(step))
        limited = [p for name, p in lane["params"].items() if f".{kind}." in name]
        assert len(limited) == (4 if kind == "method" else 2)
        assert all((p == step + 1).all() for p in limited)


def test_gradients_that_a_method_limits_know_the_step():
    """Of SGD with lr 1, which subtracts them."""
    program, lane, knobs = start(trial(method="qk_layernorm_free", lr=1))
    program = dataclasses.replace(program, method=DatedGrads())
    for step in range(3):
        after, _, _ = program.train(lane, batch_at(program, step), knobs, torch.tensor(step))
        gammas = [name for name in lane["params"] if ".method." in name]
        assert len(gammas) == 2
        for name in gammas:
            moved = lane["params"][name] - after["params"][name]
            torch.testing.assert_close(moved, torch.full_like(moved, step + 1), rtol=1e-14, atol=0)
        lane = after


def test_warmup_of_w_steps_makes_the_first_step_1_over_w():
    before = start(trial())[1]["params"]
    steps = {w: trained(trial(warmup_steps=w), 1)[0]["params"] for w in (0, 4)}
    for name, tensor in before.items():
        torch.testing.assert_close(4 * (steps[4][name] - tensor), steps[0][name] - tensor, rtol=1e-9, atol=1e-14)


@dataclass(frozen=True, kw_only=True)
class Emphasised(Softmax):
    """Softmax whose loss is differentiated (step + 2) times."""

    def scale_loss(self, loss, step):
        return (step + 2) * loss


@pytest.mark.parametrize("step", [0, 1])
def test_a_methods_scale_changes_gradients_and_not_the_recorded_loss(step):
    program, lane, _ = start(trial())
    emphasised = dataclasses.replace(program, method=Emphasised())
    now, part = torch.tensor(step), torch.tensor(0)
    plain, scaled = (one.gradients(lane, batch_at(program, step), now, part) for one in (program, emphasised))
    assert scaled["loss"] == plain["loss"]
    for name, grad in plain["grads"].items():
        torch.testing.assert_close(scaled["grads"][name], (step + 2) * grad, rtol=1e-12, atol=0)


def test_training_is_an_update_with_the_gradients_of_the_whole_batch():
    program, lane, knobs = start(trial(optimizer="adam", method="sigma_reparam_qk"))
    batch, now = batch_at(program, 0), torch.tensor(0)
    seen = program.gradients(lane, batch, now, torch.tensor(0))
    assert same(program.train(lane, batch, knobs, now), program.update(lane, seen, knobs, now))
