"""Probes of the loss's curvature: sharpness, curvature along gradient and update, critical sharpness.

All read the loss that is differentiated, dense and without dropout: no fused attention has a second derivative. Shapes:
N parameters, K iterations of Lanczos.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge

from bench.derivatives import hessian_product, with_gradient
from bench.lanczos import begun, iterated, largest, unit
from bench.lazy import torch
from bench.probes.model import IteratedProbe, Model, ModelProbe, Tensors
from bench.randomness import normal
from bench.trace import Quantity, unbounded

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[[Tensors], "Tensor"]


def flat(tensors: Mapping[str, Tensor]) -> Tensor:
    """All elements in one row, (N,), in the order of names."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors.values()])


def unflat(row_N: Tensor, like: Mapping[str, Tensor]) -> Tensors:
    """The inverse of `flat`."""
    parts = row_N.split([tensor.numel() for tensor in like.values()])
    return {name: part.reshape(tensor.shape) for (name, tensor), part in zip(like.items(), parts, strict=True)}


def loss_of(model: Model, *, batch: Literal["fixed", "step"], examples: int) -> Loss:
    """The loss by parameters on the first examples of a batch, all if it has fewer."""
    whole = model.fixed_batch if batch == "fixed" else model.step_batch
    part = {name: tensor[:examples] for name, tensor in whole.items()}
    return lambda params: model.loss_on(params, part)


def _curvature(title: str, definition: str, low: float = -float("inf")) -> Quantity:
    return Quantity(title=title, unit="1", low=low, high=unbounded, definition=definition)


@dataclass(frozen=True, kw_only=True)
class HessianEigenvalue(IteratedProbe):
    """The largest eigenvalue of the Hessian, algebraically, on a fixed batch, the first `examples` of step 0.

    By Lanczos, from below, from a random start. One product with the Hessian an iteration, each about 4 gradients.
    """

    source = "Cohen et al. 2021"
    quantities: ClassVar = {
        "hessian_eigenvalue": _curvature(
            "Largest eigenvalue of the Hessian",
            "algebraically largest eigenvalue of the Hessian of the loss on a fixed batch, by Lanczos from below; "
            "negative where the loss is concave in all directions tried",
        ),
    }

    every: Annotated[int, Ge(1)] | None = 600
    iterations: Annotated[int, Ge(1)] = 12
    examples: Annotated[int, Ge(1)] = 8

    @property
    def num_iterations(self) -> int:
        return self.iterations

    def begin(self, model: Model) -> Tensors:
        return begun(_noise(model), self.iterations)

    def iterate(self, model: Model, carried: Tensors, index: Tensor) -> Tensors:
        loss = loss_of(model, batch="fixed", examples=self.examples)
        _, product = hessian_product(loss, model.params, unflat(carried["current"], model.params))
        return iterated(carried, flat(product), index)

    def end(self, model: Model, carried: Tensors) -> dict[str, Tensor]:
        return {"hessian_eigenvalue": largest(carried)}


@dataclass(frozen=True, kw_only=True)
class Sharpness(IteratedProbe):
    """The largest eigenvalue of P^-1/2 H P^-1/2, P the optimizer's preconditioner, and its ratio to the edge.

    H is the Hessian on a fixed batch, the first `examples` of step 0; P is that of the coming step, its gradient in it.
    By Lanczos, from below, from the step's gradient and a random direction. One product with the Hessian an iteration,
    each about 4 gradients of those examples, and one further step of training. Above an edge ratio of 1 a quadratic
    loss grows; training hovers there and need not diverge.
    """

    source = "Cohen et al. 2021 and 2022"
    needs = ("edge", "whole batches")
    quantities: ClassVar = {
        "sharpness": _curvature(
            "Sharpness",
            "algebraically largest eigenvalue of P^-1/2 H P^-1/2 on a fixed batch, P = 1 for SGD and (1 - beta1^t) "
            "(sqrt(v_t / (1 - beta2^t)) + eps) for Adam (Cohen et al. 2022), by Lanczos from below",
        ),
        "edge_ratio": _curvature(
            "Sharpness / edge",
            "`sharpness` over that above which the optimizer diverges on a quadratic at the step's learning rate: 2/lr "
            "for SGD, 2 (1 + b)/lr with momentum, (2 + 2b)/((1 + 2b) lr) with Nesterov's, (2 + 2b)/((1 - b) lr) for "
            "Adam, each with its weight decay",
        ),
    }

    every: Annotated[int, Ge(1)] | None = 600
    iterations: Annotated[int, Ge(1)] = 12
    examples: Annotated[int, Ge(1)] = 8

    @property
    def num_iterations(self) -> int:
        return self.iterations

    def begin(self, model: Model) -> Tensors:
        update, noise_N = model.update, _noise(model)
        if update.preconditioner is None or update.edge is None:
            fixed = {"root": torch.ones_like(noise_N), "edge": model.missing()}
            return begun(noise_N, self.iterations) | fixed
        root_N = flat({name: update.preconditioner[name] for name in model.params}).sqrt()
        grad_N = flat({name: update.grads[name] for name in model.params})
        fixed = {"root": root_N, "edge": update.edge}
        return begun(unit(grad_N / root_N) + unit(noise_N), self.iterations) | fixed

    def iterate(self, model: Model, carried: Tensors, index: Tensor) -> Tensors:
        loss = loss_of(model, batch="fixed", examples=self.examples)
        direction = unflat(carried["current"] / carried["root"], model.params)
        _, product = hessian_product(loss, model.params, direction)
        return carried | iterated(carried, flat(product) / carried["root"], index)

    def end(self, model: Model, carried: Tensors) -> dict[str, Tensor]:
        sharpness, edge = largest(carried), carried["edge"]
        return {"sharpness": torch.where(edge.isnan(), edge, sharpness), "edge_ratio": sharpness / edge}


@dataclass(frozen=True, kw_only=True)
class Curvature(ModelProbe):
    """Curvature along the gradient and along the update, and how far each is from where the loss would rise.

    batch: fixed, the first `examples` of step 0, or step, those of the step's own batch: of the latter the mean over
    steps of the curvature along the gradient is batch sharpness. Two products with the Hessian and a gradient of those
    examples, about 9 gradients, and one further step of training.
    """

    source = "Cohen et al. 2021; Bai et al. 2025 (2506.04805); Andreyev & Beneventano 2024 (2412.20553)"
    needs = ("whole batches",)
    quantities: ClassVar = {
        "gradient_curvature": _curvature(
            "Curvature along the gradient",
            "g' P^-1 H g / |g|^2, P = 1 where the optimizer has no preconditioner (Bai et al. 2025 for Adam)",
        ),
        "gradient_edge_ratio": _curvature(
            "Curvature along the gradient / edge",
            "`gradient_curvature` over the edge of `sharpness`; of an optimizer that has one",
        ),
        "update_curvature": _curvature(
            "Curvature along the update",
            "d' H d / d' g, d the update over -lr: the directional sharpness; infinite where d is orthogonal to g",
        ),
        "update_edge_ratio": _curvature(
            "Curvature along the update / edge",
            "d' H d lr / (2 d' g): above 1 a quadratic loss is larger after the step than before",
        ),
    }

    every: Annotated[int, Ge(1)] | None = 200
    batch: Literal["fixed", "step"] = "fixed"
    examples: Annotated[int, Ge(1)] = 8

    def measure_model(self, model: Model) -> dict[str, Tensor]:
        loss, update, params = loss_of(model, batch=self.batch, examples=self.examples), model.update, model.params
        grad, _ = with_gradient(lambda at: (loss(at), ()), params)
        _, along_grad = hessian_product(loss, params, grad)
        grad_N, curved_N = flat(grad), flat(along_grad)
        values = dict.fromkeys(self.quantities, model.missing())
        preconditioner = update.preconditioner
        if preconditioner is not None:
            curved_N = curved_N / flat({name: preconditioner[name] for name in params})
        values["gradient_curvature"] = (grad_N * curved_N).sum() / grad_N.square().sum()
        if update.edge is not None:
            values["gradient_edge_ratio"] = values["gradient_curvature"] / update.edge
        added = {name: update.after[name] - params[name] for name in params}
        _, along_update = hessian_product(loss, params, added)
        added_N = flat(added)
        ratio = (added_N * flat(along_update)).sum() / -(added_N * grad_N).sum()
        return values | {"update_curvature": ratio / update.lr, "update_edge_ratio": ratio / 2}


@dataclass(frozen=True, kw_only=True)
class CriticalSharpness(IteratedProbe):
    """How far along the update the loss of a fixed batch rises: 2/lr_c, lr_c the least learning rate at which it does.

    The first `examples` of step 0. From the step's own learning rate lr_c is doubled or halved until it is bracketed,
    then bisected: `iterations` forward passes, each about a third of a gradient of those examples, and one further step
    of training. Twelve reach from 1/64 to 64 times the step's rate, and to 1/16 of lr_c within 8 times of it.
    """

    source = "Scalable measurement of critical sharpness, Kalra & Barkeshli 2023; 2601.16979"
    needs = ("whole batches",)
    quantities: ClassVar = {
        "critical_sharpness": _curvature(
            "Critical sharpness",
            "2 / lr_c, lr_c the least learning rate at which the step's update raises the loss of a fixed batch, as "
            "bracketed; not above sharpness for plain SGD",
            low=0.0,
        ),
        "critical_edge_ratio": _curvature(
            "Learning rate / critical one",
            "lr / lr_c: above 1 the step raises the loss of a fixed batch",
            low=0.0,
        ),
    }

    every: Annotated[int, Ge(1)] | None = 100
    iterations: Annotated[int, Ge(4)] = 12
    examples: Annotated[int, Ge(1)] = 8

    @property
    def num_iterations(self) -> int:
        return self.iterations

    def begin(self, model: Model) -> Tensors:
        loss = loss_of(model, batch="fixed", examples=self.examples)
        one = torch.ones_like(model.missing())
        added_N = flat({name: model.update.after[name] - p for name, p in model.params.items()})
        fixed = {"added": added_N, "loss": loss(model.params), "lr": model.update.lr}
        return fixed | {"low": 0 * one, "high": torch.inf * one}

    def iterate(self, model: Model, carried: Tensors, index: Tensor) -> Tensors:
        loss, factor = loss_of(model, batch="fixed", examples=self.examples), _factor(carried)
        moved = unflat(flat(model.params) + factor * carried["added"], model.params)
        rises = ~(loss(moved) <= carried["loss"])
        low = torch.where(rises, carried["low"], factor)
        return carried | {"low": low, "high": torch.where(rises, factor, carried["high"])}

    def end(self, model: Model, carried: Tensors) -> dict[str, Tensor]:
        is_bracketed = (carried["low"] > 0) & carried["high"].isfinite()
        ratio = torch.where(is_bracketed, 2 / (carried["low"] + carried["high"]), torch.nan)
        return {"critical_sharpness": 2 * ratio / carried["lr"], "critical_edge_ratio": ratio}


def _factor(carried: Tensors) -> Tensor:
    """The next learning rate to try, over the step's own."""
    low, high = carried["low"], carried["high"]
    untried = torch.where(low > 0, 2 * low, torch.ones_like(low))
    inside = torch.where(low > 0, (low + high) / 2, high / 2)
    return torch.where(high.isfinite(), inside, untried)


def _noise(model: Model) -> Tensor:
    size = (sum(p.numel() for p in model.params.values()),)
    return normal(model.seed, "probes.start", torch.zeros_like(model.step), size).to(model.missing())
