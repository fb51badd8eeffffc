"""Aborting on a warning: lanes are frozen at the first alarm of a detector, and their neighbours train on.

A detector looks after every step at which its quantity was measured, at what was measured up to it, as
analysis.scores.causes.detectors does once a run is over: it alarms at the same step. What it sees is part of a run's
state, so a run that is resumed aborts the same lanes at the same steps. Shapes: P measured steps, L lanes, A layers.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from analysis.scores.causes.detectors import DETECTORS, Detector, signals
from bench.lazy import polars, torch
from bench.outcome import Outcome
from bench.training.history import History, Stop
from bench.training.living import Living
from bench.training.pack import Pack
from bench.trial import Trial

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Watch:
    """name: of DETECTORS. thresholds: by the labels of workload and optimizer, in the unit of its statistic."""

    name: str
    thresholds: Mapping[tuple[str, str], float]

    @property
    def detector(self) -> Detector:
        return DETECTORS[self.name]

    def threshold(self, trial: Trial) -> float:
        """Beyond which the detector alarms in a trial."""
        return self.thresholds[trial.workload.label, trial.optimizer.label]

    def words(self, trial: Trial) -> str:
        """Why a trial was aborted."""
        beyond = "below" if self.detector.alarms_when == "low" else "above"
        return f"{self.name}: {self.detector.title} {beyond} {self.threshold(trial):.6g}"


class Watcher:
    """One pack's watch, if it has one. tensors: what a checkpoint keeps; steps: those after which it looks.

    aborted_step, (L,): the step after which each lane was aborted, -1: none.
    """

    rungs: tuple[int, ...] = ()  # a detector looks where something is measured

    def __init__(self, watch: Watch | None, pack: Pack, history: History) -> None:
        self.steps: frozenset[int] = frozenset()
        self.tensors: dict[str, Tensor] = {}
        if watch is None:
            return
        self._watch, self._pack, self._history = watch, pack, history
        self.tensors = {"aborted_step": torch.full((len(pack.trials),), -1)}
        steps, _ = history.measured(watch.detector.quantity)
        self.steps = frozenset(steps) - {pack.trials[0].num_steps - 1}  # after the last step nothing is saved
        sign = -1 if watch.detector.alarms_when == "low" else 1
        self._least_L = numpy.array([sign * watch.threshold(trial) for trial in pack.trials])

    @property
    def stopped(self) -> dict[str, Stop]:
        """By id of each aborted trial, how it ended."""
        if not self.tensors:
            return {}
        ends = zip(self._pack.trials, self.tensors["aborted_step"].tolist(), strict=True)
        return {
            trial.id: Stop(step=step, outcome=Outcome.ABORTED, why=self._watch.words(trial))
            for trial, step in ends
            if step >= 0
        }

    def look(self, step: int, living: Living) -> None:
        """After a step, freeze the lanes that live and in which the detector alarms, and note it."""
        if step not in self.steps:
            return
        measured, values_PLA = self._history.measured(self._watch.detector.quantity)
        num_rows = bisect.bisect_right(measured, step)
        most_L = _most(self._watch.detector, measured[:num_rows], values_PLA[:num_rows])
        alarms_L = torch.from_numpy(most_L > self._least_L) & living.whole()["alive"].cpu()
        if alarms_L.any():
            self.tensors["aborted_step"].masked_fill_(alarms_L, step)
            living.freeze(alarms_L)


def _most(detector: Detector, steps: list[int], values_PLA: Tensor) -> numpy.ndarray:
    """The largest signal of each lane so far, (L,)."""
    over_layers = torch.amax if detector.over_layers == "largest" else torch.amin
    missing = -torch.inf if detector.over_layers == "largest" else torch.inf
    values_PL = over_layers(torch.where(values_PLA.isfinite(), values_PLA, missing), dim=-1)
    value_N = values_PL.float().cpu().numpy().astype(numpy.float64).reshape(-1)  # in float32, as traces have it
    num_lanes = values_PL.shape[1]
    measured = polars.DataFrame(
        {
            "trial_id": numpy.tile(numpy.arange(num_lanes), len(steps)),
            "step": numpy.repeat(numpy.array(steps, dtype=numpy.int64), num_lanes),
            "value": value_N,
        }
    )
    value = polars.col("value")
    alarms = signals(detector, measured.with_columns(polars.when(value.is_finite()).then(value)))
    return alarms.group_by("trial_id").agg(polars.col("signal").max()).sort("trial_id")["signal"].to_numpy()
