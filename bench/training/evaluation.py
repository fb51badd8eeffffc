"""Evaluation: what models in training are worth on held-out data, when it is due, and by what they generate last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.training.calls import Calls
from bench.training.chunk import held_out_parts
from bench.training.generating import generated_measures
from bench.training.history import History
from bench.training.living import Living
from bench.training.tree import tensors_of

if TYPE_CHECKING:
    from torch import Tensor


class Evaluation:
    """Evaluates the lanes of a pack on all held-out data `data`, (E, ...) each, into its history.

    counters: `step`, and `batch`, overwritten with the number of each held-out batch in turn.
    """

    def __init__(self, history: History, living: Living, counters: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        self._step, self._batch = counters["step"], counters["batch"]
        self._workload = living.stacked.program.workload
        self._history, self._living, self._dtype = history, living, dtype
        self.data = held_out_parts(self._workload, self._step.device, dtype)

    def use(self, calls: Calls) -> None:
        """Has these calls evaluate the lanes that they are of."""
        if self.data:
            self._evaluate_batch, self._measures = calls.evaluation()

    def take(self, step: int) -> None:
        """Measures on all held-out data, if this step is one at which they are taken."""
        row = self._history.eval_rows.get(step)
        if row is None:
            return
        total: dict[str, Tensor] = {}
        num_batches = len(tensors_of(self.data)[0])
        for batch in range(num_batches):
            self._batch.fill_(batch)
            self._evaluate_batch()
            total = {name: total.get(name, 0) + measure.double() for name, measure in self._measures.items()}
        mean = {name: measure / num_batches for name, measure in total.items()}
        measures = self._workload.held_out_measures(mean)
        columns = [measures[name] for name in self._history.measures]
        self._history.tensors["val"][row].copy_(self._living.placed(torch.stack(columns, dim=-1)))

    def take_at_end(self) -> None:
        """Measures of what the trained models generate, where the workload has any."""
        names, living = self._history.at_end, self._living
        if names:
            arguments = (living.stacked, living.lanes, self.data, self._batch, self._step)
            values_CM = generated_measures(*arguments, names=names).to(self._step.device, self._dtype)
            self._history.tensors["at_end"].copy_(living.placed(values_CM))
