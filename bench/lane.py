"""One model of one trial as pure functions: its start, one training step, one observation. train.py stacks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.entry import build
from bench.lazy import torch
from bench.methods import METHODS
from bench.methods.base import Method
from bench.models.attention_only import method_params
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.optimizers.base import Optimizer, Tensors
from bench.optimizers.schedules import Schedule
from bench.probes.attention import ATTENTION_PROBES
from bench.randomness import normal
from bench.trial import Trial
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor

Lane = dict[str, Any]  # params, buffers, optimizer: named tensors; alive: bool; diverged_step: int64, -1 if not
CLIP_EPS = 1e-6  # torch.nn.utils.clip_grad_norm_'s


@dataclass(frozen=True, kw_only=True)
class LaneProgram:
    """What the lanes of a pack have in common."""

    workload: Workload
    method: Method
    optimizer: Optimizer
    schedule: Schedule

    @classmethod
    def of(cls, trial: Trial) -> LaneProgram:
        """The program that a trial names."""
        return cls(
            workload=build(WORKLOADS, trial.workload),
            method=build(METHODS, trial.method),
            optimizer=build(OPTIMIZERS, trial.optimizer),
            schedule=build(SCHEDULES, trial.schedule),
        )

    def start(self, seed: Tensor, init_scale: Tensor) -> Lane:
        """The lane before its first step, in the dtype of `init_scale`."""
        step = torch.zeros((), dtype=torch.int64, device=seed.device)

        def draw(name: str, shape: tuple[int, ...]) -> Tensor:
            return normal(seed, "init." + name, step, shape).to(init_scale.dtype)

        params, buffers = self.workload.init(self.method, draw, init_scale)
        return {
            "params": params,
            "buffers": buffers,
            "optimizer": self.optimizer.init(params),
            "alive": torch.ones((), dtype=torch.bool, device=seed.device),
            "diverged_step": torch.full((), -1, dtype=torch.int64, device=seed.device),
        }

    def train(self, lane: Lane, batch: Tensors, knobs: Tensors, step: Tensor) -> tuple[Lane, Tensor, Tensor]:
        """The lane after one step, and the loss and gradient norm that the step saw.

        A non-finite loss or gradient norm freezes the lane as it was before the step; from then on both are NaN.
        """
        buffers = self.workload.refresh(self.method, lane["params"], lane["buffers"])

        def loss_of(params: Tensors) -> Tensor:
            return self.workload.loss(self.method, params, buffers, batch)[0]

        grads, loss = torch.func.grad_and_value(loss_of)(lane["params"])
        grad_norm = torch.stack([grad.square().sum() for grad in grads.values()]).sum().sqrt()
        clip = (knobs["grad_clip"] / (grad_norm + CLIP_EPS)).clamp_max(1)
        grads = {name: grad * clip for name, grad in grads.items()}
        for prefix, part in method_params(grads).items():
            grads |= {prefix + name: grad for name, grad in self.method.limit_grads(part).items()}
        factor = self.schedule.factor(step, knobs["warmup_steps"], self.workload.num_steps)
        scheduled = knobs | {"lr": knobs["lr"] * factor}
        params, moments = self.optimizer.update(lane["params"], grads, lane["optimizer"], scheduled, step)
        for prefix, part in method_params(params).items():
            params |= {prefix + name: tensor for name, tensor in self.method.limit_params(part).items()}
        finite = loss.isfinite() & grad_norm.isfinite()
        alive = lane["alive"] & finite
        updated = {"params": params, "buffers": buffers, "optimizer": moments}
        trained = {name: _choose(alive, updated[name], lane[name]) for name in updated}
        diverged_step = torch.where(lane["alive"] & ~finite, step, lane["diverged_step"])
        seen = [torch.where(lane["alive"], value, torch.nan) for value in (loss, grad_norm)]
        return trained | {"alive": alive, "diverged_step": diverged_step}, seen[0], seen[1]

    def observe(self, lane: Lane, batch: Tensors) -> tuple[Tensor, Tensor]:
        """Loss and attention quantities (quantities, layers) of the lane on a batch, as a train step would see it."""
        buffers = self.workload.refresh(self.method, lane["params"], lane["buffers"])
        loss, layers = self.workload.loss(self.method, lane["params"], buffers, batch)
        attention = [torch.stack([probe(layer) for layer in layers]) for probe in ATTENTION_PROBES.values()]
        return loss, torch.stack(attention)


def _choose(condition: Tensor, new: Any, old: Any) -> Any:
    if isinstance(new, dict):
        return {name: _choose(condition, new[name], old[name]) for name in new}
    return torch.where(condition, new, old)
