"""Observations as callables: what the probes of one cadence measure of all lanes, step after step.

Probes of attention and of the model take one traced call; an iterated probe three, one of them many times.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.probes.model import IteratedProbe
from bench.training.history import Observation
from bench.training.lane import Lane
from bench.training.lanes import Batch, StackedProgram
from bench.training.tree import copy_tensors, map_tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What observations read: lanes, the batches of a chunk, of each seed that of step 0, knobs, and the step."""

    stacked: StackedProgram
    lanes: Lane
    chunk: Batch
    fixed: Batch
    knobs: Batch
    step: Tensor

    @property
    def of_models(self) -> tuple[Any, ...]:
        """The arguments of StackedProgram.measure."""
        return self.lanes, self.chunk, self.fixed, self.knobs, self.step


def observing(
    observation: Observation,
    observed: Observed,
    *,
    callable_of: Callable[..., Callable[[], Any]],
    keep: Callable[[Tensor], None],
) -> Callable[[], None]:
    """A callable that hands what is measured, (lanes, quantities, layers), to `keep`.

    callable_of(function, arguments, keep, num_calls=...): a function of fixed tensors as a callable without arguments.
    """
    probes: Any = observation.probes
    stacked, num_calls = observed.stacked, len(observation.steps)
    if isinstance(probes[0], IteratedProbe):
        return _iterating(probes[0], observed, callable_of=callable_of, keep=keep, num_calls=num_calls)
    if probes[0].is_of_attention:
        function = functools.partial(stacked.observe, probes=probes)
        return callable_of(function, (observed.lanes, observed.chunk, observed.step), keep, num_calls=num_calls)
    function = functools.partial(stacked.measure, probes=probes)
    return callable_of(function, observed.of_models, keep, num_calls=num_calls)


def observe_once(observation: Observation, observed: Observed) -> None:
    """All that an observation computes, kept nowhere: of an iterated probe one iteration."""
    probes: Any = observation.probes
    stacked: Any = observed.stacked
    if isinstance(probes[0], IteratedProbe):
        carried = stacked.begin(*observed.of_models, probe=probes[0])
        index = torch.zeros_like(observed.step)
        carried = stacked.iterate(*observed.of_models, carried, index, probe=probes[0])
        stacked.end(*observed.of_models, carried, probe=probes[0])
    elif probes[0].is_of_attention:
        stacked.observe(observed.lanes, observed.chunk, observed.step, probes=probes)
    else:
        stacked.measure(*observed.of_models, probes=probes)


def _iterating(
    probe: IteratedProbe,
    observed: Observed,
    *,
    callable_of: Callable[..., Callable[[], Any]],
    keep: Callable[[Tensor], None],
    num_calls: int,
) -> Callable[[], None]:
    stacked = observed.stacked
    with torch.no_grad():
        carried = stacked.begin(*observed.of_models, probe=probe)
    carried = map_tensors(carried, lambda t: t.contiguous().clone())
    index = torch.zeros_like(observed.step)
    keep_carried = functools.partial(copy_tensors, carried)

    def keep_iterated(new: Batch) -> None:
        keep_carried(new)
        index.add_(1)

    begin = callable_of(
        functools.partial(stacked.begin, probe=probe), observed.of_models, keep_carried, num_calls=num_calls
    )
    iterate = callable_of(
        functools.partial(stacked.iterate, probe=probe),
        (*observed.of_models, carried, index),
        keep_iterated,
        num_calls=num_calls * probe.num_iterations,
    )
    end = callable_of(
        functools.partial(stacked.end, probe=probe), (*observed.of_models, carried), keep, num_calls=num_calls
    )

    def iterating() -> None:
        index.zero_()
        begin()
        for _ in range(probe.num_iterations):
            iterate()
        end()

    return iterating
