"""train_pack(): the only training loop. Models of one trial, stacked into lanes and trained as one.

Shapes: L lanes, S distinct seeds, T steps of a chunk, E batches of held-out data. A lane whose loss or gradient norm is
not finite is frozen at that step and recorded; its neighbours never see it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.lazy import polars, torch
from bench.training.compile import Cost, compile_for, cost, new_pool, repeatable, trace
from bench.training.history import History
from bench.training.lane import LaneProgram
from bench.training.lanes import StackedProgram
from bench.training.pack import Pack
from bench.training.tree import copy_tensors, map_tensors, tensors_of
from bench.trial import KNOB_NAMES, Result

if TYPE_CHECKING:
    from torch import Tensor

CHUNK_BYTES = 16 * 2**20  # of data generated at a time
MAX_CHUNK_STEPS = 64  # between two looks at the clock


def train_pack(pack: Pack, *, device: str = "cpu") -> tuple[list[Result], dict[str, polars.DataFrame]]:
    """Train a pack to its end: results in the order of its lanes, traces (TRACE_COLUMNS) by trial id."""
    run = PackRun(pack, device=device)
    run.advance()
    return run.results(), run.traces()


class PackRun:
    """A pack in training: `advance` it, save and load its `state`, read `results` and `traces` when `done`.

    is_reference: attention by the dense reference alone. Raises UsageError if the data here are not the trials'.
    """

    def __init__(self, pack: Pack, *, device: str = "cpu", dtype: str = "float32", is_reference: bool = False) -> None:
        self.pack = pack
        self.device = torch.device(device)
        self.program = LaneProgram.of(pack.trials[0], is_reference=is_reference)
        assert len(pack.trials) <= (self.program.workload.max_lanes or len(pack.trials)), "more lanes than allowed"
        self.num_steps = pack.trials[0].num_steps
        self.step = 0
        self.wall_s = 0.0
        self._dtype = getattr(torch, dtype)
        self._num_parts = self.program.workload.num_micro_batches
        self._history = History(pack, self.program.workload, device=self.device, dtype=self._dtype)
        self._start_lanes()
        self._start_chunk()
        # Evaluations need no more memory than training: a batch in as many parts.
        held_out = self._cast(self.program.workload.held_out(self.device))
        self._held_out = {n: t.unflatten(1, (self._num_parts, -1)).flatten(0, 1) for n, t in held_out.items()}
        self._counters = {
            name: torch.zeros(1, dtype=torch.int64, device=self.device)
            for name in ("step", "part", "batch", *self._history.observations)
        }
        self._measures: dict[str, Tensor] = {}  # of either evaluation: captured graphs write to the same tensors
        self._is_compiled = False
        self._is_measured = False  # the initial loss

    @property
    def done(self) -> bool:
        return self.step >= self.num_steps

    @property
    def num_diverged(self) -> int:
        """Lanes frozen so far."""
        return sum(self.has_diverged)

    @property
    def has_diverged(self) -> list[bool]:
        """Of each lane, so far."""
        return (~self._lanes["alive"]).tolist()

    def advance(self, *, max_steps: int | None = None, max_seconds: float = float("inf")) -> None:
        """Train until done, or until `max_steps` or `max_seconds` are used up.

        The clock starts after compilation and is read after each chunk, so that every call gets on.
        """
        started = time.monotonic()
        stop = self.num_steps if max_steps is None else min(self.num_steps, self.step + max_steps)
        if not self._is_compiled:
            self._compile()
        if not self._is_measured:
            self._measure_initial_loss()
        deadline = time.monotonic() + max_seconds
        while self.step < stop:
            self._fill_chunk()
            chunk_end = (self.step // self._chunk_steps + 1) * self._chunk_steps
            self._run_to(min(chunk_end, stop))
            if self.num_diverged == len(self.pack.trials):
                self.step = self.num_steps  # nothing is left to train
            if self.done:
                self._evaluate_if_due()
            if time.monotonic() > deadline:
                break
        self.wall_s += time.monotonic() - started

    def dry_step(self, *, only_training: bool = False) -> None:
        """Compute one step (of a batch in parts: one part and the update), one observation and one evaluation.

        Keeps nothing: for measuring without compiling.
        """
        counters = self._counters
        with torch.no_grad():
            if self._num_parts == 1:
                self._stacked.train(self._lanes, self._chunk, self._knobs, counters["step"])
            else:
                seen = self._stacked.gradients(self._lanes, self._chunk, counters["step"], counters["part"])
                self._stacked.update(self._lanes, seen, self._knobs, counters["step"])
                del seen
            if only_training:
                return
            for each in self._history.observations.values():
                self._stacked.observe(self._lanes, self._chunk, counters["step"], probes=each.probes)
            self._stacked.evaluate(self._lanes, self._chunk, counters["step"], counters["part"])

    def look(self) -> tuple[dict[str, Tensor], dict[str, Tensor], list[Tensor]]:
        """Of all lanes what the coming step sees: params, buffers, P of every layer (L, B, H, Q, K) on the probed part.

        Changes nothing, and what it gives stays as it is when training goes on.
        """
        assert not self.done, "a run that is done has no coming step"
        self._fill_chunk()
        with torch.no_grad():
            seen = self._stacked.look(self._lanes, self._chunk, self._counters["step"])
        return map_tensors(seen, lambda t: t.clone())

    def step_cost(self) -> Cost:
        """Of one step, or of one part of its batch."""
        counters = self._counters
        if self._num_parts > 1:
            arguments = (self._lanes, self._chunk, counters["step"], counters["part"])
            return cost(trace(self._stacked.gradients, arguments)[0])
        return cost(trace(self._stacked.train, (self._lanes, self._chunk, self._knobs, counters["step"]))[0])

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on, on the CPU; `load` of it continues bit for bit on the same device."""
        kept = {"lanes": self._lanes, "history": self._history.tensors}
        return {
            "pack": self.pack.id,
            "step": self.step,
            "wall_s": self.wall_s,
            **map_tensors(kept, lambda t: t.cpu().clone()),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of the same pack. Raises ValueError for another pack's."""
        if state["pack"] != self.pack.id:
            raise ValueError(f"checkpoint of pack {state['pack']}, this is pack {self.pack.id}")
        self.step, self.wall_s = state["step"], state["wall_s"]
        self._is_measured = self.step > 0
        copy_tensors(self._lanes, state["lanes"])
        copy_tensors(self._history.tensors, state["history"])
        self._counters["step"].fill_(self.step)
        for name, each in self._history.observations.items():
            self._counters[name].fill_(sum(step < self.step for step in each.steps))

    def results(self) -> list[Result]:
        """How each lane ended, in the order of the pack."""
        assert self.done, "results of a pack that is not done"
        return self._history.results(self._lanes["diverged_step"].tolist(), self.wall_s)

    def traces(self) -> dict[str, polars.DataFrame]:
        """What was measured, by trial id: TRACE_COLUMNS, up to and with the step at which a lane diverged."""
        return self._history.traces(self._lanes["diverged_step"].tolist())

    def _start_lanes(self) -> None:
        seeds = sorted({trial.seed for trial in self.pack.trials})
        self._seeds_S = torch.tensor(seeds, device=self.device)
        seed_index_L = torch.tensor([seeds.index(trial.seed) for trial in self.pack.trials], device=self.device)
        self._stacked = StackedProgram(program=self.program, seed_index_L=seed_index_L, num_parts=self._num_parts)
        self._knobs = {
            name: torch.tensor(self.pack.knob_lanes(name), dtype=self._dtype, device=self.device) for name in KNOB_NAMES
        }
        # Of float64: an optimizer's 1 - beta2 is off by 1e-5 of itself in float32.
        constants = {
            name: torch.tensor(values, dtype=torch.float64, device=self.device)
            for name, values in self.pack.constant_lanes().items()
        }
        start = self._stacked.start(self._seeds_S[seed_index_L], self._knobs["init_scale"], constants)
        # Clones: tensors that do not depend on the lane come out of vmap as views of one value.
        self._lanes = map_tensors(start, lambda t: t.contiguous().clone())

    def _start_chunk(self) -> None:
        one_step = self._batches(0, 1)
        num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in one_step.values())
        self._chunk_steps = max(1, min(MAX_CHUNK_STEPS, self.num_steps, CHUNK_BYTES // num_bytes))
        self._chunk = self._batches(0, self._chunk_steps)
        self._chunk_start = 0

    def _batches(self, first_step: int, num_steps: int) -> dict[str, Tensor]:
        steps_T = torch.arange(first_step, first_step + num_steps, device=self.device)
        return self._cast(self.program.workload.batches(self._seeds_S, steps_T))

    def _cast(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return map_tensors(batch, lambda t: t.to(self._dtype) if t.is_floating_point() else t)

    def _fill_chunk(self) -> None:
        start = self.step // self._chunk_steps * self._chunk_steps
        if start != self._chunk_start:
            copy_tensors(self._chunk, self._batches(start, self._chunk_steps))
            self._chunk_start = start

    def _measure_initial_loss(self) -> None:
        """Mean loss of the untrained model over as many batches as the final loss is a mean of."""
        num_batches = self._history.loss_window
        total_L = torch.zeros(len(self.pack.trials), dtype=torch.float64, device=self.device)
        for step in range(num_batches):
            self.step = step
            self._fill_chunk()
            self._counters["step"].fill_(step)
            for part in range(self._num_parts):
                self._counters["part"].fill_(part)
                self._evaluate_once()
                total_L += self._measures["loss"]
        self.step = 0
        self._is_measured = True
        self._counters["step"].fill_(0)
        self._history.tensors["initial_loss"].copy_(total_L / (num_batches * self._num_parts))

    def _evaluate_if_due(self) -> None:
        """Measures on all held-out data, if this step is one at which they are taken."""
        row = self._history.eval_rows.get(self.step)
        if row is None:
            return
        total: dict[str, Tensor] = {}
        num_batches = next(iter(self._held_out.values())).shape[0]
        for batch in range(num_batches):
            self._counters["batch"].fill_(batch)
            self._evaluate_held_out_once()
            total = {name: total.get(name, 0) + measure.double() for name, measure in self._measures.items()}
        mean = {name: measure / num_batches for name, measure in total.items()}
        measures = self.program.workload.held_out_measures(mean)
        columns = [measures[name] for name in self._history.measures]
        self._history.tensors["val"][row].copy_(torch.stack(columns, dim=-1))

    def _run_to(self, end: int) -> None:
        due = {name: set(each.steps) for name, each in self._history.observations.items()}
        for step in range(self.step, end):
            self.step = step
            self._evaluate_if_due()
            for name in (name for name, steps in due.items() if step in steps):
                self._observe_once[name]()
            self._step_once()
        self.step = end

    def _compile(self) -> None:
        """Make what is called step after step; all of it works in place on lanes, history and counters."""
        self._pool = new_pool(self.device)
        self._compile_step()
        step, batch, history = self._counters["step"], self._counters["batch"], self._history
        self._observe_once = {name: self._compile_observation(name) for name in history.observations}
        self._evaluate_once = self._callable(
            self._stacked.evaluate,
            (self._lanes, self._chunk, step, self._counters["part"]),
            self._keep_measures,
            num_calls=history.loss_window * self._num_parts,
        )
        if self._held_out:
            arguments = (self._lanes, self._held_out, batch, step)
            num_calls = len(history.eval_rows) * next(iter(self._held_out.values())).shape[0]
            self._evaluate_held_out_once = self._callable(
                self._stacked.evaluate_held_out, arguments, self._keep_measures, num_calls=num_calls
            )
        self._is_compiled = True

    def _compile_observation(self, name: str) -> Callable[[], Any]:
        """Measures what the probes of one cadence measure and keeps it in the history's tensor of that name."""
        each, row = self._history.observations[name], self._counters[name]

        def keep_observed(observed_LQA: Tensor) -> None:
            self._history.tensors[name].index_copy_(0, row, observed_LQA[None])
            row.add_(1)

        observe = functools.partial(self._stacked.observe, probes=each.probes)
        arguments = (self._lanes, self._chunk, self._counters["step"])
        return self._callable(observe, arguments, keep_observed, num_calls=len(each.steps))

    def _compile_step(self) -> None:
        step, part = self._counters["step"], self._counters["part"]

        def keep_trained(trained: tuple[dict, Tensor, Tensor]) -> None:
            lanes, loss_L, grad_norm_L = trained
            copy_tensors(self._lanes, lanes)
            self._history.tensors["loss"].index_copy_(0, step, loss_L[None])
            self._history.tensors["grad_norm"].index_copy_(0, step, grad_norm_L[None])
            step.add_(1)

        if self._num_parts == 1:
            arguments = (self._lanes, self._chunk, self._knobs, step)
            self._step_once = self._callable(self._stacked.train, arguments, keep_trained, num_calls=self.num_steps)
            return
        of_part = (self._lanes, self._chunk, step, part)
        with torch.no_grad():
            seen = map_tensors(self._stacked.gradients(*of_part), torch.zeros_like)

        def keep_gradients(new: dict[str, Any]) -> None:
            for name in ("grads", "loss"):
                for mean, term in zip(tensors_of(seen[name]), tensors_of(new[name]), strict=True):
                    mean.add_(term, alpha=1 / self._num_parts)
            for largest, other in zip(seen["max_logits"], new["max_logits"], strict=True):
                largest.copy_(torch.maximum(largest, other))
            copy_tensors(seen["buffers"], new["buffers"])
            part.add_(1)

        calls = self.num_steps * self._num_parts
        add_part = self._callable(self._stacked.gradients, of_part, keep_gradients, num_calls=calls)
        arguments = (self._lanes, seen, self._knobs, step)
        update = self._callable(self._stacked.update, arguments, keep_trained, num_calls=self.num_steps)

        def step_once() -> None:
            part.zero_()
            map_tensors([seen["grads"], seen["loss"]], lambda t: t.zero_())
            map_tensors(seen["max_logits"], lambda t: t.fill_(-torch.inf))
            for _ in range(self._num_parts):
                add_part()
            update()

        self._step_once = step_once

    def _keep_measures(self, measures: dict[str, Tensor]) -> None:
        copy_tensors(self._measures, measures)

    def _callable(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], keep: Callable[[Any], None], *, num_calls: int
    ) -> Callable[[], Any]:
        """`function` of fixed tensors, compiled; what it gives is handed to `keep`, which writes in place."""
        run, example = compile_for(self.device, function, arguments, num_calls=num_calls)
        if keep == self._keep_measures and not self._measures:
            self._measures = map_tensors(example, torch.zeros_like)
        del example
        return repeatable(self.device, lambda: keep(run(*arguments)), lambda: run(*arguments), self._pool)
