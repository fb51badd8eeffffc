"""Suites: what to compare, read from YAML or built in Python."""

from bench.suite.file import find_suite, shipped_names, shipped_suites
from bench.suite.knobs import KnobGrid, LogGrid
from bench.suite.schema import json_schema
from bench.suite.suite import Context, Suite, load_suite, parse_suite

__all__ = [
    "Context",
    "KnobGrid",
    "LogGrid",
    "Suite",
    "find_suite",
    "json_schema",
    "load_suite",
    "parse_suite",
    "shipped_names",
    "shipped_suites",
]
