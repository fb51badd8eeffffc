"""Rates and decay by role: groups of torch.optim in training, lanes of their own, and no part of a trial without."""

import dataclasses

import pytest
import torch

from bench.roles import BY_ROLE, RATES, ROLES
from bench.suite import Suite
from bench.training.fused.program import trains
from bench.training.lane import LaneProgram
from bench.training.pack import Pack, lane_constants, make_packs
from bench.training.train import PackRun, train_pack
from bench.trial import EARLIER
from tests.bench.probes.models import model_in_training
from tests.trials import language_trial, trial

LANGUAGE = {"depth": 2, "norm": "layer", "norm_placement": "pre", "has_biases": True, "ties_embeddings": False}
OWN = {"lr_embedding": 0.1, "lr_query": 3.0, "lr_norm": 0.5, "no_decay": ["mlp", "embedding"]}
LR, WEIGHT_DECAY, NUM_STEPS = 0.02, 0.3, 5


def test_training_is_that_of_torchs_parameter_groups():
    """AdamW on the gradients of a small GPT, five steps in float64; groups are made by names, by hand."""
    one = language_trial(optimizer_params=OWN, workload_params=LANGUAGE, lr=LR, weight_decay=WEIGHT_DECAY)
    program = LaneProgram.of(one)
    lane = program.start(torch.tensor(0), torch.ones((), dtype=torch.float64))
    theirs = {name: torch.nn.Parameter(p.clone()) for name, p in lane["params"].items()}

    def group(name: str) -> tuple[float, float]:
        decay = WEIGHT_DECAY if theirs[name].ndim > 1 else 0.0
        if name.startswith("embed."):
            return 0.1 * LR, 0.0
        if name.endswith("query.weight"):
            return 3 * LR, decay
        if ".norm_" in name or name.startswith("norm."):
            return 0.5 * LR, 0.0
        return LR, 0.0 if ".mlp_" in name else decay

    groups = [{"params": [p], "lr": group(name)[0], "weight_decay": group(name)[1]} for name, p in theirs.items()]
    assert len({(one["lr"], one["weight_decay"]) for one in groups}) == 5
    optimizer = torch.optim.AdamW(groups)
    knobs = {"lr": LR, "weight_decay": WEIGHT_DECAY, "grad_clip": float("inf"), "warmup_steps": 0.0}
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}
    for step in range(NUM_STEPS):
        batch = program.workload.batches(torch.tensor([0]), torch.tensor([step]))
        batch = {name: tensor[0, 0] for name, tensor in batch.items()}
        gradients = program.gradients(lane, batch, torch.tensor(step), torch.tensor(0))
        for name, p in theirs.items():
            p.grad = gradients["grads"][name]
        optimizer.step()
        lane, _, _ = program.update(lane, gradients, knobs, torch.tensor(step))
        for name, p in theirs.items():
            torch.testing.assert_close(lane["params"][name], p.detach(), rtol=1e-11, atol=1e-13)


def rated(**params):
    return language_trial(optimizer_params=params, workload_params=LANGUAGE, lr=LR)


def test_lanes_with_rates_of_their_own_train_as_alone():
    """Together in one pack, in float32; also what is a number of no dimension, as sigma-reparam's gammas are."""
    trials = tuple(
        language_trial(optimizer_params={"lr_embedding": rate, "lr_method": 2.0}, method="sigma_reparam", lr=LR)
        for rate in (0.1, 1.0, 3.0)
    )
    assert [len(pack.trials) for pack in make_packs(trials, max_lanes=10)] == [3]
    results, _ = train_pack(Pack(trials=trials))
    losses = [result.final_loss for result in results]
    assert len(set(losses)) == 3
    run = PackRun(Pack(trials=trials))
    dtypes = {tensor.dtype for tensor in run._lanes["params"].values()}
    run.advance(max_steps=2)
    assert {tensor.dtype for tensor in run._lanes["params"].values()} == dtypes == {torch.float32}
    for one, loss in zip(trials, losses, strict=True):
        (alone,), _ = train_pack(Pack(trials=(one,)))
        assert alone.final_loss == pytest.approx(loss, rel=1e-4)


def test_a_rate_of_1_trains_as_none():
    results = [train_pack(Pack(trials=(one,)))[0][0] for one in (rated(), rated(lr_mlp=1.0), rated(lr_mlp=0.2))]
    assert results[0].final_loss == results[1].final_loss != results[2].final_loss


def test_trials_with_and_without_rates_share_no_pack():
    """What a pack's program is follows from each of its trials."""
    trials = [rated(), rated(lr_mlp=0.5), rated(lr_mlp=0.2), rated(lr_mlp=0.5, lr_key=2.0), rated(no_decay=["mlp"])]
    packs = [[dict(lane_constants(one)) for one in pack.trials] for pack in make_packs(trials, max_lanes=10)]
    assert [len(pack) for pack in packs] == [1, 2, 1, 1]
    assert all(len({tuple(constants) for constants in pack}) == 1 for pack in packs)


def test_what_is_not_set_is_no_part_of_a_trial():
    plain = rated()
    params = {name: value for name, value in plain.optimizer.params.items() if name not in BY_ROLE}
    old = dataclasses.replace(plain, optimizer=dataclasses.replace(plain.optimizer, params=params))
    assert old.id == plain.id
    assert LaneProgram.of(old).optimizer == LaneProgram.of(plain).optimizer
    others = [rated(**{name: 0.5}) for name in RATES.values()] + [rated(no_decay=["norm"])]
    assert len({one.id for one in (plain, *others)}) == len(others) + 1


def test_every_role_has_a_rate():
    assert list(RATES) == list(ROLES)
    assert set(BY_ROLE) <= set(EARLIER)


def test_what_is_fused_has_one_rate():
    """The C program has one learning rate a lane, and a list of what decays."""
    big = {"num_steps": 10_000, "batch_size": 128, "depth": 5, "num_pairs": 20}

    def program(**params):
        return LaneProgram.of(trial(workload_params=big, optimizer="adamw", optimizer_params=params))

    assert [trains(program(**each)) for each in ({}, {"no_decay": ["value"]}, {"lr_value": 0.5})] == [True, True, False]


def test_a_preconditioner_has_the_rate_in_it():
    """So that one edge holds for all parameters: SGD goes along g / P at the common learning rate."""
    one = language_trial(optimizer="sgd", optimizer_params={"lr_mlp": 0.5, "lr_bias": 4.0}, workload_params=LANGUAGE)
    model = model_in_training(one, steps=2)
    update = model.update
    assert update.preconditioner is not None
    for name, p in model.params.items():
        expected = p - update.lr * update.grads[name] / update.preconditioner[name]
        torch.testing.assert_close(update.after[name], expected, rtol=1e-12, atol=1e-14)
    assert {p.mean().item() for p in update.preconditioner.values()} == {1.0, 2.0, 0.25}


def test_a_rate_is_a_knob_of_a_suite():
    plain = {"name": "s", "workloads": ["in_context_regression"], "methods": ["softmax"], "seeds": 1, "probe_every": 5}
    suite = Suite(**plain, optimizers=["adamw"], knobs={"lr": [0.1], "lr_value": [0.1, 1.0]})
    trials = suite.expand()
    assert [one.settings for one in trials] == [{"lr_value": 0.1}, {"lr_value": 1.0}]
    assert [len(pack.trials) for pack in make_packs(trials, max_lanes=10)] == [2]
