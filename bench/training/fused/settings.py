"""The struct Settings of step.c, and the tensors that it points to.

Shapes: C lanes that are computed, T steps of a call, P parameters, M moments, N constants, B buffers.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.optimizers.adam import correction
from bench.optimizers.base import Tensors
from bench.optimizers.layers import ALL
from bench.training.fused.program import Packed, decays, limits, packed
from bench.training.lane import Lane, LaneProgram

if TYPE_CHECKING:
    from torch import Tensor

COUNTS = ("first_step", "num_steps", "num_lanes", "stride", "is_training")
POINTERS = (
    "seeds_C",
    "places_C",
    "decays_P",
    "limits_P",
    "constants_CN",
    "of_steps_TCN",
    "params_CP",
    "moments_CMP",
    "buffers_CB",
    "alive_C",
    "diverged_step_C",
    "loss_TL",
    "grad_norm_TL",
)


class Settings(ctypes.Structure):
    """The struct of this name in the source."""

    _fields_ = (*((name, ctypes.c_int64) for name in COUNTS), *((name, ctypes.c_void_p) for name in POINTERS))


def settings(counts: dict[str, int], tensors: Tensors) -> Settings:
    """The struct that points to these tensors, which have to outlive it."""
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    return Settings(**counts, **{name: tensor.data_ptr() or None for name, tensor in tensors.items()})


def packed_lanes(lanes: Lane, order: Packed, depth: int) -> Tensors:
    """Copies of what lanes train and keep, as the C program has it: params_CP, moments_CMP, buffers_CB."""
    rows = _tensors_of(lanes, order, depth)
    like = rows["params_CP"][0]
    return {
        name: torch.cat([t.reshape(len(like), -1) for t in row], dim=1) if row else like.new_zeros(len(like), 0)
        for name, row in rows.items()
    }


def unpack_into(lanes: Lane, kept: Tensors, order: Packed, depth: int) -> None:
    """Of `packed_lanes` what the C program made of it, into the tensors of lanes, in place."""
    for name, tensors in _tensors_of(lanes, order, depth).items():
        parts = kept[name].split([tensor[0].numel() for tensor in tensors], dim=1) if tensors else ()
        for to, part in zip(tensors, parts, strict=True):
            to.copy_(part.reshape(to.shape))


def _tensors_of(lanes: Lane, order: Packed, depth: int) -> dict[str, list[Tensor]]:
    """A lane's tensors in the packed order, those of layers one after the other."""

    def by_layer(tensors: Tensors, names: Any) -> list[Tensor]:
        return [tensors[name.replace(ALL, str(layer))] for name in names for layer in range(depth)]

    return {
        "params_CP": by_layer(lanes["params"], order.params),
        "moments_CMP": [lanes["optimizer"][name][moment] for moment in order.moments for name in order.params],
        "buffers_CB": by_layer(lanes["buffers"], order.buffers),
    }


def constants_of(program: LaneProgram, lanes: Lane, knobs: Tensors) -> Tensors:
    """What stays as it is during training: constants_CN, in the order of the enum in optimizers.c, and of each
    parameter decays_P and limits_P.
    """
    like = knobs["lr"]

    def constant(name: str) -> Tensor:
        return _constant(program, lanes, name, like)

    columns = [knobs["weight_decay"].double(), knobs["grad_clip"].double(), constant("beta1"), 1 - constant("beta1")]
    columns += [constant("beta2"), 1 - constant("beta2"), constant("eps"), constant("momentum")]
    return {
        "constants_CN": torch.stack(columns, dim=1).to(like.dtype),
        "decays_P": torch.tensor(decays(program), dtype=torch.uint8, device=like.device),
        "limits_P": torch.tensor(limits(program), dtype=like.dtype, device=like.device),
    }


def of_steps(program: LaneProgram, lanes: Lane, knobs: Tensors, first_step: int, num_steps: int) -> Tensor:
    """(T, C, 4): learning rate, the schedule's factor, and Adam's two corrections (1 of other optimizers)."""
    lr_C, warmup_C = knobs["lr"], knobs["warmup_steps"]
    steps_T = torch.arange(first_step, first_step + num_steps, device=lr_C.device)

    def factor(step: Tensor, warmup_steps: Tensor) -> Tensor:
        return program.schedule.factor(step, warmup_steps, program.workload.num_steps)

    over_lanes = torch.func.vmap(factor, in_dims=(None, 0))
    factor_TC = torch.func.vmap(over_lanes, in_dims=(0, None))(steps_T, warmup_C).to(lr_C.dtype)
    corrections = [
        correction(_constant(program, lanes, name, lr_C), steps_T[:, None], lr_C.dtype)
        if packed(program).moments == ("first", "second")
        else torch.ones_like(factor_TC)
        for name in ("beta1", "beta2")
    ]
    return torch.stack([lr_C * factor_TC, factor_TC, *corrections], dim=-1)


def _constant(program: LaneProgram, lanes: Lane, name: str, like: Tensor) -> Tensor:
    """A constant of the optimizer, (C,) in float64, each lane's own where they differ; 0 where it has none."""
    if name in lanes["constants"]:
        return lanes["constants"][name].double()
    return torch.full_like(like, getattr(program.optimizer, name, 0.0), dtype=torch.float64)
