"""On a GPU: the fused program's trajectories are the reference's, a lane is its solo run, a resume is bit-identical."""

import subprocess
import sys

import pytest
import torch

from bench.suite import find_suite, load_suite
from bench.training.fused import cuda
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.training.tree import tensors_of
from tests.fused_cases import NAMES, OPTIMIZER_NAMES, TABLE_1, deviation, fused_trial, pack_of, reference, trajectory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(not cuda.is_installed(), reason="no bindings of NVRTC"),
]
NUM_STEPS = 60
CASES = [(name, "sgd") for name in NAMES] + [("softmax", name) for name in OPTIMIZER_NAMES[1:]]
PASS_THROUGH = {"embedding": "pass_through", "divide_by_keys": True, "batch_size": 200, "num_pairs": 9}


def on_gpu(pack: Pack) -> PackRun:
    run = PackRun(pack, device="cuda")
    run.advance(max_steps=0)
    assert run.is_fused, [str(each) for each in run.uncompiled]
    return run


def kept(run: PackRun) -> list[torch.Tensor]:
    state = run.state()
    return tensors_of({"lanes": state["lanes"], "history": state["history"]})


@pytest.mark.parametrize(("method", "optimizer"), CASES)
def test_a_trajectory_is_that_of_the_reference_in_float64(method, optimizer):
    """Within 1e-2 over 60 steps, as in float32 on a processor: layers normalised multiply rounding most."""
    pack = pack_of(method, optimizer)
    some, expected = trajectory(on_gpu(pack), NUM_STEPS), reference(pack, NUM_STEPS)
    assert deviation(some, expected) < 1e-2
    assert [step >= 0 for step in some.diverged_step] == [step >= 0 for step in expected.diverged_step]


@pytest.mark.parametrize("workload", [TABLE_1, TABLE_1 | PASS_THROUGH], ids=["table_1", "pass_through"])
def test_a_trajectory_is_right_in_the_shapes_of_papers(workload):
    pack = pack_of("softmax", workload=workload)
    assert deviation(trajectory(on_gpu(pack), 20), reference(pack, 20)) < 1e-3


@pytest.mark.parametrize("method", ["softmax", "sigma_reparam_qk"])
def test_a_lane_alone_is_the_lane_in_its_pack_to_the_bit(method):
    pack = pack_of(method, workload=TABLE_1)
    together = trajectory(on_gpu(pack), NUM_STEPS)
    alone = trajectory(on_gpu(Pack(trials=pack.trials[1:2])), NUM_STEPS)
    for of_all, of_one in zip(together[:2], alone[:2], strict=True):
        assert torch.equal(of_all[:, 1], of_one[:, 0])
    assert torch.equal(together.params[1], alone.params[0])


def test_a_run_repeats_itself_to_the_bit():
    pack = pack_of("relu_kernel", "adamw", TABLE_1)
    runs = [on_gpu(pack) for _ in range(2)]
    for run in runs:
        run.advance(max_steps=300)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(*map(kept, runs), strict=True))


def test_a_resume_is_the_run_itself_to_the_bit():
    pack = pack_of("sigma_reparam_qk", "adamw")
    whole, first, second = (on_gpu(pack) for _ in range(3))
    whole.advance(max_steps=100)
    first.advance(max_steps=37)
    second.load(first.state())
    second.advance(max_steps=63)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(kept(whole), kept(second), strict=True))


def test_more_lanes_than_multiprocessors_train_alike():
    one = fused_trial(TABLE_1)
    run = on_gpu(Pack(trials=tuple(fused_trial(TABLE_1, warmup_steps=float(n)) for n in range(400))))
    alone = on_gpu(Pack(trials=(one,)))
    assert torch.equal(trajectory(run, 5).loss[:, 0], trajectory(alone, 5).loss[:, 0])


@pytest.mark.parametrize(
    "method", sorted({trial.method.label for trial in load_suite(find_suite("paper_table1")).expand()})
)
def test_a_pack_of_table_1_takes_no_more_memory_than_it_is_placed_by(method):
    """A process of its own, so that nothing else is counted: its steps, what it looks into, and its traces."""
    script = f"""
import torch
from bench.suite import find_suite, load_suite
from bench.training.pack import Pack
from bench.training.pack_size import CUDA_CONTEXT_BYTES, fused_bytes
from bench.training.train import PackRun
trials = [one for one in load_suite(find_suite("paper_table1")).expand() if one.method.label == {method!r}]
run = PackRun(Pack(trials=tuple(trials)), device="cuda")
run.advance()
assert run.is_fused
run.results(), run.traces()
print(torch.cuda.max_memory_allocated() + CUDA_CONTEXT_BYTES, fused_bytes(trials))
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    used, placed_by = map(int, done.stdout.split())
    print(f"{method}: {used / 1e9:.2f} of {placed_by / 1e9:.2f} GB")
    assert used <= placed_by


def test_a_worker_knows_the_memory_of_its_gpu_without_torch():
    script = "import sys; from bench.training.fused.cuda import gpu_bytes; print(gpu_bytes(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found, has_torch = done.stdout.split()
    total = torch.cuda.mem_get_info()[1]
    assert has_torch == "False"
    assert total <= int(found) < 1.1 * total
