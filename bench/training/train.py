"""train_pack(): the only training loop. Models of one trial, stacked into lanes and trained as one.

A lane whose loss or gradient norm is not finite is frozen at that step and recorded, as is one that a detector aborts
(bench.training.aborting) or a rule prunes (bench.training.pruning); its neighbours never see it. On a CPU it leaves the
pack where that pays (bench.training.living). Shapes: L lanes of a pack.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.lazy import polars, torch
from bench.outcome import Result
from bench.training.aborting import Watch, Watcher
from bench.training.compile import Cost
from bench.training.evaluation import Evaluation
from bench.training.history import History
from bench.training.inductor import Compiling, Inductor, Uncompiled
from bench.training.interventions import kinds_of
from bench.training.lane import Lane, LaneProgram
from bench.training.lanes import Batch, StackedProgram, freeze_non_finite
from bench.training.living import Living
from bench.training.pack import Pack, pack_key
from bench.training.pruning import Pruner, Pruning
from bench.training.steps import Steps
from bench.training.tree import copy_tensors, has_form, map_tensors

if TYPE_CHECKING:
    from torch import Tensor


def train_pack(pack: Pack, *, device: str = "cpu") -> tuple[list[Result], dict[str, polars.DataFrame]]:
    """Train a pack to its end: results in the order of its lanes, traces (TRACE_COLUMNS) by trial id."""
    run = PackRun(pack, device=device)
    run.advance()
    return run.results(), run.traces()


class PackRun:
    """A pack in training: `advance` it, save and load its `state`, read `results` and `traces` when `done`.

    is_reference: as Mode has it. compiling: when Inductor is used, as bench.training.inductor has it. may_be_fused:
    whether bench.training.fused computes the steps where it can. watch: the detector that aborts lanes, if any;
    pruning: what prunes them. Raises UsageError if the data here are not the trials'.
    """

    def __init__(
        self,
        pack: Pack,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        is_reference: bool = False,
        compiling: Compiling = "auto",
        may_be_fused: bool = True,
        watch: Watch | None = None,
        pruning: Pruning | None = None,
    ) -> None:
        assert watch is None or pruning is None, "a run aborts lanes or prunes them"
        self.pack = pack
        self.device = torch.device(device)
        self.program = LaneProgram.of(pack.trials[0], interventions=kinds_of(pack), is_reference=is_reference)
        assert len(pack.trials) <= (self.program.workload.max_lanes or len(pack.trials)), "more lanes than allowed"
        self.num_steps = pack.trials[0].num_steps
        self.step = 0
        self.wall_s = 0.0
        self._dtype = getattr(torch, dtype)
        self._history = History(pack, self.program.workload, device=self.device, dtype=self._dtype)
        self._stopper = Watcher(watch, pack, self._history) if pruning is None else Pruner(pruning, pack, self._history)
        self._living = Living(self.program, pack, device=self.device, dtype=self._dtype)
        # Where a trace is captured or compiled, that takes longer than it was tried for.
        self._can_leave = self.device.type == "cpu" and compiling != "always"
        self._counters = {
            name: torch.zeros(1, dtype=torch.int64, device=self.device)
            for name in ("step", "part", "batch", *self._history.observations)
        }
        self._evaluation = Evaluation(self._history, self._living, self._counters, self._dtype)
        first = pack.trials[0]
        self._inductor = Inductor(
            compiling=compiling,
            program=f"{device} {pack_key(first)} {self.program.interventions}",
            label=f"{first.method.label} on {first.workload.label}",
        )
        self._steps = Steps(
            self.program,
            self._living,
            self._history,
            self._counters,
            self._evaluation.data,
            self._inductor,
            dtype=self._dtype,
            num_steps=self.num_steps,
            may_be_fused=may_be_fused and compiling != "always",
        )
        self._is_compiled = self._is_measured = False  # measured: the initial loss

    @property
    def done(self) -> bool:
        return self.step >= self.num_steps

    @property
    def standing(self) -> dict[str, tuple[float, float]]:
        """By trial id its last loss and its least mean entropy so far, NaN where it has none."""
        return self._history.standing(self.step)

    @property
    def is_fused(self) -> bool:
        """Whether the program of bench.training.fused computes the steps; decided when they are first computed."""
        return self._steps.is_fused

    @property
    def uncompiled(self) -> tuple[Uncompiled, ...]:
        """What Inductor failed at so far, and why."""
        return tuple(self._inductor.uncompiled)

    @property
    def num_frozen(self) -> int:
        """Number of lanes frozen so far."""
        return len(self.pack.trials) - self._living.num_living

    @property
    def is_frozen(self) -> list[bool]:
        """Whether each lane was frozen so far, in the pack's order."""
        return (~self._living.whole()["alive"]).tolist()

    @property
    def num_computed(self) -> int:
        """Number of lanes that a step computes: all but those that were frozen and left."""
        return len(self._living.places_C)

    @property
    def _lanes(self) -> Lane:
        return self._living.lanes

    @property
    def _knobs(self) -> dict[str, Tensor]:
        return self._living.knobs

    @property
    def _stacked(self) -> StackedProgram:
        return self._living.stacked

    @property
    def _chunk(self) -> Batch:
        return self._steps.data.tensors

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
            if self._can_leave and not self.is_fused and self.step % self._steps.data.num_steps == 0:
                self._counters["part"].zero_()  # a trace is taken with values, of which there is no part after the last
                calls_left = (self.num_steps - self.step) * self.program.workload.num_micro_batches
                if self._living.leave_where_it_pays(self.step_cost, calls_left=calls_left):
                    self._compile()
            self._run_to(min(self._steps.end_of_round(self.step), stop))
            if self.num_frozen == len(self.pack.trials):
                self.step = self.num_steps  # nothing is left to train
            if self.done:
                self._evaluation.take(self.step)
                self._evaluation.take_at_end()
                freeze_non_finite(self._lanes, self.num_steps - 1)
            if time.monotonic() > deadline:
                break
        self.wall_s += time.monotonic() - started

    def dry_step(self, *, only_training: bool = False) -> None:
        """Compute one step (of a batch in parts: one part and the update), one observation and one evaluation.

        Keeps nothing: for measuring without compiling.
        """
        self._steps.calls().dry_step(only_training=only_training)

    def time_step(self, *, max_seconds: float) -> tuple[float, float]:
        """Seconds until a step can be repeated, and of one, repeated for so long; the run is of no use afterwards.

        On a CPU those of this process, whatever else the machine does.
        """
        clock = time.process_time if self.device.type == "cpu" else time.monotonic
        began = clock()
        self._steps.compile()
        ready, num_steps = clock(), 0
        while num_steps == 0 or (clock() - ready < max_seconds and num_steps < self.num_steps):
            if self.is_fused:  # as many in a call as were before, as a call takes longer than a step
                in_one_call = min(max(num_steps, 1), self.num_steps - num_steps)
                self._steps.train(num_steps, in_one_call)
                num_steps += in_one_call
            else:
                self._steps.once()
                num_steps += 1
            _ = self.num_frozen  # waits for a GPU
        return ready - began, (clock() - ready) / num_steps

    def look(self) -> tuple[dict[str, Tensor], dict[str, Tensor], list[Tensor]]:
        """Params, buffers and P of every layer (L, B, H, Q, K) on the probed part, as the coming step sees them.

        NaN of lanes that left. Changes nothing, and what it gives stays as it is when training goes on.
        """
        assert not self.done, "a run that is done has no coming step"
        self._steps.data.fill(self.step)
        with torch.no_grad():
            inside = self._stacked.look(self._lanes, self._chunk, self._counters["step"])
        return map_tensors(inside, self._living.placed)

    def step_cost(self) -> Cost:
        """What one step costs, or the gradients of one part of its batch."""
        return self._steps.calls().step_cost()

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on, on the CPU; `load` of it continues bit for bit on the same device."""
        kept = map_tensors(self._kept(), lambda t: t.cpu().clone())
        return {"pack": self.pack.id, "step": self.step, "wall_s": self.wall_s, **kept}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of the same pack.

        Raises ValueError for another pack's, and for one of a version that keeps something else; then nothing changed.
        """
        if state["pack"] != self.pack.id:
            raise ValueError(f"checkpoint of pack {state['pack']}, this is pack {self.pack.id}")
        kept = self._kept()
        if not has_form(kept, {name: state.get(name) for name in kept}):
            raise ValueError(f"checkpoint of pack {self.pack.id} is of a version that keeps something else")
        self.step, self.wall_s = state["step"], state["wall_s"]
        self._is_measured = self.step > 0
        if self._living.load(state["lanes"], state["computed"]):
            self._is_compiled = False
        copy_tensors(self._history.tensors, state["history"])
        copy_tensors(self._stopper.tensors, state.get("watched", {}))
        self._counters["step"].fill_(self.step)
        for name, each in self._history.observations.items():
            self._counters[name].fill_(sum(step < self.step for step in each.steps))

    def results(self) -> list[Result]:
        """How each lane ended, in the order of the pack."""
        assert self.done, "results of a pack that is not done"
        diverged_L = self._living.whole()["diverged_step"].tolist()
        return self._history.results(diverged_L, self.wall_s, stopped=self._stopper.stopped, rungs=self._stopper.rungs)

    def traces(self) -> dict[str, polars.DataFrame]:
        """What was measured, by trial id: TRACE_COLUMNS, up to and with the step at which a lane was frozen."""
        ends, stopped = self._living.whole()["diverged_step"].tolist(), self._stopper.stopped
        own = zip(self.pack.trials, ends, strict=True)
        return self._history.traces([stopped[one.id].step if one.id in stopped else end for one, end in own])

    def _kept(self) -> dict[str, Any]:
        """The tensors of a `state`, those of lanes of all L."""
        living = self._living
        kept = {"lanes": living.whole(), "history": self._history.tensors, "computed": living.is_computed()}
        return kept | ({"watched": self._stopper.tensors} if self._stopper.tensors else {})

    def _measure_initial_loss(self) -> None:
        """Mean loss of the untrained model over as many batches as the final loss is a mean of, dropout as in that."""
        loss_L = self._steps.initial_loss(self._calls, num_batches=self._history.loss_window)
        self._history.tensors["initial_loss"].copy_(loss_L)
        self._is_measured = True

    def _run_to(self, end: int) -> None:
        due = {name: set(each.steps) for name, each in self._history.observations.items()}
        observed = set().union(*due.values())
        looks = observed | self._history.eval_rows.keys() | {step + 1 for step in self._stopper.steps}
        while self.step < end:
            self._evaluation.take(self.step)
            if self.step in observed or not self.is_fused:
                self._steps.data.fill(self.step)
            for name in (name for name, steps in due.items() if self.step in steps):
                self._observe_once[name]()
            if self.is_fused:
                next_look = min([end, *(step for step in looks if self.step < step < end)])
                self._steps.train(self.step, next_look - self.step)
                self.step = next_look
            else:
                self._steps.once()
                self.step += 1
            self._stopper.look(self.step - 1, self._living)

    def _compile(self) -> None:
        """Make what is called step after step; all of it works in place on lanes, history and counters."""
        self._calls = self._steps.compile()
        self._observe_once = {name: self._calls.observation(name) for name in self._history.observations}
        self._evaluation.use(self._calls)
        self._is_compiled = True
