"""On a GPU: what is trained is what float64 on the CPU says, a resume is bit-identical, a lane is its solo run."""

import dataclasses

import pytest
import torch
from trials import trial

from bench.compile import MIN_INDUCTOR_CALLS
from bench.methods import METHODS
from bench.pack import Pack
from bench.train import PackRun

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),  # Inductor and the profiler warn on their own account
]

WORKLOAD = {"batch_size": 32, "depth": 3, "num_pairs": 20}
GRAPHED, COMPILED = 60, MIN_INDUCTOR_CALLS


def pack_of(method: str, *, num_steps: int) -> Pack:
    lrs = (1e-3, 1e-2, 1e30)
    return Pack(
        trials=tuple(
            trial(method=method, workload_params=WORKLOAD | {"num_steps": num_steps}, lr=lr, seed=seed, probe_every=10)
            for lr in lrs
            for seed in (0, 1)
        )
    )


def history(run: PackRun, quantity: str) -> torch.Tensor:
    return run.state()["history"][quantity].double()


@pytest.mark.parametrize(
    ("method", "num_steps"),
    [*((method, GRAPHED) for method in METHODS), ("softmax", COMPILED), ("sigma_reparam_qk", COMPILED)],
)
def test_cuda_matches_float64_on_the_cpu(method, num_steps):
    pack = pack_of(method, num_steps=num_steps)
    on_cuda, exact = PackRun(pack, device="cuda"), PackRun(pack, dtype="float64")
    for run in (on_cuda, exact):
        run.advance(max_steps=10)
    for quantity in ("loss", "grad_norm"):
        found, expected = (history(run, quantity)[:10, :4] for run in (on_cuda, exact))
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-5)
    torch.testing.assert_close(
        history(on_cuda, "initial_loss")[:4], history(exact, "initial_loss")[:4], rtol=1e-5, atol=0
    )
    torch.testing.assert_close(
        history(on_cuda, "attention")[0, :4], history(exact, "attention")[0, :4], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("method", "num_steps"),
    [("softmax", GRAPHED), ("sigma_reparam_qk", GRAPHED), ("qk_layernorm_free", GRAPHED), ("softmax", COMPILED)],
)
def test_resume_is_bit_identical_on_cuda(method, num_steps, tmp_path):
    pack = pack_of(method, num_steps=num_steps)
    whole, first, second = (PackRun(pack, device="cuda") for _ in range(3))
    whole.advance()
    first.advance(max_steps=num_steps // 2 + 3)
    torch.save(first.state(), tmp_path / "state.pt")
    second.load(torch.load(tmp_path / "state.pt", weights_only=True))
    second.advance()
    for one, other in zip(whole.results(), second.results(), strict=True):
        assert dataclasses.replace(one, wall_s=0.0) == dataclasses.replace(other, wall_s=0.0)
    for trial_id, trace in whole.traces().items():
        assert trace.equals(second.traces()[trial_id])


def test_lane_matches_solo_run_on_cuda():
    pack = pack_of("softmax", num_steps=GRAPHED)
    together = PackRun(pack, device="cuda")
    together.advance()
    for lane, one in enumerate(pack.trials[:4]):
        solo = PackRun(Pack(trials=(one,)), device="cuda")
        solo.advance()
        torch.testing.assert_close(history(together, "loss")[:, lane], history(solo, "loss")[:, 0], rtol=1e-5, atol=0)


def test_diverged_lane_is_recorded_on_cuda():
    run = PackRun(pack_of("softmax", num_steps=GRAPHED), device="cuda")
    run.advance()
    assert [result.diverged_step is not None for result in run.results()] == [False] * 4 + [True] * 2
