"""Packs that the fused program trains, and their training by it and by the dense reference in float64.

Shapes: N steps, L lanes.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import torch

from bench.methods import METHODS
from bench.training.fused.program import METHOD_MACROS, OPTIMIZERS
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.training.tree import tensors_of
from bench.trial import Trial
from tests.trials import trial

# Declared long, so that it pays; the batch fills no vector and no block of threads.
SHORT = {"num_steps": 10_000, "batch_size": 13, "num_pairs": 7, "dimension": 3, "depth": 2}
TABLE_1 = {"num_steps": 10_000, "batch_size": 128, "num_pairs": 20, "dimension": 3, "depth": 5}
NAMES = [name for name, target in METHODS.items() if target.rpartition(":")[2] in {c.__name__ for c in METHOD_MACROS}]
OPTIMIZER_NAMES = ["sgd", "sgd_momentum", "sgd_nesterov", "adam", "adamw", "adamw_independent"]
assert len(NAMES) == len(METHOD_MACROS)
assert len(OPTIMIZER_NAMES) == len(OPTIMIZERS)
LR = 3e-4  # where no method multiplies rounding much in 200 steps
PARAMS = {"window_softmax": {"width": 2}, "soft_capping": {"cap": 2.0}}
EVERYTHING = {"weight_decay": 0.01, "warmup_steps": 5, "init_scale": 3.0}


class Trajectory(NamedTuple):
    """loss, grad_norm (N, L) and params, in float64 on the CPU; diverged_step by lane."""

    loss: torch.Tensor
    grad_norm: torch.Tensor
    params: torch.Tensor
    diverged_step: list[int]


def fused_trial(workload: dict[str, Any] = SHORT, *, optimizer: str = "sgd", **settings: Any) -> Trial:
    """A trial without probes."""
    settings = {"lr": LR, "probe_every": 5_000, **settings}
    return dataclasses.replace(trial(workload_params=workload, optimizer=optimizer, **settings), probes=())


def pack_of(method: str, optimizer: str = "sgd", workload: dict[str, Any] = SHORT, **settings: Any) -> Pack:
    """Two lanes of one seed, of which one is clipped, a lane of another seed, and one that diverges."""
    settings = EVERYTHING | {"optimizer": optimizer} | settings
    of = functools.partial(fused_trial, workload, method=method, method_params=PARAMS.get(method), **settings)
    return Pack(trials=(of(seed=2), of(seed=2, grad_clip=0.3), of(seed=3, weight_decay=0.1), of(seed=2, lr=1e30)))


def trajectory(run: PackRun, num_steps: int) -> Trajectory:
    """What the next steps of a run give."""
    first = run.step
    run.advance(max_steps=num_steps)
    history, lanes = run._history.tensors, run._living.whole()
    loss, grad_norm = (history[name][first : first + num_steps].double().cpu() for name in ("loss", "grad_norm"))
    params = torch.cat([p.reshape(len(lanes["alive"]), -1) for p in tensors_of(lanes["params"])], dim=1)
    return Trajectory(loss, grad_norm, params.double().cpu(), lanes["diverged_step"].tolist())


@functools.cache
def reference(pack: Pack, num_steps: int) -> Trajectory:
    """The dense reference in float64, traced."""
    return trajectory(PackRun(pack, dtype="float64", is_reference=True), num_steps)


def deviation(some: Trajectory, other: Trajectory, num_lanes: int = 3) -> float:
    """The largest difference of the first lanes' losses, gradient norms and params, each relative to its own size."""
    pairs = zip((t[..., :num_lanes] for t in some[:2]), (t[..., :num_lanes] for t in other[:2]), strict=True)
    traced = max(float(((a - b).abs() / b.abs()).max()) for a, b in pairs)
    params, expected = some.params[:num_lanes], other.params[:num_lanes]
    return max(traced, float((params - expected).abs().max() / expected.abs().max()))
