"""What becomes of a pack that fails: tried again, split until the guilty lane is alone, or given up as an outcome.

A node that goes away is nobody's fault. A worker that dies may be killed by one lane of its pack (a poison trial), so a
pack that keeps dying without getting further is halved. (Exceptions in a method's code, and packs that do not fit, are
split by the worker itself, which lives on.)
"""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.outcome import Outcome, Result
from bench.training.pack import Pack
from bench.trial import Trial

MAX_ATTEMPTS = 3  # in a row that get no further than one before
MAX_LOST_NODES = 50  # of a pack, before its trials are given up for this run


class Cause(enum.StrEnum):
    """Why an attempt failed."""

    WORKER = "worker"  # the process died: killed, crashed, or its GPU failed
    NODE = "node"  # the machine went away
    MEMORY = "memory"  # killed because its machine ran out of memory
    TIMEOUT = "timeout"  # no sign of life for too long


OUTCOMES = {
    Cause.WORKER: Outcome.CRASHED,
    Cause.NODE: Outcome.CRASHED,
    Cause.MEMORY: Outcome.OUT_OF_MEMORY,
    Cause.TIMEOUT: Outcome.TIMED_OUT,
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How an attempt ended, in words too."""

    cause: Cause
    message: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """Lanes `start` to `stop` of a pack: what one attempt trains. Equal by the pack's id, which stands for it."""

    pack: Pack = field(compare=False, repr=False)
    pack_id: str
    start: int
    stop: int

    @classmethod
    def whole(cls, pack: Pack) -> Part:
        return cls(pack=pack, pack_id=pack.id, start=0, stop=len(pack.trials))

    @property
    def trials(self) -> tuple[Trial, ...]:
        return self.pack.trials[self.start : self.stop]

    def halves(self) -> tuple[Part, Part]:
        middle = (self.start + self.stop) // 2
        return dataclasses.replace(self, stop=middle), dataclasses.replace(self, start=middle)


@dataclass(kw_only=True)
class _Record:
    """What is known of the attempts at a part, those at what it was split from included in `failures`."""

    failures: tuple[str, ...] = ()
    steps: int = 0  # the furthest attempt, in lane steps
    num_fruitless: int = 0  # attempts since the last that got further
    num_lost_nodes: int = 0


@dataclass(kw_only=True)
class Retries:
    """The parts to train: `next` hands one out; `finished` or `failed` says what became of it."""

    waiting: deque[Part]
    running: set[Part] = field(default_factory=set)
    _records: dict[Part, _Record] = field(default_factory=dict)

    @classmethod
    def of(cls, packs: Sequence[Pack]) -> Retries:
        return cls(waiting=deque(map(Part.whole, packs)))

    def next(self) -> Part | None:
        """The next part, or None if none waits; one that runs may come back."""
        if not self.waiting:
            return None
        part = self.waiting.popleft()
        self.running.add(part)
        return part

    def finished(self, part: Part) -> tuple[str, ...]:
        """Takes a part off; returns why earlier attempts at it failed, oldest first."""
        self.running.discard(part)
        return self._record(part).failures

    def failed(self, part: Part, failure: Failure, *, steps: int) -> list[Result]:
        """The trials that are given up, as results; whatever else the part holds waits again.

        steps: how far the attempt got, in lane steps.
        """
        self.running.discard(part)
        record = self._record(part)
        record.failures += (f"{failure.cause}: {failure.message}",)
        if failure.cause is Cause.NODE:
            record.num_lost_nodes += 1
            if record.num_lost_nodes <= MAX_LOST_NODES:
                self.waiting.append(part)
                return []
            return self._given_up(part, failure)
        record.num_fruitless = 1 if steps > record.steps else record.num_fruitless + 1
        record.steps = max(record.steps, steps)
        if record.num_fruitless < MAX_ATTEMPTS:
            self.waiting.append(part)
            return []
        if len(part.trials) == 1:
            return self._given_up(part, failure)
        for half in part.halves():
            self._records[half] = _Record(failures=record.failures)
            self.waiting.append(half)
        return []

    def _given_up(self, part: Part, failure: Failure) -> list[Result]:
        outcome, failures = OUTCOMES[failure.cause], self._record(part).failures
        return [lost(trial, outcome, failure.message, failures) for trial in part.trials]

    def _record(self, part: Part) -> _Record:
        return self._records.setdefault(part, _Record())


def lost(trial: Trial, outcome: Outcome, message: str, failures: tuple[str, ...] = ()) -> Result:
    """The result of a trial that gave none."""
    return Result(
        trial=trial,
        outcome=outcome,
        initial_loss=None,
        final_loss=None,
        wall_s=0.0,
        message=message,
        failures=failures,
    )
