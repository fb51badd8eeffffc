"""The fused program on a processor: it trains as the reference does, each lane for itself, and goes on where it was."""

import ctypes
import dataclasses
import functools

import pytest
import torch

from bench.native import compiler
from bench.outcome import Outcome
from bench.training.fused import cpu, cuda
from bench.training.fused.program import macros, trains
from bench.training.fused.trainer import FusedTrainer
from bench.training.lane import LaneProgram
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.training.tree import tensors_of
from tests.fused_cases import (
    NAMES,
    OPTIMIZER_NAMES,
    SHORT,
    Trajectory,
    deviation,
    fused_trial,
    pack_of,
    reference,
    trajectory,
)
from tests.repetitions import one_of_each_kind

pytestmark = pytest.mark.skipif(not compiler(), reason="no C compiler")
NUM_STEPS = 60
MOMENTUM = ("sigma_reparam_qk", "sgd_momentum")
CASES = [("softmax", "sgd"), MOMENTUM, ("qk_layernorm_weight_clipped", "adamw")]
KINDS = [method for method, _ in CASES]
OTHERS = [(name, "sgd") for name in NAMES if name not in KINDS] + [("softmax", name) for name in OPTIMIZER_NAMES[1:]]
WORKLOADS = {
    "query_is_key": {"embedding": "pass_through", "query_is_key": True, "residual": False, "logit_scale": 0.3},
    "pass_through": {"embedding": "pass_through", "divide_by_keys": True},
    "small": {"depth": 1, "dimension": 2, "batch_size": 64},
}


def assert_diverged_alike(some: Trajectory, expected: Trajectory) -> None:
    """The same lanes; at a loss of 1e116 rounding decides whether its gradient overflows a step earlier."""
    assert [step >= 0 for step in some.diverged_step] == [step >= 0 for step in expected.diverged_step]


@functools.cache
def fused(pack: Pack, dtype: str = "float64", num_steps: int = NUM_STEPS) -> Trajectory:
    run = PackRun(pack, dtype=dtype)
    done = trajectory(run, num_steps)
    assert run.is_fused
    return done


def kept(run: PackRun) -> list[torch.Tensor]:
    state = run.state()
    return [tensor.nan_to_num() for tensor in tensors_of({"lanes": state["lanes"], "history": state["history"]})]


@pytest.mark.parametrize(("method", "optimizer"), CASES)
def test_a_trajectory_is_that_of_the_reference_in_float64(method, optimizer):
    """Within 1e-4: data are those of float32, which logarithm and cosine of two libraries round."""
    pack = pack_of(method, optimizer)
    some, expected = fused(pack), reference(pack, NUM_STEPS)
    assert deviation(some, expected) < 1e-4
    assert_diverged_alike(some, expected)


@pytest.mark.repetition
@pytest.mark.parametrize(("method", "optimizer"), [*CASES, *OTHERS])
def test_a_longer_trajectory_is_that_of_the_reference_in_float64(method, optimizer):
    pack = pack_of(method, optimizer)
    some, expected = fused(pack, num_steps=100), reference(pack, 100)
    assert deviation(some, expected) < 1e-4
    assert_diverged_alike(some, expected)


def test_a_trajectory_in_float32_is_that_of_the_reference_to_rounding():
    pack = pack_of(*MOMENTUM)
    assert deviation(fused(pack, "float32"), reference(pack, NUM_STEPS)) < 1e-3


@pytest.mark.repetition
@pytest.mark.parametrize("method", NAMES)
def test_a_trajectory_in_float32_by_adamw_is_that_of_the_reference_to_rounding(method):
    pack = pack_of(method, "adamw")
    assert deviation(fused(pack, "float32"), reference(pack, NUM_STEPS)) < 1e-3


@pytest.mark.parametrize("name", one_of_each_kind(WORKLOADS, ["query_is_key"]))
def test_a_trajectory_is_that_of_the_reference_for_other_workloads(name):
    pack = pack_of("softmax", workload=SHORT | WORKLOADS[name])
    assert deviation(fused(pack), reference(pack, NUM_STEPS)) < 1e-5


def test_schedules_are_followed():
    pack = pack_of("softmax", workload=SHORT | {"num_steps": 2_000}, schedule="cosine", warmup_steps=10.0)
    assert deviation(fused(pack, num_steps=30), reference(pack, 30)) < 1e-5


def test_roles_without_weight_decay_have_none():
    of = functools.partial(fused_trial, optimizer="adamw", weight_decay=30.0)
    exempt, plain = (Pack(trials=(of(optimizer_params=own),)) for own in ({"no_decay": ["value", "key"]}, {}))
    assert deviation(fused(exempt, num_steps=30), reference(exempt, 30)) < 1e-4
    assert deviation(fused(plain, num_steps=30), reference(exempt, 30), 1) > 1e-2


def test_constants_of_an_optimizer_may_differ_among_lanes():
    of = functools.partial(fused_trial, method="sigma_reparam_qk", optimizer="sgd_momentum")
    pack = Pack(trials=tuple(of(optimizer_params={"momentum": momentum}) for momentum in (0.5, 0.8, 0.9)))
    assert deviation(fused(pack, num_steps=20), reference(pack, 20)) < 1e-5


def test_the_initial_loss_and_outcomes_are_those_of_the_reference():
    pack = pack_of("softmax")
    runs = [PackRun(pack, dtype="float64", is_reference=is_reference) for is_reference in (False, True)]
    for run in runs:
        run.advance(max_steps=3)
        run.step = run.num_steps
    some, expected = (run.results() for run in runs)
    for a, b in zip(some, expected, strict=True):
        assert a.initial_loss == pytest.approx(b.initial_loss, rel=1e-6)
        assert (a.outcome, a.diverged_step) == (b.outcome, b.diverged_step)
    assert some[3].outcome is Outcome.DIVERGED


@pytest.mark.parametrize(
    ("method", "optimizer"), [MOMENTUM, pytest.param("softmax", "adamw", marks=pytest.mark.repetition)]
)
def test_a_lane_alone_is_the_lane_in_its_pack_to_the_bit(method, optimizer):
    """Beside one that diverges, too."""
    pack = pack_of(method, optimizer)
    together, alone = fused(pack, "float32"), fused(Pack(trials=pack.trials[1:2]), "float32")
    for of_all, of_one in zip(together[:2], alone[:2], strict=True):
        assert torch.equal(of_all[:, 1], of_one[:, 0])
    assert torch.equal(together.params[1], alone.params[0])


def test_a_lane_that_diverged_stays_as_it_was():
    pack = pack_of(*MOMENTUM)
    run = PackRun(pack)
    run.advance(max_steps=3)
    frozen = [tensor[3].clone() for tensor in tensors_of(run._lanes)]
    run.advance(max_steps=10)
    assert all(torch.equal(a, b[3]) for a, b in zip(frozen, tensors_of(run._lanes), strict=True))
    assert run.is_frozen == [False, False, False, True]
    assert run._history.tensors["loss"][run._lanes["diverged_step"][3] + 1 :, 3].isnan().all()


def test_a_resume_is_the_run_itself_to_the_bit():
    pack = pack_of(*MOMENTUM, probe_every=20)
    whole, first, second = (PackRun(pack) for _ in range(3))
    whole.advance(max_steps=100)
    first.advance(max_steps=37)
    second.load(first.state())
    second.advance(max_steps=63)
    assert all(torch.equal(a, b) for a, b in zip(kept(whole), kept(second), strict=True))


def test_a_checkpoint_of_one_path_is_read_by_the_other():
    pack = pack_of(*MOMENTUM)
    first = PackRun(pack, dtype="float64")
    first.advance(max_steps=10)
    second = PackRun(pack, dtype="float64", is_reference=True)
    second.load(first.state())
    assert deviation(trajectory(second, 10), trajectory(first, 10)) < 1e-5


def test_what_probes_see_is_what_they_see_of_the_reference():
    pack = Pack(
        trials=tuple(dataclasses.replace(fused_trial(probe_every=7, seed=seed), probes=None) for seed in (0, 1))
    )
    runs = [PackRun(pack, dtype="float64", is_reference=is_reference) for is_reference in (False, True)]
    for run in runs:
        run.advance(max_steps=20)
    some, expected = (run._history.tensors["observed_7"] for run in runs)
    assert some.isfinite().any()
    torch.testing.assert_close(some, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_data_are_those_of_the_counter_based_generator():
    program = LaneProgram.of(pack_of(*MOMENTUM).trials[0])
    library = cpu.library(macros(program) | {"PRECISION": 32})
    assert library is not None
    batch = program.workload.batches(torch.tensor([2**40 + 3]), torch.tensor([71]))
    num_sequences = batch["x"].shape[2]
    x, w = torch.zeros(num_sequences, 8, 3), torch.zeros(num_sequences * 3 + 3)
    numbers = (ctypes.c_int64(2**40 + 3), ctypes.c_int64(71))
    library.data(*numbers, ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(w.data_ptr()))
    torch.testing.assert_close(x, batch["x"][0, 0], rtol=0, atol=5e-6)
    torch.testing.assert_close(w[: num_sequences * 3], batch["w"][0, 0].flatten(), rtol=0, atol=5e-6)


@pytest.mark.parametrize("method", one_of_each_kind(["relu_kernel", KINDS[2]], [KINDS[2]]))
def test_threads_of_a_block_do_not_depend_on_their_order(method):
    """The program as a GPU runs it, its threads one after the other in both orders; and as a processor runs it."""
    pack = pack_of(method, "adamw")
    of_gpu = cuda.of_device(macros(LaneProgram.of(pack.trials[0])) | {"PRECISION": 64}, shared_bytes=50_000)
    assert int(of_gpu["SLOTS"]) < SHORT["batch_size"]

    def by_threads(**order: int) -> Trajectory:
        run = PackRun(pack, dtype="float64", may_be_fused=False)  # not by the program as it is for a processor
        known = macros(run.program) | of_gpu | {"PRECISION": 64, "VECTOR": 1} | order
        # Rounded alike in both orders: each operation for itself, and none reordered for speed.
        library = cpu.library(known, flags=("-O1", "-ffp-contract=off"))
        assert library is not None
        run._steps._fused = FusedTrainer(run.program, lambda settings, seeds: cpu.train(library, settings, seeds))
        return trajectory(run, 20)

    forwards, backwards = by_threads(), by_threads(REVERSED=1)
    for some, other in zip(forwards[:3], backwards[:3], strict=True):
        assert torch.equal(some.nan_to_num(), other.nan_to_num())
    assert deviation(forwards, fused(pack, num_steps=20)) < 1e-9


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, True),
        ({"method": "favor_plus"}, False),
        ({"optimizer": "lion"}, False),
        ({"workload": SHORT | {"embedding": "learned"}}, False),
        ({"workload": SHORT | {"embedding": "pass_through", "merged_query_key": True}}, False),
        ({"workload": SHORT | {"num_pairs": 32}}, False),
        ({"workload": SHORT | {"num_steps": 20}}, False),
    ],
)
def test_only_what_the_program_knows_and_repays_is_trained_by_it(case, expected):
    assert trains(LaneProgram.of(fused_trial(**case))) is expected
    assert not trains(LaneProgram.of(fused_trial(**case), is_reference=True))
