"""What a suite can name: methods, workloads, optimizers, schedules, knobs and shipped suites, as rows of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.entry import load_class, parameters
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.suite import KnobGrid, shipped_suites
from bench.workloads import WORKLOADS

Rows = list[dict[str, Any]]


def entry_rows(entries: Mapping[str, str]) -> Rows:
    """Name, summary, parameters with defaults, source, and of a method what it controls."""
    rows = []
    for name, target in entries.items():
        entry = load_class(target)
        params = ", ".join(f"{key}={default!r}" for key, (_, default) in parameters(entry).items())
        summary = (entry.__doc__ or "").strip().splitlines()[0].partition(" Source: ")[0]
        row = {"name": name, "summary": summary, "parameters": params}
        if hasattr(entry, "controls"):
            row["controls"] = f"controls {entry.controls}"
        rows.append(row | {"source": f"source: {entry.source}"})
    return rows


def knob_rows() -> Rows:
    """Name, meaning and default of every lane knob."""
    return [
        {
            "name": name,
            "summary": field.description or "",
            "default": "required" if field.is_required() else f"default {field.default[0]:g}",
        }
        for name, field in KnobGrid.model_fields.items()
    ]


LISTS: dict[str, Callable[[], Rows]] = {
    "methods": lambda: entry_rows(METHODS),
    "workloads": lambda: entry_rows(WORKLOADS),
    "optimizers": lambda: entry_rows(OPTIMIZERS),
    "schedules": lambda: entry_rows(SCHEDULES),
    "knobs": knob_rows,
    "suites": lambda: [{"name": name, "summary": text} for name, text in shipped_suites().items()],
}
