"""Self-supervised learning of images: what is trained, averaged and measured, in any company and after a resume."""

import dataclasses
import math
from typing import Any

import numpy
import pytest
import torch

from bench.entry import load_class
from bench.errors import UsageError
from bench.held_out import HELD_OUT
from bench.methods import METHODS
from bench.methods.linear import SigmaReparam
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.models.contrastive import PREDICTOR
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.optimizers.schedules import Constant
from bench.optimizers.sgd import SGD
from bench.testing.workload_steps import batch_at, held_out_of, program_of, started
from bench.training.lane import LaneProgram
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Knobs, Trial
from bench.workloads import WORKLOADS
from bench.workloads.self_supervised_images import MOMENTUM, SelfSupervisedImages
from tests.conformance.workload_settings import SETTINGS
from tests.trials import choice

SMALL = SETTINGS["self_supervised_images"]
OBJECTIVES = ("simclr", "moco_v3")


class AllSigmaReparam(Softmax):
    def linear(self, role):
        return SigmaReparam()


def small(**settings: Any) -> SelfSupervisedImages:
    return SelfSupervisedImages(**(SMALL | settings))


def pack_of(*lrs: float, **settings) -> Pack:
    chosen = choice(WORKLOADS, "self_supervised_images", **(SMALL | settings))
    digest = load_class(WORKLOADS["self_supervised_images"])(**chosen.params).data_digest()
    shared = {
        "workload": dataclasses.replace(chosen, digest=digest),
        "method": choice(METHODS, "sigma_reparam"),
        "optimizer": choice(OPTIMIZERS, "adamw"),
        "schedule": choice(SCHEDULES, "constant"),
        "probe_every": 2,
    }
    return Pack(trials=tuple(Trial(knobs=Knobs(lr=lr), seed=seed, **shared) for seed, lr in enumerate(lrs)))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_model_that_knows_nothing_guesses_among_all_views(objective):
    """Nearly: projections of random networks are alike only in part."""
    workload = small(objective=objective, batch_size=64, temperature=100.0)
    loss = program_of(workload).loss(started(workload), batch_at(workload, 0), torch.tensor(0), torch.tensor(0))
    assert loss.item() == pytest.approx(math.log(127 if objective == "simclr" else 64), abs=0.02)


def test_the_average_of_moco_is_of_the_weights_that_steps_saw():
    workload = small(objective="moco_v3", momentum=0.7)
    program = LaneProgram(workload=workload, method=AllSigmaReparam(), optimizer=SGD(), schedule=Constant())
    lane = program.start(torch.tensor(0), torch.ones((), dtype=torch.float64))
    expected = dict(lane["params"])
    knobs = {"lr": 0.1, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": math.inf}
    for step in range(3):
        expected = {name: 0.7 * old + 0.3 * lane["params"][name] for name, old in expected.items()}
        of_step = {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}
        lane, _, _ = program.train(lane, batch_at(workload, step), of_step, torch.tensor(step))
    averaged = {name for name in lane["params"] if MOMENTUM + name in lane["buffers"]}
    assert averaged == {name for name in lane["params"] if not any(each in name for each in PREDICTOR)}
    for name in averaged:
        torch.testing.assert_close(lane["buffers"][MOMENTUM + name], expected[name], rtol=1e-12, atol=1e-14)


def test_moco_compares_each_view_with_the_average_of_the_other():
    """Its gradient ends at the average: what is differentiated is 4 temperature times the loss."""
    workload = small(objective="moco_v3")
    program, lane, batch = program_of(workload), started(workload), batch_at(workload, 0)
    buffers = program.buffers(lane, torch.tensor(0))
    forward = workload.loss(Softmax(), lane["params"], buffers, batch, Mode())
    assert forward.objective.item() == pytest.approx(4 * 0.2 * forward.loss.item(), rel=1e-12)
    swapped = {"first": batch["second"], "second": batch["first"]}
    assert workload.loss(Softmax(), lane["params"], buffers, swapped, Mode()).loss.item() == pytest.approx(
        forward.loss.item(), rel=1e-12
    )
    other = {name: t + 0.1 * torch.ones_like(t) if name.endswith("mlp_in.weight") else t for name, t in buffers.items()}
    assert workload.loss(Softmax(), lane["params"], other, batch, Mode()).loss != forward.loss


def test_measures_of_a_bank_are_bounded_and_stand_beside_those_of_pixels():
    workload = small()
    [held_out] = held_out_of(workload)
    means = program_of(workload).evaluate(started(workload), held_out, torch.tensor(0))
    for name, value in workload.held_out_measures(means).items():
        assert HELD_OUT[name].low <= value <= HELD_OUT[name].high
    assert SelfSupervisedImages().data_facts() == {
        "num_learned_from": 1438,
        "num_bank": 1438,
        "num_queries": 359,
        "raw_pixels": {"val_knn_accuracy": 0.7688, "val_probe_accuracy": 0.5209},
    }


def test_a_lane_equals_its_solo_run_and_a_resumed_one_to_the_bit():
    """In float64, where rounding is far below the tolerance; of moco_v3, whose average goes on from step to step."""
    pack = pack_of(0.01, 0.02, objective="moco_v3", num_steps=4, eval_every_steps=2)
    run, resumed, alone = (PackRun(each, dtype="float64") for each in (pack, pack, Pack(trials=pack.trials[1:])))
    run.advance(max_steps=3)
    resumed.load(run.state())
    for each in (run, resumed, alone):
        each.advance()
    together, solo = (each.traces()[pack.trials[1].id] for each in (run, alone))
    assert together.select("step", "quantity", "layer").equals(solo.select("step", "quantity", "layer"))
    assert numpy.abs(together["value"].to_numpy() - solo["value"].to_numpy()).max() < 1e-5
    for trial, trace in run.traces().items():
        assert resumed.traces()[trial].equals(trace)


def test_more_images_than_there_are_make_no_batch():
    with pytest.raises(UsageError, match=r"batch_size must be at most the 1,438 images .*, got 2000"):
        SelfSupervisedImages(batch_size=2000).data_digest()
    with pytest.raises(UsageError, match=r"images 'digits': patch must divide .*, got 3 for 8 x 8"):
        SelfSupervisedImages(patch=3).data_digest()
