"""SearchSubject: the answers of a suite's adaptive searches, and their decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from analysis.scores.pruning import Rule
from analysis.subject.run import Run
from analysis.text import counted


@dataclass(frozen=True, kw_only=True)
class SearchSubject(Run):
    """The answers of a suite's adaptive searches and their decisions; fields that a Subject has are as there.

    question: what was searched, and over which knob. search: its name and every parameter. space: the ranges that are
    searched, in words. rules: that end settings early, one a number of steps. results: SEARCH_COLUMNS, the trials that
    were asked for and ended. answers, trail and front: ANSWER_COLUMNS, TRAIL_COLUMNS and
    FRONT_COLUMNS of bench.results.answers. num_missing: trials that the last rounds still wait for.
    """

    question: str = ""
    search: Mapping[str, Any] = field(default_factory=dict)
    space: str = ""
    rules: Sequence[Rule] = ()
    results: pl.DataFrame
    answers: pl.DataFrame
    trail: pl.DataFrame
    front: pl.DataFrame

    @property
    def board(self) -> pl.DataFrame:
        """The answers as they stand on method runs."""
        return self.answers.drop("num_rounds")

    @property
    def missing(self) -> str:
        """In words how many trials have no result; empty if all have."""
        have = "has" if self.num_missing == 1 else "have"
        missing = f"{counted(self.num_missing, 'trial')} of the last rounds {have} no result yet"
        return missing if self.num_missing else ""
