"""Run: what the pages of any suite say of the run behind them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from analysis.labels import NO_LABELS, Labels


@dataclass(frozen=True, kw_only=True)
class Run:
    """What any suite's pages say of the run behind them; fields as in Subject. labels: what people read for names."""

    name: str
    title: str
    description: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    num_trials: int = 0
    num_missing: int = 0
    labels: Labels = NO_LABELS
    read_manifest: Callable[[], str | None] = lambda: None

    @cached_property
    def manifest(self) -> str | None:
        """JSON text: what ran, with which versions, on what, and what was imported beside it."""
        return self.read_manifest()

    @property
    def plain_manifest(self) -> dict[str, Any]:
        """The manifest as data; {} where there is none."""
        return json.loads(self.manifest or "{}")

    @property
    def missing(self) -> str:
        """In words how many trials have no result; empty if all have."""
        return f"{self.num_missing} of {self.num_trials} trials have no result yet" if self.num_missing else ""
