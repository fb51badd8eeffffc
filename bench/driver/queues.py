"""What to train next: all that a grid misses, at once; of adaptive searches one round after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bench.outcome import Result
from bench.results.standings import Standing, groups, is_spent, stand
from bench.suite import Suite
from bench.training.pruning import Pruning
from bench.trial import Trial


class Queue(Protocol):
    """Asked for trials until it has none, and told the results in between."""

    num_found: int  # trials with a result before this run
    num_trials: int  # asked for so far, found ones included

    def next(self) -> Sequence[Trial]: ...

    def tell(self, results: Sequence[Result]) -> None: ...

    def trial_ids(self) -> set[str]:
        """Ids of all trials that belong to the suite so far."""
        ...

    def pruning(self) -> Pruning | None:
        """What prunes the trials that were asked for last; None: nothing."""
        ...


class GridQueue:
    """The trials of a suite that have no result, once: what is lost waits for the next run."""

    def __init__(self, suite: Suite, finished: set[str]) -> None:
        trials = suite.expand()
        self._ids = {trial.id for trial in trials}
        self._missing = tuple(trial for trial in trials if trial.id not in finished)
        self.num_trials = len(trials)
        self.num_found = len(trials) - len(self._missing)

    def next(self) -> Sequence[Trial]:
        missing, self._missing = self._missing, ()
        return missing

    def tell(self, results: Sequence[Result]) -> None:
        pass

    def trial_ids(self) -> set[str]:
        return self._ids

    def pruning(self) -> Pruning | None:
        return None


class SearchQueue:
    """The rounds of all searches of a suite, side by side. rows: what is recorded, as `standings.Rows`."""

    def __init__(self, suite: Suite, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self._suite = suite
        self._groups = groups(suite)
        self._rows = dict(rows)
        self._pruning: Pruning | None = None
        self.num_found = sum(one in self._rows for one in self.trial_ids())
        self.num_trials = self.num_found

    def next(self) -> Sequence[Trial]:
        standings = self._standings()
        if is_spent(self._suite, standings, self._rows):
            return ()
        missing = tuple(trial for standing in standings for trial in standing.missing)
        self.num_trials += len(missing)
        self._pruning = None
        if self._suite.stop is not None:
            self._pruning = Pruning(settings=tuple(one for standing in standings for one in standing.judged))
        return missing

    def pruning(self) -> Pruning | None:
        return self._pruning

    def tell(self, results: Sequence[Result]) -> None:
        for result in results:
            self._rows[result.trial.id] = result.search_row()

    def trial_ids(self) -> set[str]:
        return {trial.id for standing in self._standings() for trial in standing.asked}

    def _standings(self) -> list[Standing]:
        return [stand(group, self._rows) for group in self._groups]
