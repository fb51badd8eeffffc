"""FusedTrainer: steps of all lanes of a pack by the C program of this room, in the tensors that PackRun has.

Shapes: L lanes of a pack, C of them that are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.native import compiler
from bench.optimizers.base import Tensors
from bench.training.fused import cpu, cuda
from bench.training.fused.program import Macros, macros, packed, trains
from bench.training.fused.settings import Settings, constants_of, of_steps, packed_lanes, settings, unpack_into
from bench.training.lane import Lane, LaneProgram

if TYPE_CHECKING:
    from torch import Tensor

Train = Callable[[Settings, "Tensor"], None]


class FusedTrainer:
    """train: of a device, what runs the program that a struct describes on lanes of these seeds."""

    def __init__(self, program: LaneProgram, train: Train) -> None:
        self._program, self._train = program, train
        self._order, self._depth = packed(program), program.workload.num_layers

    def train(
        self, lanes: Lane, knobs: Tensors, history: Tensors, places_C: Tensor, *, first_step: int, num_steps: int
    ) -> None:
        """Steps from first_step on, in place: of lanes, and of rows of `loss` and `grad_norm` (steps, L)."""
        rows = slice(first_step, first_step + num_steps)
        traced = {name: history[name][rows] for name in ("loss", "grad_norm")}
        kept = self._run(lanes, knobs, traced, places_C, first_step=first_step, is_training=True)
        unpack_into(lanes, kept, self._order, self._depth)

    def losses(self, lanes: Lane, knobs: Tensors, *, num_steps: int) -> Tensor:
        """(num_steps, C): the losses that lanes as they are would have on the batches of the first steps."""
        loss_TC = torch.full_like(knobs["lr"].expand(num_steps, -1), torch.nan)
        traced = {"loss": loss_TC, "grad_norm": loss_TC}
        places_C = torch.arange(loss_TC.shape[1], device=loss_TC.device)
        self._run(lanes, knobs, traced, places_C, first_step=0, is_training=False)
        return loss_TC

    def _run(
        self, lanes: Lane, knobs: Tensors, traced: Tensors, places_C: Tensor, *, first_step: int, is_training: bool
    ) -> Tensors:
        num_steps, stride = traced["loss"].shape
        kept = packed_lanes(lanes, self._order, self._depth)
        tensors = {
            "seeds_C": lanes["seed"],
            "places_C": places_C,
            **constants_of(self._program, lanes, knobs),
            "of_steps_TCN": of_steps(self._program, lanes, knobs, first_step, num_steps),
            **kept,
            "alive_C": lanes["alive"],
            "diverged_step_C": lanes["diverged_step"],
            "loss_TL": traced["loss"],
            "grad_norm_TL": traced["grad_norm"],
        }
        counts = {"first_step": first_step, "num_steps": num_steps, "num_lanes": len(places_C)}
        counts |= {"stride": stride, "is_training": is_training}
        self._train(settings(counts, tensors), lanes["seed"])
        return kept


def knows(program: LaneProgram, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the C program can train this, and the device has what compiles it."""
    return dtype in _precisions() and device.type in TRAINS and IS_INSTALLED[device.type]() and trains(program)


def fused_trainer(program: LaneProgram, device: torch.device, dtype: torch.dtype) -> FusedTrainer:
    """What trains lanes of a program that `knows` says yes to; compiled here, where it is not kept.

    Raises FusedError with the reason where it does not compile or load.
    """
    of_program = macros(program) | {"PRECISION": _precisions()[dtype]}
    try:
        return FusedTrainer(program, TRAINS[device.type](of_program))
    except (RuntimeError, OSError, ImportError) as error:
        raise FusedError(str(error)) from error


class FusedError(Exception):
    """The C program can't be had on this machine; the message says why."""


def _precisions() -> dict[torch.dtype, int]:
    return {torch.float32: 32, torch.float64: 64}


def _on_processor(of_program: Macros) -> Train:
    library = cpu.library(of_program)
    if library is None:
        raise OSError("the C compiler failed")
    return lambda struct, seeds_C: cpu.train(library, struct, seeds_C)


def _on_gpu(of_program: Macros) -> Train:
    kernel = cuda.kernel(tuple(of_program.items()))
    return lambda struct, seeds_C: kernel.train(struct)


TRAINS: dict[str, Callable[[Macros], Train]] = {"cpu": _on_processor, "cuda": _on_gpu}
IS_INSTALLED: dict[str, Callable[[], bool]] = {"cpu": lambda: bool(compiler()), "cuda": cuda.is_installed}
