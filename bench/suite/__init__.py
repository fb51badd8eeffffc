"""Suites: what to compare, read from YAML or built in Python."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.suite.file import Document, find_suite, parse_document, read_document, shipped_names, shipped_suites
    from bench.suite.knobs import KnobGrid, LogGrid
    from bench.suite.schema import json_schema
    from bench.suite.suite import Context, Suite, load_suite, parse_suite, suite_of

# Which module of this room has each public name; loaded when it is first asked for: names of suites need no models.
_HOMES = {
    **dict.fromkeys(("Document", "find_suite", "parse_document", "read_document"), "bench.suite.file"),
    **dict.fromkeys(("shipped_names", "shipped_suites"), "bench.suite.file"),
    **dict.fromkeys(("KnobGrid", "LogGrid"), "bench.suite.knobs"),
    "json_schema": "bench.suite.schema",
    **dict.fromkeys(("Context", "Suite", "load_suite", "parse_suite", "suite_of"), "bench.suite.suite"),
}

__all__ = [
    "Context",
    "Document",
    "KnobGrid",
    "LogGrid",
    "Suite",
    "find_suite",
    "json_schema",
    "load_suite",
    "parse_document",
    "parse_suite",
    "read_document",
    "shipped_names",
    "shipped_suites",
    "suite_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bench.suite' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value
