"""One model of one trial as pure functions: its start, one training step, one observation. lanes.py stacks them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from bench.derivatives import with_gradient
from bench.entry import build
from bench.errors import UsageError
from bench.interventions.base import Intervention
from bench.lazy import torch
from bench.methods import METHODS
from bench.methods.base import Method
from bench.models.attention import METHOD, Mode, part
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.optimizers.base import Optimizer, Tensors
from bench.optimizers.layers import over_layers, stack_layers, unstack_layers
from bench.optimizers.schedules import Schedule
from bench.probes.base import Probe
from bench.randomness import normal
from bench.training.interventions import (
    in_layers,
    intervened,
    intervened_batch,
    intervened_grads,
    intervened_lr,
    intervened_params,
)
from bench.trial import Trial
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor
CLIP_EPS = 1e-6  # torch.nn.utils.clip_grad_norm_'s


class Lane(TypedDict):
    """A trial in training. Plain dicts of tensors, which torch.func maps and torch.save keeps.

    optimizer: the state of every parameter, stacked over layers. constants: those of the optimizer in which the lanes
    of its pack differ. diverged_step: -1 while it is alive.
    """

    params: Tensors
    buffers: Tensors
    optimizer: dict[str, Tensors]
    constants: Tensors
    seed: Tensor
    alive: Tensor
    diverged_step: Tensor


class Gradients(TypedDict):
    """What the batch of a step, or a part of it, gave.

    buffers: as the step saw them. max_logits: (heads,) of each layer, if the method reads them.
    """

    grads: Tensors
    loss: Tensor
    buffers: Tensors
    max_logits: list[Tensor]


@dataclass(frozen=True, kw_only=True)
class LaneProgram:
    """What the lanes of a pack have in common. is_reference: as Mode has it.

    interventions: those of bench.training.interventions.kinds_of, whose plans are among the buffers of each lane.
    """

    workload: Workload
    method: Method
    optimizer: Optimizer
    schedule: Schedule
    interventions: tuple[Intervention, ...] = ()
    is_reference: bool = False

    @classmethod
    def of(
        cls, trial: Trial, *, interventions: tuple[Intervention, ...] = (), is_reference: bool = False
    ) -> LaneProgram:
        """The program that a trial names. Raises UsageError if the data here are not those of the trial."""
        workload = build(WORKLOADS, trial.workload)
        digest = workload.data_digest()
        if not trial.workload.digest.endswith(digest):
            raise UsageError(
                f"data of {trial.workload.label} differ from those of the suite: SHA-256 {digest[:12]} here, "
                f"{trial.workload.digest[-64:][:12]} there; copy the prepared folder to every machine"
            )
        return cls(
            workload=workload,
            method=intervened(build(METHODS, trial.method), interventions),
            optimizer=build(OPTIMIZERS, trial.optimizer),
            schedule=build(SCHEDULES, trial.schedule),
            interventions=interventions,
            is_reference=is_reference,
        )

    def start(
        self,
        seed: Tensor,
        init_scale: Tensor,
        constants: Tensors | None = None,
        plans: Tensors | None = None,
        batch: Tensors | None = None,
    ) -> Lane:
        """The lane before its first step, in the dtype of `init_scale`.

        constants: the optimizer's that are its own. plans: when, where and how strongly each intervention acts on it.
        batch: of step 0, or the first of its parts, to which a workload that `adapts` is adapted; None: it is not.
        """
        optimizer = self.optimizer_of(constants or {})
        step = torch.zeros((), dtype=torch.int64, device=seed.device)

        def draw(name: str, shape: tuple[int, ...]) -> Tensor:
            return normal(seed, "init." + name, step, shape).to(init_scale.dtype)

        params, buffers = self.workload.init(self.method, draw, init_scale)
        plans = {name: plan.clone() for name, plan in (plans or {}).items()}
        if batch is not None:
            params, buffers = self._adapted(params, buffers, plans, batch, seed, step)
        return {
            "params": params,
            "buffers": buffers | plans,
            "optimizer": {
                name: over_layers(functools.partial(optimizer.init, name), name, p)
                for name, p in stack_layers(params, self.workload.layers).items()
            },
            "constants": {name: value.clone() for name, value in (constants or {}).items()},
            "seed": seed.clone(),
            "alive": torch.ones((), dtype=torch.bool, device=seed.device),
            "diverged_step": torch.full((), -1, dtype=torch.int64, device=seed.device),
        }

    def gradients(self, lane: Lane, batch: Tensors, step: Tensor, part: Tensor) -> Gradients:
        """Gradients of a batch, or of one of its `num_micro_batches` parts (`part`, counted from 0)."""
        refreshed = self.workload.refresh(self.method, lane["params"], lane["buffers"])
        buffers = refreshed | self._of_step(lane, step, part)
        mode = Mode(is_training=True, max_logits=self.method.reads_max_logits, is_reference=self.is_reference)
        batch = intervened_batch(self.interventions, lane["buffers"], batch, step)

        def objective(params: Tensors) -> tuple[Tensor, tuple[Tensor, list[Tensor]]]:
            forward = self.workload.loss(self.method, params, buffers, batch, mode)
            return self.method.scale_loss(forward.objective, step), (forward.loss, forward.watched)

        grads, (loss, max_logits) = with_gradient(objective, lane["params"])
        return {"grads": grads, "loss": loss, "buffers": refreshed, "max_logits": max_logits}

    def update(self, lane: Lane, gradients: Gradients, knobs: Tensors, step: Tensor) -> tuple[Lane, Tensor, Tensor]:
        """The lane after one step, and the loss and gradient norm that the step saw.

        A non-finite loss or gradient norm freezes the lane as it was before the step; from then on both are NaN.
        """
        loss, layers = gradients["loss"], self.workload.layers
        before = stack_layers(lane["params"], layers)
        grads, grad_norm = self.clipped_gradients(lane, gradients, knobs, step)
        params, optimizer = self._stepped(lane, before, grads, knobs, step)
        params = self._limited(params, gradients["max_logits"], lane["params"], step)
        params = intervened_params(self.interventions, lane["buffers"], before, params, layers, step)
        finite = loss.isfinite() & grad_norm.isfinite()
        alive = lane["alive"] & finite
        after: Lane = {
            **lane,
            "params": unstack_layers(_choose(alive, params, before), lane["params"], layers),
            "buffers": _choose(alive, gradients["buffers"], lane["buffers"]),
            "optimizer": _choose(alive, optimizer, lane["optimizer"]),
            "alive": alive,
            "diverged_step": torch.where(lane["alive"] & ~finite, step, lane["diverged_step"]),
        }
        loss, grad_norm = (torch.where(lane["alive"], value, torch.nan) for value in (loss, grad_norm))
        return after, loss, grad_norm

    def train(self, lane: Lane, batch: Tensors, knobs: Tensors, step: Tensor) -> tuple[Lane, Tensor, Tensor]:
        """`update` with the `gradients` of a whole batch."""
        return self.update(lane, self.gradients(lane, batch, step, torch.zeros_like(step)), knobs, step)

    def loss(self, lane: Lane, batch: Tensors, step: Tensor, part: Tensor) -> Tensor:
        """The loss that a step would see of a batch or of one of its parts, dropout included."""
        mode = Mode(is_training=True, is_reference=self.is_reference)
        buffers = self.buffers(lane, step, part)
        return self.workload.loss(self.method, lane["params"], buffers, batch, mode).loss

    def observe(self, lane: Lane, batch: Tensors, step: Tensor, *, probes: tuple[Probe, ...]) -> Tensor:
        """What the probes measure (quantities, layers) on the probed part of a batch, as a step would see it.

        The weights are those that the optimizer evaluates, which need not be those that it trains.
        """
        mode = Mode(probes=probes, is_reference=self.is_reference)
        lane, batch = self._evaluated(lane), self.workload.probe_batch(batch)
        forward = self.workload.loss(self.method, lane["params"], self.buffers(lane, step), batch, mode)
        return torch.stack(forward.watched, dim=-1)

    def look(self, lane: Lane, batch: Tensors, step: Tensor) -> tuple[Tensors, Tensors, list[Tensor]]:
        """Params, buffers and P of every layer (B, H, Q, K) on the probed part of a batch, as `observe` has them."""
        mode = Mode(keeps_weights=True, is_reference=self.is_reference)
        lane, batch = self._evaluated(lane), self.workload.probe_batch(batch)
        buffers = self.buffers(lane, step)
        forward = self.workload.loss(self.method, lane["params"], buffers, batch, mode)
        return lane["params"], buffers, forward.watched

    def evaluate(self, lane: Lane, batch: Tensors, step: Tensor) -> Tensors:
        """The workload's measures on a batch, nothing dropped out."""
        mode, lane = Mode(is_reference=self.is_reference), self._evaluated(lane)
        return self.workload.evaluate(self.method, lane["params"], self.buffers(lane, step), batch, mode)

    def generate(self, lane: Lane, batch: Tensors, step: Tensor) -> Tensor:
        """What the model makes of a held-out batch, (B, ...), nothing dropped out."""
        mode, lane = Mode(is_reference=self.is_reference), self._evaluated(lane)
        return self.workload.generate(self.method, lane["params"], self.buffers(lane, step), batch, mode)

    def scheduled(self, lane: Lane, knobs: Tensors, step: Tensor) -> Tensors:
        """The lane's knobs at a step: `lr` after warmup, schedule and interventions, and the schedule's `lr_factor`."""
        factor = self.schedule.factor(step, knobs["warmup_steps"], self.workload.num_steps)
        lr = intervened_lr(self.interventions, lane["buffers"], knobs["lr"] * factor, step)
        return knobs | {"lr": lr, "lr_factor": factor}

    def buffers(self, lane: Lane, step: Tensor, part: Tensor | None = None) -> Tensors:
        """The lane's buffers as a forward pass of a step, or of a part of its batch, reads them."""
        refreshed = self.workload.refresh(self.method, lane["params"], lane["buffers"])
        return refreshed | self._of_step(lane, step, torch.zeros_like(step) if part is None else part)

    def optimizer_of(self, constants: Tensors) -> Optimizer:
        """The optimizer with a lane's own constants."""
        return dataclasses.replace(self.optimizer, **constants)

    def _evaluated(self, lane: Lane) -> Lane:
        """The lane with the weights that the optimizer evaluates."""
        if type(self.optimizer).evaluated is Optimizer.evaluated:  # those in training: spare the operations
            return lane
        optimizer = self.optimizer_of(lane["constants"])
        params = {
            name: over_layers(functools.partial(optimizer.evaluated, name), name, p, lane["optimizer"][name])
            for name, p in stack_layers(lane["params"], self.workload.layers).items()
        }
        return {**lane, "params": unstack_layers(params, lane["params"], self.workload.layers)}

    def clipped_gradients(
        self, lane: Lane, gradients: Gradients, knobs: Tensors, step: Tensor
    ) -> tuple[Tensors, Tensor]:
        """Stacked gradients as the optimizer gets them, clipped and limited by the method; their norm before that."""
        acted = intervened_grads(self.interventions, lane["buffers"], lane["seed"], gradients["grads"], step)
        stacked = stack_layers(acted, self.workload.layers)
        grad_norm = torch.stack([grad.square().sum() for grad in stacked.values()]).sum().sqrt()
        clip = (knobs["grad_clip"] / (grad_norm + CLIP_EPS)).clamp_max(1)
        clipped = {name: grad * clip for name, grad in stacked.items()}
        return self._of_method(self.method.limit_grads, clipped, step), grad_norm

    def _stepped(
        self, lane: Lane, before: Tensors, grads: Tensors, knobs: Tensors, step: Tensor
    ) -> tuple[Tensors, dict[str, Tensors]]:
        """Stacked params after the optimizer's update, and its state. before, grads: stacked."""
        scheduled = self.scheduled(lane, knobs, step)
        optimizer = self.optimizer_of(lane["constants"])
        params: Tensors = {}
        states: dict[str, Tensors] = {}
        for name, p in before.items():
            update = functools.partial(optimizer.update, name, knobs=optimizer.knobs_of(name, scheduled), step=step)
            params[name], states[name] = over_layers(update, name, p, grads[name], lane["optimizer"][name])
        return params, states

    def _limited(self, stacked: Tensors, max_logits: list[Tensor], like: Tensors, step: Tensor) -> Tensors:
        """Stacked params as the method leaves them after an update. like: params by layer."""
        stacked = self._of_method(self.method.limit_params, stacked, step)
        if not self.method.reads_max_logits:
            return stacked
        by_layer = unstack_layers(stacked, like, self.workload.layers)
        return stack_layers(self.workload.limit(self.method, by_layer, max_logits, step), self.workload.layers)

    def _of_method(self, limit: Callable[[Tensors, Tensor], Tensors], stacked: Tensors, step: Tensor) -> Tensors:
        """Stacked tensors, those that the method added limited layer by layer."""
        for prefix in dict.fromkeys(layer.stacked_prefix + METHOD for layer in self.workload.layers):
            added = part(stacked, prefix)
            if added:
                limited = torch.func.vmap(limit, in_dims=(0, None))(added, step)
                stacked = stacked | {prefix + name: tensor for name, tensor in limited.items()}
        return stacked

    def _adapted(
        self, params: Tensors, buffers: Tensors, plans: Tensors, batch: Tensors, seed: Tensor, step: Tensor
    ) -> tuple[Tensors, Tensors]:
        """What the workload gave, adapted to a batch while nothing intervenes."""
        idle = in_layers(self.interventions, plans, torch.full_like(step, -1), self.workload.layers)
        own = buffers | idle | {"step": step, "seed": seed, "draw": step}
        params, own = self.workload.adapted(self.method, params, own, batch, Mode(is_reference=self.is_reference))
        return params, {name: own[name] for name in buffers}

    def _of_step(self, lane: Lane, step: Tensor, part: Tensor) -> Tensors:
        """What the buffers hold while a step is computed: its counters, and what intervenes in it."""
        acting = in_layers(self.interventions, lane["buffers"], step, self.workload.layers)
        return acting | {"step": step, "seed": lane["seed"], "draw": step * self.workload.num_micro_batches + part}


def _choose(condition: Tensor, new: Any, old: Any) -> Any:
    """Of two tensors, or nested dicts of them: the new one where the condition, a scalar, holds."""
    if isinstance(new, dict):
        return {name: _choose(condition, new[name], old[name]) for name in new}
    return torch.where(condition, new, old)
