"""What every workload keeps to: data of (seed, step) alone, and every declared parameter acts."""

import pytest
import torch
from trials import SMALL
from variants import ignored_parameters

from bench.entry import load_class
from bench.lane import LaneProgram
from bench.methods.softmax import Softmax
from bench.optimizers.schedules import Cosine
from bench.optimizers.sgd import SGD
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload

SETTINGS = {"in_context_regression": SMALL}  # small enough for a test
READ_BY_TRAINING = {"final_loss_steps"}  # by bench.train, not by the workload; tested there


@pytest.fixture(params=WORKLOADS)
def workload(request) -> Workload:
    return load_class(WORKLOADS[request.param])(**SETTINGS[request.param])


def program_of(workload: Workload) -> LaneProgram:
    return LaneProgram(workload=workload, method=Softmax(), optimizer=SGD(), schedule=Cosine())


def training(workload: Workload) -> list:
    """Parameters, loss and attention after each of two steps."""
    program, seed = program_of(workload), torch.tensor(0)
    lane = program.start(seed, torch.tensor(1.0, dtype=torch.float64))
    knobs = {"lr": 0.1, "warmup_steps": 0.0, "weight_decay": 0.0, "grad_clip": float("inf")}
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in knobs.items()}
    seen = []
    for step in range(2):
        batches = workload.batches(seed[None], torch.tensor([step]))
        batch = {name: t[0, 0].double() if t.is_floating_point() else t[0, 0] for name, t in batches.items()}
        observed = program.observe(lane, batch)
        lane, loss, _ = program.train(lane, batch, knobs, torch.tensor(step))
        assert lane["alive"]
        seen.append((lane["params"], loss, observed))
    return seen


def test_every_parameter_changes_training(workload):
    assert ignored_parameters(workload, training) == READ_BY_TRAINING


def test_batches_depend_on_seed_and_step_alone(workload):
    seeds, steps = torch.tensor([5, 1, 2**40, 7]), torch.tensor([0, 1, 63, 64, 100_000])
    together = workload.batches(seeds, steps)
    for s, seed in enumerate(seeds):
        for t, step in enumerate(steps):
            alone = workload.batches(seed[None], step[None])
            assert alone.keys() == together.keys()
            for name, tensor in alone.items():
                assert torch.equal(tensor[0, 0], together[name][t, s])


def test_batches_differ_by_seed_and_by_step(workload):
    batches = workload.batches(torch.arange(3), torch.arange(4))
    for tensor in batches.values():
        assert tensor.shape[:2] == (4, 3)
        assert len({tuple(batch.flatten().tolist()) for batch in tensor.flatten(0, 1)}) == 12


def test_layers_and_keys_are_as_stated(workload):
    program, seed = program_of(workload), torch.tensor(0)
    lane = program.start(seed, torch.tensor(1.0))
    batches = workload.batches(seed[None], torch.tensor([0]))
    batch = {name: tensor[0, 0] for name, tensor in batches.items()}
    loss, layers = workload.loss(program.method, lane["params"], lane["buffers"], batch)
    assert loss.shape == ()
    assert len(layers) == workload.num_layers
    for layer in layers:
        assert layer.mask_QK.sum(dim=-1).max() <= workload.num_keys
        assert layer.p_BHQK.shape == layer.z_BHQK.shape
        assert layer.p_BHQK.shape[-2:] == layer.mask_QK.shape


def test_initial_weights_depend_on_the_seed(workload):
    starts = [program_of(workload).start(torch.tensor(seed), torch.tensor(1.0))["params"] for seed in (0, 1, 2**32)]
    for name in starts[0]:
        assert len({tuple(start[name].flatten().tolist()) for start in starts}) == 3


def test_source_is_stated(workload):
    assert workload.source != Workload.source
    assert type(workload).__doc__
