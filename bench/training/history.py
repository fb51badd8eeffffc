"""What a pack measured, as tensors while it trains and as results and traces when it is done.

Shapes: L lanes, P probed steps, V evaluations, N all steps, Q quantities of probes, A layers, M measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy

from bench.held_out import HELD_OUT
from bench.lazy import polars, torch
from bench.outcome import Outcome, Result
from bench.probes import build_probes
from bench.probes.base import Probe, measured_by, quantities_of
from bench.probes.model import IteratedProbe
from bench.trace import TRACE_COLUMNS, WHOLE_MODEL
from bench.training.pack import Pack
from bench.trial import Trial
from bench.workloads.base import Workload

if TYPE_CHECKING:
    from torch import Tensor


_DIGITS = 4  # significant ones of a loss that rules compare


@dataclass(frozen=True, kw_only=True)
class Stop:
    """How a lane was ended before its last step: the last step that it made, the outcome, and why."""

    step: int
    outcome: Outcome
    why: str


Column = tuple[str, int, numpy.ndarray, numpy.ndarray]  # quantity, layer, steps, values


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Probes that measure at the same steps, which rise, in one call: of attention, of the model, or one iterated."""

    probes: tuple[Probe, ...]
    steps: list[int]

    def columns(self, observed_PQA: numpy.ndarray, last: int) -> list[Column]:
        """What a lane's trace holds of it up to the step `last`: every layer's quantities, then what sums them up.

        Where a probe of the model measured NaN, which says that there is nothing to measure, the step is left out.
        """
        steps_P = numpy.array([step for step in self.steps if step <= last])
        measured = measured_by(self.probes)
        by_name = {name: observed_PQA[: len(steps_P), index] for index, name in enumerate(measured)}
        columns: list[Column] = []
        for name, values_PA in by_name.items():
            is_per_layer = measured[name].per_layer
            for layer, values_P in enumerate(values_PA.T[: None if is_per_layer else 1]):
                has_P = numpy.full(len(steps_P), True) if self.probes[0].is_of_attention else ~numpy.isnan(values_P)
                columns.append((name, layer if is_per_layer else WHOLE_MODEL, steps_P[has_P], values_P[has_P]))
        for name, quantity in quantities_of(self.probes).items():
            if quantity.over_layers is not None:
                of, statistic = quantity.over_layers
                columns.append((name, WHOLE_MODEL, steps_P, OVER_LAYERS[statistic](by_name[of])))
        return columns


OVER_LAYERS: dict[str, Callable[[numpy.ndarray], numpy.ndarray]] = {
    "mean": lambda values_PA: values_PA.mean(axis=1),
    "std": lambda values_PA: values_PA.std(axis=1),
}


def observations(trial: Trial) -> dict[str, Observation]:
    """What a trial observes and when, by the names that a history's tensors have.

    One for each cadence of probes of attention, one for each of probes of the model, one for each iterated probe.
    """
    grouped: dict[str, tuple[int, list[Probe]]] = {}
    for index, probe in enumerate(build_probes(trial.probes)):
        every = probe.every or trial.probe_every
        name = f"observed_{every}" if probe.is_of_attention else f"model_{every}"
        if isinstance(probe, IteratedProbe):
            name = f"iterated_{index}_{every}"
        grouped.setdefault(name, (every, []))[1].append(probe)
    return {
        name: Observation(probes=tuple(probes), steps=_steps(trial.num_steps, every=every))
        for name, (every, probes) in grouped.items()
    }


def _steps(num_steps: int, *, every: int) -> list[int]:
    """Every so many steps from 0, and the last."""
    return sorted({*range(0, num_steps, every), num_steps - 1})


class History:
    """`tensors` are written in place during training and are all that a checkpoint has to keep."""

    def __init__(self, pack: Pack, workload: Workload, *, device: torch.device, dtype: torch.dtype) -> None:
        self._pack = pack
        self.measures = workload.measures  # the last dimension of `val`
        self.at_end = workload.at_end  # the last dimension of `at_end`
        first = pack.trials[0]
        num_steps, num_lanes = first.num_steps, len(pack.trials)
        self.loss_window = min(workload.final_loss_steps, num_steps)
        self.probe_steps = _steps(num_steps, every=first.probe_every)  # of losses and gradient norms
        self.observations = observations(first)
        every = workload.eval_every
        eval_steps = sorted({*range(0, num_steps, every), num_steps}) if every else []
        self.eval_rows = {step: row for row, step in enumerate(eval_steps)}  # a step counts the updates before
        shapes = {
            "loss": (num_steps, num_lanes),
            "grad_norm": (num_steps, num_lanes),
            "initial_loss": (num_lanes,),
            **{
                name: (len(each.steps), num_lanes, len(measured_by(each.probes)), workload.num_layers)
                for name, each in self.observations.items()
            },
            "val": (len(eval_steps), num_lanes, len(self.measures)),
            **({"at_end": (num_lanes, len(self.at_end))} if self.at_end else {}),
        }
        self.tensors: dict[str, Tensor] = {
            name: torch.full(shape, torch.nan, dtype=dtype, device=device) for name, shape in shapes.items()
        }

    def measured(self, quantity: str) -> tuple[list[int], Tensor]:
        """The steps at which a quantity is measured, P, and its values, (P, L, A); NaN where none is yet.

        A is 1 of a quantity of the whole model. Raises KeyError for one that nothing measures.
        """
        if quantity in ("loss", "grad_norm"):
            return self.probe_steps, self.tensors[quantity][self.probe_steps, :, None]
        for name, each in self.observations.items():
            measured = measured_by(each.probes)
            if quantity in measured:
                layers = slice(None) if measured[quantity].per_layer else slice(1)
                return each.steps, self.tensors[name][:, :, list(measured).index(quantity), layers]
        raise KeyError(quantity)

    def losses_after(self, num_steps: int, diverged_L: Tensor) -> list[float]:
        """What a rule that prunes sees of each lane after so many steps, at most its loss at init.

        The mean over as many steps before as the final loss is a mean of, but a quarter of them at most; of a lane that
        diverged before the loss at init. In a few digits, as packs of another size round the rest differently.
        diverged_L: the step at which a lane diverged, -1 if it did not.
        """
        window = min(self.loss_window, max(num_steps // 4, 1))
        initial_L = self.tensors["initial_loss"].double().cpu()
        losses_L = self.tensors["loss"][num_steps - window : num_steps].double().mean(dim=0).cpu()
        has_diverged_L = (diverged_L >= 0) & (diverged_L < num_steps)
        counts_L = losses_L.isfinite() & ~has_diverged_L
        seen_L = torch.where(counts_L, torch.minimum(losses_L, initial_L), initial_L)
        return [float(f"{loss:.{_DIGITS}g}") for loss in seen_L.tolist()]

    def results(
        self,
        diverged_L: list[int],
        wall_s: float,
        *,
        stopped: Mapping[str, Stop] = MappingProxyType({}),
        rungs: Sequence[int] = (),
    ) -> list[Result]:
        """How each lane ended. diverged_L: the step at which a lane diverged, -1 if it did not.

        stopped: by trial id what ended a lane before its last step. rungs: numbers of steps after which a rule looked.
        """
        loss_NL = self.tensors["loss"].double().cpu().numpy()
        initial_L = self.tensors["initial_loss"].tolist()
        seen = {rung: self.losses_after(rung, torch.tensor(diverged_L)) for rung in rungs}
        results = []
        for lane, (trial, diverged_step) in enumerate(zip(self._pack.trials, diverged_L, strict=True)):
            last = stopped[trial.id].step if trial.id in stopped else trial.num_steps
            of_any: dict[str, Any] = {
                "trial": trial,
                "initial_loss": initial_L[lane],
                "rung_losses": {rung: losses_L[lane] for rung, losses_L in seen.items() if rung <= last + 1},
                "wall_s": wall_s / len(self._pack.trials),
            }
            if trial.id in stopped:
                stop = stopped[trial.id]
                at = {f"{stop.outcome.value}_step": stop.step}
                results.append(Result(outcome=stop.outcome, final_loss=None, message=stop.why, **at, **of_any))
                continue
            diverged = diverged_step >= 0
            results.append(
                Result(
                    outcome=Outcome.DIVERGED if diverged else Outcome.COMPLETED,
                    final_loss=float("inf") if diverged else float(loss_NL[-self.loss_window :, lane].mean()),
                    diverged_step=diverged_step if diverged else None,
                    held_out=self._held_out(lane, diverged=diverged),
                    **of_any,
                )
            )
        return results

    def traces(self, ended_L: list[int]) -> dict[str, polars.DataFrame]:
        """What was measured, by trial id: TRACE_COLUMNS, up to and with the step at which a lane ended.

        ended_L: that at which it diverged or was stopped, -1 of a lane that completed.
        """
        history = {name: tensor.cpu().numpy() for name, tensor in self.tensors.items()}
        eval_steps = numpy.array(list(self.eval_rows), dtype=numpy.int64)
        frames = {}
        for lane, (trial, ended_step) in enumerate(zip(self._pack.trials, ended_L, strict=True)):
            last = ended_step if ended_step >= 0 else trial.num_steps
            steps_P = numpy.array([step for step in self.probe_steps if step <= last])
            columns: list[Column] = [
                (name, WHOLE_MODEL, steps_P, history[name][steps_P, lane]) for name in ("loss", "grad_norm")
            ]
            for name, each in self.observations.items():
                columns += each.columns(history[name][:, lane], last)
            steps_V = eval_steps[eval_steps <= last]
            for index, name in enumerate(self.measures if len(eval_steps) else ()):
                columns.append((name, WHOLE_MODEL, steps_V, history["val"][: len(steps_V), lane, index]))
            frames[trial.id] = _trace_frame(columns)
        return frames

    def standing(self, step: int) -> dict[str, tuple[float, float]]:
        """By trial id the loss of the step before `step`, and the least entropy so far, mean over layers, in nats.

        NaN where a lane has none: nothing was measured yet, or it left.
        """
        losses_L = self.tensors["loss"][max(step - 1, 0)].double().tolist()
        least_L = [math.nan] * len(losses_L)
        for name, each in self.observations.items():
            measured = measured_by(each.probes)
            if "entropy" in measured:
                entropy_PL = self.tensors[name][:, :, list(measured).index("entropy")].mean(-1)
                least_L = entropy_PL.nan_to_num(nan=math.inf).amin(0).double().tolist()
        lanes = zip(self._pack.trials, losses_L, least_L, strict=True)
        return {trial.id: (loss, least if math.isfinite(least) else math.nan) for trial, loss, least in lanes}

    def _held_out(self, lane: int, *, diverged: bool) -> dict[str, float | None]:
        """The lane's part of HELD_OUT_COLUMNS; {} without held-out data.

        A last update may blow up what was trained, its weights finite still: where the loss that follows is not a
        number, measures after it are those of a trial that diverged.
        """
        if not self.eval_rows:
            return {}
        val_VM = self.tensors["val"][:, lane].double().tolist()
        values: dict[str, float | None] = {}
        ended = zip(self.measures, val_VM[-1], strict=True)
        failed = diverged or any(math.isnan(last) and HELD_OUT[name].diverged is not None for name, last in ended)
        for name, first, last in zip(self.measures, val_VM[0], val_VM[-1], strict=True):
            measure = HELD_OUT[name]
            values[name] = measure.diverged if failed else None if math.isnan(last) else last
            if measure.initial:
                values[measure.initial] = first
        return values | self._derived(val_VM, diverged=diverged) | self._of_end(lane, diverged=failed)

    def _of_end(self, lane: int, *, diverged: bool) -> dict[str, float | None]:
        """Measures of what the trained model generated."""
        if not self.at_end:
            return {}
        values = zip(self.at_end, self.tensors["at_end"][lane].double().tolist(), strict=True)
        return {name: HELD_OUT[name].diverged if diverged else value for name, value in values}

    def _derived(self, val_VM: list[list[float]], *, diverged: bool) -> dict[str, float | None]:
        """Measures that are made of the evaluations of others."""
        derived: dict[str, float | None] = {}
        steps = list(self.eval_rows)
        for name, measure in HELD_OUT.items():
            of = measure.least_of or measure.step_of_least
            if of not in self.measures:
                continue
            values = [row[self.measures.index(of)] for row in val_VM]
            measured = [(value, step) for value, step in zip(values, steps, strict=True) if not math.isnan(value)]
            if diverged or not measured:
                derived[name] = measure.diverged if diverged else None
                continue
            least, step = min(measured)
            derived[name] = least if measure.least_of else step
        return derived


def _trace_frame(columns: list[Column]) -> polars.DataFrame:
    data = {
        "step": numpy.concatenate([steps for _, _, steps, _ in columns]),
        "quantity": [name for name, _, steps, _ in columns for _ in range(len(steps))],
        "layer": numpy.repeat([layer for _, layer, _, _ in columns], [len(steps) for _, _, steps, _ in columns]),
        "value": numpy.concatenate([values for *_, values in columns]).astype(numpy.float32),
    }
    return polars.DataFrame(data, schema_overrides={name: getattr(polars, t) for name, t in TRACE_COLUMNS.items()})
