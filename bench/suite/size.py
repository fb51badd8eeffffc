"""How many trials a suite asks for, and how many at most."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.suite.box_points import num_box_trials, num_compared
from bench.suite.contradictions import axes
from bench.suite.kinds import KINDS, TWINNED
from bench.suite.sweeps import Sweeps

if TYPE_CHECKING:
    from bench.suite.suite import Suite


def num_trials(suite: Suite, sweeps: Sweeps) -> int:
    """Length of `expand()`; of a box, points of which only chance can make equal count each.

    Of a box that is searched `most_trials`. `sweeps`: which knobs are parameters of which kind of entry.
    """
    if suite.box is not None and suite.design is not None:
        is_finite = suite.box.num_settings < math.inf
        return len(suite.expand()) if is_finite else num_box_trials(suite, suite.box, suite.design)
    if suite.box is not None:
        return most_trials(suite, sweeps)
    entries = [sum(sweeps.num_variants(kind, choice) for choice in getattr(suite, kind)) for kind in KINDS]
    with_twins = [number + (kind in TWINNED) or 1 for kind, number in zip(KINDS, entries, strict=True)]
    return math.prod(with_twins) * math.prod(axes(suite).values())


def most_trials(suite: Suite, sweeps: Sweeps) -> int:
    """What is trained at most: the grid, or the budgets of all searches."""
    if suite.search is None:
        return num_trials(suite, sweeps)
    if suite.box is not None:
        return num_compared(suite, suite.box) * suite.searcher.budget
    searched = len(getattr(suite.knobs, suite.search.knob)) * len(suite.seeds)
    return num_trials(suite, sweeps) // searched * suite.searcher.budget
