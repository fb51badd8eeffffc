"""Standings: how the trials of each method stand while a suite trains, from what workers report every few seconds."""

from __future__ import annotations

import math
import statistics
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bench.cluster.retries import Part
from bench.outcome import Outcome, Result

# trial id -> its last training loss and least mean entropy so far, NaN where nothing is measured yet
Standing = Mapping[str, tuple[float, float]]


@dataclass(kw_only=True)
class _Ended:
    """Of the trials of a method that ended with a result: final losses of those that completed, and least entropies."""

    losses: array = field(default_factory=lambda: array("d"))
    entropies: array = field(default_factory=lambda: array("d"))
    num_diverged: int = 0


class Standings:
    """What is known of the trials of a run, in training or ended."""

    def __init__(self) -> None:
        self._training: dict[Part, Standing] = {}
        self._ended: dict[str, _Ended] = defaultdict(_Ended)

    def report(self, part: Part, standing: Standing) -> None:
        """A part in training stands so."""
        self._training[part] = standing

    def end(self, part: Part, results: Iterable[Result]) -> None:
        """A part is trained no more; what it reported last of entropies stays."""
        last = self._training.pop(part, {})
        for result in results:
            ended = self._ended[result.trial.method.label]
            if result.outcome is Outcome.COMPLETED:
                ended.losses.append(result.final_loss)
            ended.num_diverged += result.outcome is Outcome.DIVERGED
            _, entropy = last.get(result.trial.id, (math.nan, math.nan))
            ended.entropies.append(entropy)

    def by_method(self) -> dict[str, dict[str, float]]:
        """The numbers of each method that has some: median_loss and worst_loss (last training losses of trials in
        training, final ones of those that completed; not those that diverged), least_entropy (nats, mean over layers),
        diverged_share and trials_done (of those that ended)."""
        by_name = {}
        training = self._of_training()
        for method in sorted({*self._ended, *training}):
            ended = self._ended[method] if method in self._ended else _Ended()
            losses = _finite([*ended.losses, *(loss for loss, _ in training.get(method, ()))])
            entropies = _finite([*ended.entropies, *(entropy for _, entropy in training.get(method, ()))])
            num_done = len(ended.entropies)
            numbers: dict[str, float] = {"trials_done": num_done}
            if losses:
                numbers |= {"median_loss": statistics.median(losses), "worst_loss": max(losses)}
            if entropies:
                numbers["least_entropy"] = min(entropies)
            if num_done:
                numbers["diverged_share"] = ended.num_diverged / num_done
            by_name[method] = numbers
        return by_name

    def _of_training(self) -> dict[str, list[tuple[float, float]]]:
        rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for method, row in self._rows():
            rows[method].append(row)
        return rows

    def _rows(self) -> Iterator[tuple[str, tuple[float, float]]]:
        for part, standing in self._training.items():
            for trial in part.trials:
                if trial.id in standing:
                    yield trial.method.label, standing[trial.id]


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
