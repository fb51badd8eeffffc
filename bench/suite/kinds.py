"""KINDS and ENTRY_FIELDS: the kinds of entries that a suite names, what is shipped of each, and its base class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.interventions import INTERVENTIONS
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.probes import PROBES
from bench.suite.plug_ins import PlugIn, plug_ins, refused_plug_ins, with_target
from bench.workloads import WORKLOADS


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of entry: its word, the entries that exist, and the class that a user's own must derive from."""

    word: str
    entries: Mapping[str, str]
    base: str

    @property
    def plug_ins(self) -> dict[str, PlugIn]:
        """Plug-ins of installed packages that can be used, by name."""
        return plug_ins(self._group, self.entries)

    @property
    def refused_plug_ins(self) -> list[PlugIn]:
        """Plug-ins of installed packages whose names can't be used."""
        return refused_plug_ins(self._group, self.entries)

    def plug_in_at(self, target: str) -> PlugIn | None:
        """The plug-in of an installed package at `package.module:Class`; None if there is none."""
        return with_target(self._group, self.entries, target)

    @property
    def _group(self) -> str:
        return f"bench.{self.word}s"


KINDS: dict[str, Kind] = {
    "workloads": Kind(word="workload", entries=WORKLOADS, base="bench.workloads.base:Workload"),
    "methods": Kind(word="method", entries=METHODS, base="bench.methods.base:Method"),
    "optimizers": Kind(word="optimizer", entries=OPTIMIZERS, base="bench.optimizers.base:Optimizer"),
    "schedules": Kind(word="schedule", entries=SCHEDULES, base="bench.optimizers.schedules:Schedule"),
    "interventions": Kind(word="intervention", entries=INTERVENTIONS, base="bench.interventions.base:Intervention"),
}
# Kinds of which a trial may have none: beside each trial that has one, a suite has the same trial without.
TWINNED = ("interventions",)
# By the fields of a suite that hold entries: one of each of KINDS makes a trial; every trial has all probes.
ENTRY_FIELDS: dict[str, Kind] = KINDS | {
    "probes": Kind(word="probe", entries=PROBES, base="bench.probes.base:Probe"),
}
