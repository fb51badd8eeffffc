"""NEEDS: what a suite must have for probes of the model to measure anything, by what they name in `needs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.entry import build
from bench.methods.base import Method
from bench.methods.linear import Linear
from bench.probes.model import ModelProbe
from bench.suite.kinds import KINDS
from bench.trial import Choice


@dataclass(frozen=True, kw_only=True)
class Need:
    """of: the field of a suite whose entries are asked; by_all: each must have it, not one alone; words: if not."""

    of: str
    has: Callable[[Any], bool]
    by_all: bool
    words: str


def has_gammas(method: Method) -> bool:
    """Whether a method has factors of its own on queries and keys."""
    return type(method).gammas is not Method.gammas or type(method.linear("query")).gamma is not Linear.gamma


NEEDS: dict[str, Need] = {
    "whole batches": Need(
        of="workloads",
        has=lambda workload: workload.num_micro_batches == 1,
        by_all=True,
        words="needs the gradient of a whole batch, and {name} computes a batch in parts; required num_micro_batches 1",
    ),
    "gammas": Need(
        of="methods",
        has=has_gammas,
        by_all=False,
        words="measures gammas, and no method has any, such as qk_layernorm_free; got {name}",
    ),
    "edge": Need(
        of="optimizers",
        has=lambda optimizer: optimizer.says("edge"),
        by_all=False,
        words="is measured against an optimizer's edge, and none has one, such as sgd or adamw; got {name}",
    ),
    "second moments": Need(
        of="optimizers",
        has=lambda optimizer: optimizer.says("second_moment"),
        by_all=False,
        words="measures averages of squared gradients, and no optimizer has any, such as adamw; got {name}",
    ),
}


def lacking(probe: ModelProbe, entries: Mapping[str, Sequence[Choice]]) -> Iterator[str]:
    """What a probe lacks in a suite, in words. entries: by the fields of a suite."""
    for need in (NEEDS[name] for name in probe.needs):
        choices = entries[need.of]
        lack = [one.label for one in choices if not need.has(build(KINDS[need.of].entries, one))]
        if lack and (need.by_all or len(lack) == len(choices)):
            yield need.words.format(name=lack[0] if need.by_all else ", ".join(lack))
