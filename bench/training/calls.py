"""Calls: what a pack in training calls step after step, compiled; all of it writes in place.

Shapes: L lanes, C of them that are computed, E batches of held-out data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.training.compile import Cost, compile_for, cost, repeatable, trace
from bench.training.history import History
from bench.training.inductor import Inductor
from bench.training.lane import Gradients, Lane
from bench.training.lanes import Batch
from bench.training.living import Living
from bench.training.observing import Observed, observe_once, observing
from bench.training.parts import MeanGradients
from bench.training.tree import copy_tensors, map_tensors

if TYPE_CHECKING:
    from torch import Tensor

Call = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Callables without arguments, of tensors as they are when they are made: made anew when lanes leave.

    fixed: the batches of step 0. counters: step, part, batch, and of each observation, (1,). pool: memory that all
    calls share. num_steps, num_parts: of the training, and of a batch.
    """

    device: torch.device
    living: Living
    history: History
    chunk: Batch
    fixed: Batch
    held_out: Batch
    counters: Batch
    inductor: Inductor
    pool: Any
    num_steps: int
    num_parts: int

    @property
    def observed(self) -> Observed:
        """What observations read."""
        living, step = self.living, self.counters["step"]
        return Observed(
            stacked=living.stacked,
            lanes=living.lanes,
            chunk=self.chunk,
            fixed=self.fixed,
            knobs=living.knobs,
            step=step,
        )

    def step(self) -> Call:
        """One update of all lanes, with a whole batch or with its parts one after the other."""
        if self.num_parts > 1:
            return self._step_of_parts()
        return self._callable(self.living.stacked.train, self._of_step, self._keep_trained, num_calls=self.num_steps)

    def observation(self, name: str) -> Call:
        """Measures what the probes of an observation measure and keeps it in the history's tensor of that name."""
        row = self.counters[name]

        def keep_observed(observed_CQA: Tensor) -> None:
            self._write(name, row, observed_CQA)
            row.add_(1)

        each = self.history.observations[name]
        return observing(each, self.observed, callable_of=self._callable, keep=keep_observed)

    def evaluation(self) -> tuple[Call, Batch]:
        """Measures on the held-out batch that the counter names, and the tensors (C,) that it writes them to."""
        function, arguments = self.living.stacked.evaluate_held_out, self._of_held_out
        num_calls = len(self.history.eval_rows) * next(iter(self.held_out.values())).shape[0]
        evaluate, example = self._compiled(function, arguments, num_calls=num_calls)
        measures = map_tensors(example, torch.zeros_like)
        del example
        return self._repeated(evaluate, arguments, functools.partial(copy_tensors, measures)), measures

    def initial_loss(self, fill: Callable[[int], None], *, num_batches: int) -> Tensor:
        """Mean loss, (L,) in float64, of lanes as they are over the batches of the first steps; counters start at 0.

        fill: has the chunk hold the data of a step.
        """
        loss_L = torch.zeros_like(self.history.tensors["initial_loss"])
        step, part = self.counters["step"], self.counters["part"]
        num_calls = num_batches * self.num_parts
        loss_once = self._callable(self.living.stacked.loss, self._of_part, loss_L.copy_, num_calls=num_calls)
        total_L = torch.zeros(len(loss_L), dtype=torch.float64, device=self.device)
        for number in range(num_batches):
            fill(number)
            step.fill_(number)
            for number_of_part in range(self.num_parts):
                part.fill_(number_of_part)
                loss_once()
                total_L += loss_L
        step.zero_()
        return total_L / num_calls

    def dry_step(self, *, only_training: bool) -> None:
        """Compute one step (of a batch in parts: one part and the update), one observation and one evaluation.

        Compiles nothing and keeps nothing.
        """
        living, stacked = self.living, self.living.stacked
        with torch.no_grad():
            if self.num_parts == 1:
                stacked.train(*self._of_step)
            else:
                gradients = stacked.gradients(*self._of_part)
                stacked.update(living.lanes, gradients, living.knobs, self.counters["step"])
                del gradients
            if only_training:
                return
            for each in self.history.observations.values():
                observe_once(each, self.observed)
            stacked.loss(*self._of_part)
            if self.held_out:
                stacked.evaluate_held_out(*self._of_held_out)

    def step_cost(self) -> Cost:
        """What one step costs, or the gradients of one part of its batch."""
        if self.num_parts > 1:
            return cost(trace(self.living.stacked.gradients, self._of_part)[0])
        return cost(trace(self.living.stacked.train, self._of_step)[0])

    @property
    def _of_step(self) -> tuple[Lane, Batch, Batch, Tensor]:
        return self.living.lanes, self.chunk, self.living.knobs, self.counters["step"]

    @property
    def _of_part(self) -> tuple[Lane, Batch, Tensor, Tensor]:
        return self.living.lanes, self.chunk, self.counters["step"], self.counters["part"]

    @property
    def _of_held_out(self) -> tuple[Lane, Batch, Tensor, Tensor]:
        return self.living.lanes, self.held_out, self.counters["batch"], self.counters["step"]

    def _step_of_parts(self) -> Call:
        """The gradients of each part of a batch, then the update with their mean, as one callable."""
        living, part = self.living, self.counters["part"]
        with torch.no_grad():
            mean = MeanGradients(living.stacked.gradients(*self._of_part), num_parts=self.num_parts)

        def keep_part(gradients: Gradients) -> None:
            mean.add(gradients)
            part.add_(1)

        num_calls = self.num_steps * self.num_parts
        add_part = self._callable(living.stacked.gradients, self._of_part, keep_part, num_calls=num_calls)
        arguments = (living.lanes, mean.tensors, living.knobs, self.counters["step"])
        update = self._callable(living.stacked.update, arguments, self._keep_trained, num_calls=self.num_steps)

        def step_once() -> None:
            part.zero_()
            mean.clear()
            for _ in range(self.num_parts):
                add_part()
            update()

        return step_once

    def _keep_trained(self, trained: tuple[Lane, Tensor, Tensor]) -> None:
        """Write in place what an update gave: the lanes after it, and the loss and gradient norm that it saw."""
        lanes, loss_C, grad_norm_C = trained
        step = self.counters["step"]
        copy_tensors(self.living.lanes, lanes)
        self._write("loss", step, loss_C)
        self._write("grad_norm", step, grad_norm_C)
        step.add_(1)

    def _write(self, name: str, row: Tensor, values_C: Tensor) -> None:
        """Into a row of the history's tensor of that name; of lanes that left, NaN."""
        values_L = values_C if self.living.is_whole else self.living.placed(values_C)
        self.history.tensors[name].index_copy_(0, row, values_L[None])

    def _callable(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keep: Callable[[Any], Any], *, num_calls: int
    ) -> Call:
        """`function` of fixed tensors, compiled; what it gives is handed to `keep`, which writes in place."""
        return self._repeated(self._compiled(function, arguments, num_calls=num_calls)[0], arguments, keep)

    def _compiled(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], *, num_calls: int
    ) -> tuple[Callable[..., Any], Any]:
        return compile_for(self.device, function, arguments, num_calls=num_calls, inductor=self.inductor)

    def _repeated(self, run: Callable[..., Any], arguments: tuple[Any, ...], keep: Callable[[Any], Any]) -> Call:
        """What is compiled as a callable without arguments, in the memory that all calls of the pack share."""
        return repeatable(self.device, lambda: keep(run(*arguments)), lambda: run(*arguments), self.pool)
