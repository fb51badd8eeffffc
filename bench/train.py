"""train_pack(): the only training loop. Models of one trial, stacked into lanes and trained as one.

Shapes: L lanes, S distinct seeds, T steps of a chunk, P probed steps, N all steps, Q attention quantities, A layers.
A lane whose loss or gradient norm is not finite is frozen at that step and recorded; its neighbours never see it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy

from bench.compile import compile_for, repeatable
from bench.lane import LaneProgram
from bench.lazy import polars, torch
from bench.pack import Pack
from bench.probes.attention import ATTENTION_PROBES
from bench.trace import TRACE_COLUMNS, WHOLE_MODEL
from bench.trial import KNOB_NAMES, Outcome, Result

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
    """A pack in training: `advance` it, save and load its `state`, read `results` and `traces` when `done`."""

    def __init__(self, pack: Pack, *, device: str = "cpu", dtype: str = "float32") -> None:
        self.pack = pack
        self.device = torch.device(device)
        self.program = LaneProgram.of(pack.trials[0])
        self.num_steps = pack.trials[0].num_steps
        self.step = 0
        self.wall_s = 0.0
        self._dtype = getattr(torch, dtype)
        self._loss_window = min(self.program.workload.final_loss_steps, self.num_steps)
        self._probe_steps = sorted({*range(0, self.num_steps, pack.trials[0].probe_every), self.num_steps - 1})
        self._start_lanes()
        self._start_history()
        self._start_chunk()
        self._step_once: Callable[[], Any] | None = None
        self._observe_once: Callable[[], Any] | None = None
        self._is_measured = False  # the initial loss

    @property
    def done(self) -> bool:
        return self.step >= self.num_steps

    @property
    def num_diverged(self) -> int:
        """Lanes frozen so far."""
        return int((~self._lanes["alive"]).sum())

    def advance(self, *, max_steps: int | None = None, max_seconds: float = float("inf")) -> None:
        """Train until done, or until `max_steps` or `max_seconds` are used up.

        The clock starts after compilation and is read after each chunk, so that every call gets on.
        """
        started = time.monotonic()
        stop = self.num_steps if max_steps is None else min(self.num_steps, self.step + max_steps)
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
            if time.monotonic() > deadline:
                break
        self.wall_s += time.monotonic() - started

    def dry_step(self) -> None:
        """Compute one step and one observation and keep nothing: for measuring memory without compiling."""
        with torch.no_grad():
            self._train_lanes(self._lanes, self._chunk, self._knobs, self._counters["step"])
            self._observe_lanes(self._lanes, self._chunk, self._counters["step"])

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on, on the CPU; `load` of it continues bit for bit on the same device."""
        kept = {"lanes": self._lanes, "history": self._history}
        return {"pack": self.pack.id, "step": self.step, "wall_s": self.wall_s, **_map(kept, lambda t: t.cpu().clone())}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of the same pack. Raises ValueError for another pack's."""
        if state["pack"] != self.pack.id:
            raise ValueError(f"checkpoint of pack {state['pack']}, this is pack {self.pack.id}")
        self.step, self.wall_s = state["step"], state["wall_s"]
        self._is_measured = self.step > 0
        _copy(self._lanes, state["lanes"])
        _copy(self._history, state["history"])
        self._counters["step"].fill_(self.step)
        self._counters["probe"].fill_(sum(step < self.step for step in self._probe_steps))

    def results(self) -> list[Result]:
        """How each lane ended, in the order of the pack."""
        assert self.done, "results of a pack that is not done"
        loss_NL = self._history["loss"].double().cpu().numpy()
        initial_L = self._history["initial_loss"].tolist()
        diverged_L = self._lanes["diverged_step"].tolist()
        results = []
        for lane, (trial, diverged_step) in enumerate(zip(self.pack.trials, diverged_L, strict=True)):
            diverged = diverged_step >= 0
            results.append(
                Result(
                    trial=trial,
                    outcome=Outcome.DIVERGED if diverged else Outcome.COMPLETED,
                    initial_loss=initial_L[lane],
                    final_loss=float("inf") if diverged else float(loss_NL[-self._loss_window :, lane].mean()),
                    diverged_step=diverged_step if diverged else None,
                    wall_s=self.wall_s / len(self.pack.trials),
                )
            )
        return results

    def traces(self) -> dict[str, polars.DataFrame]:
        """What was probed, by trial id: TRACE_COLUMNS, up to and with the step at which a lane diverged."""
        history = {name: tensor.cpu().numpy() for name, tensor in self._history.items()}
        diverged_L = self._lanes["diverged_step"].tolist()
        frames = {}
        for lane, (trial, diverged_step) in enumerate(zip(self.pack.trials, diverged_L, strict=True)):
            last = diverged_step if diverged_step >= 0 else self.num_steps
            steps_P = numpy.array([step for step in self._probe_steps if step <= last])
            columns = [
                ("loss", WHOLE_MODEL, history["loss"][steps_P, lane]),
                ("grad_norm", WHOLE_MODEL, history["grad_norm"][steps_P, lane]),
            ]
            attention_PQA = history["attention"][: len(steps_P), lane]
            for index, name in enumerate(ATTENTION_PROBES):
                columns += [(name, layer, attention_PQA[:, index, layer]) for layer in range(attention_PQA.shape[2])]
            entropy_PA = attention_PQA[:, list(ATTENTION_PROBES).index("entropy")]
            columns.append(("entropy_mean", WHOLE_MODEL, entropy_PA.mean(axis=1)))
            columns.append(("entropy_std", WHOLE_MODEL, entropy_PA.std(axis=1)))
            frames[trial.id] = _trace_frame(steps_P, columns)
        return frames

    def _start_lanes(self) -> None:
        seeds = sorted({trial.seed for trial in self.pack.trials})
        self._seeds_S = torch.tensor(seeds, device=self.device)
        self._seed_index_L = torch.tensor([seeds.index(trial.seed) for trial in self.pack.trials], device=self.device)
        self._knobs = {
            name: torch.tensor(self.pack.knob_lanes(name), dtype=self._dtype, device=self.device) for name in KNOB_NAMES
        }
        start = torch.func.vmap(self.program.start)
        # Clones: tensors that do not depend on the lane come out of vmap as views of one value.
        self._lanes = _map(
            start(self._seeds_S[self._seed_index_L], self._knobs["init_scale"]), lambda t: t.contiguous().clone()
        )

    def _start_history(self) -> None:
        num_lanes, num_layers = len(self.pack.trials), self.program.workload.num_layers
        shapes = {
            "loss": (self.num_steps, num_lanes),
            "grad_norm": (self.num_steps, num_lanes),
            "initial_loss": (num_lanes,),
            "attention": (len(self._probe_steps), num_lanes, len(ATTENTION_PROBES), num_layers),
        }
        self._history = {
            name: torch.full(shape, torch.nan, dtype=self._dtype, device=self.device) for name, shape in shapes.items()
        }
        self._observed_loss_L = torch.zeros(num_lanes, dtype=self._dtype, device=self.device)
        self._counters = {name: torch.zeros(1, dtype=torch.int64, device=self.device) for name in ("step", "probe")}

    def _start_chunk(self) -> None:
        one_step = self._batches(0, 1)
        num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in one_step.values())
        self._chunk_steps = max(1, min(MAX_CHUNK_STEPS, self.num_steps, CHUNK_BYTES // num_bytes))
        self._chunk = self._batches(0, self._chunk_steps)
        self._chunk_start = 0

    def _batches(self, first_step: int, num_steps: int) -> dict[str, Tensor]:
        steps_T = torch.arange(first_step, first_step + num_steps, device=self.device)
        batches = self.program.workload.batches(self._seeds_S, steps_T)
        return _map(batches, lambda t: t.to(self._dtype) if t.is_floating_point() else t)

    def _fill_chunk(self) -> None:
        start = self.step // self._chunk_steps * self._chunk_steps
        if start != self._chunk_start:
            _copy(self._chunk, self._batches(start, self._chunk_steps))
            self._chunk_start = start

    def _measure_initial_loss(self) -> None:
        """Mean loss of the untrained model over as many batches as the final loss is a mean of."""
        assert self._observe_once is not None
        total_L = torch.zeros(len(self.pack.trials), dtype=torch.float64, device=self.device)
        for step in range(self._loss_window):
            self.step = step
            self._fill_chunk()
            self._counters["step"].fill_(self.step)
            self._counters["probe"].fill_(0)  # its row is written again when the first step is probed
            self._observe_once()
            total_L += self._observed_loss_L
        self.step = 0
        self._is_measured = True
        self._counters["step"].fill_(0)
        self._counters["probe"].fill_(0)
        self._history["initial_loss"].copy_(total_L / self._loss_window)

    def _run_to(self, end: int) -> None:
        assert self._step_once is not None
        assert self._observe_once is not None
        probed = set(self._probe_steps)
        for step in range(self.step, end):
            if step in probed:
                self._observe_once()
            self._step_once()
        self.step = end

    def _train_lanes(self, lanes: dict, chunk: dict, knobs: dict, step: Tensor) -> Any:
        batch = self._batch_of_lanes(chunk, step)
        return torch.func.vmap(self.program.train, in_dims=(0, 0, 0, None))(lanes, batch, knobs, step[0])

    def _observe_lanes(self, lanes: dict, chunk: dict, step: Tensor) -> Any:
        return torch.func.vmap(self.program.observe)(lanes, self._batch_of_lanes(chunk, step))

    def _batch_of_lanes(self, chunk: dict, step: Tensor) -> dict[str, Tensor]:
        offset = step % self._chunk_steps
        return {name: t.index_select(0, offset)[0].index_select(0, self._seed_index_L) for name, t in chunk.items()}

    def _compile(self) -> None:
        """Make `_step_once` and `_observe_once`, which work in place on lanes, history and counters."""
        if self._step_once is not None:
            return
        step, probe = self._counters["step"], self._counters["probe"]
        train_arguments = (self._lanes, self._chunk, self._knobs, step)
        train = compile_for(self.device, self._train_lanes, train_arguments, num_calls=self.num_steps)
        observe_arguments = (self._lanes, self._chunk, step)
        num_observations = len(self._probe_steps) + self._loss_window
        observe = compile_for(self.device, self._observe_lanes, observe_arguments, num_calls=num_observations)

        def step_once() -> None:
            lanes, loss_L, grad_norm_L = train(*train_arguments)
            _copy(self._lanes, lanes)
            self._history["loss"].index_copy_(0, step, loss_L[None])
            self._history["grad_norm"].index_copy_(0, step, grad_norm_L[None])
            step.add_(1)

        def observe_once() -> None:
            loss_L, attention_LQA = observe(*observe_arguments)
            self._observed_loss_L.copy_(loss_L)
            self._history["attention"].index_copy_(0, probe, attention_LQA[None])
            probe.add_(1)

        self._step_once = repeatable(self.device, step_once, lambda: train(*train_arguments))
        self._observe_once = repeatable(self.device, observe_once, lambda: observe(*observe_arguments))


def _trace_frame(steps_P: numpy.ndarray, columns: list[tuple[str, int, numpy.ndarray]]) -> polars.DataFrame:
    num_steps = len(steps_P)
    data = {
        "step": numpy.tile(steps_P, len(columns)),
        "quantity": [name for name, _, _ in columns for _ in range(num_steps)],
        "layer": numpy.repeat([layer for _, layer, _ in columns], num_steps),
        "value": numpy.concatenate([values for _, _, values in columns]).astype(numpy.float32),
    }
    return polars.DataFrame(data, schema_overrides={name: getattr(polars, t) for name, t in TRACE_COLUMNS.items()})


def _map(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    if isinstance(tree, dict):
        return {name: _map(branch, function) for name, branch in tree.items()}
    return function(tree)


def _copy(target: Any, source: Any) -> None:
    if isinstance(target, dict):
        for name in target:
            _copy(target[name], source[name])
    else:
        target.copy_(source)
