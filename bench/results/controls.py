"""Which entries of results are A/A controls, and of what."""

from __future__ import annotations

from collections.abc import Mapping

from bench.entry import load_class
from bench.lazy import polars
from bench.methods import METHODS
from bench.suite import Suite


def controls_of(suite: Suite) -> dict[str, str]:
    """Labels of the suite's A/A controls, and of its first entry of the method that each is a control of."""
    return _among({choice.label: choice.name for choice in suite.methods})


def controls_named(results: polars.DataFrame) -> dict[str, str]:
    """Controls among runs without a suite, by the shipped methods that their labels begin with."""
    bare = {label: label.partition("(")[0] for label in results["method"].unique(maintain_order=True)}
    return _among({label: name for label, name in bare.items() if name in METHODS})


def _among(names: Mapping[str, str]) -> dict[str, str]:
    """names: of methods, by label."""
    first = {name: label for label, name in reversed([*names.items()])}
    controlled = {label: load_class(METHODS.get(name, name)).control_of for label, name in names.items()}
    return {label: first[name] for label, name in controlled.items() if name in first}
