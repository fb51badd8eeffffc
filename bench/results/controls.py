"""Which entries of results are A/A controls, and of what."""

from __future__ import annotations

from bench.entry import load_class
from bench.lazy import polars
from bench.methods import METHODS
from bench.suite import Suite


def controls_of(suite: Suite) -> dict[str, str]:
    """Labels of the suite's A/A controls, and of its first entry of the method that each is a control of."""
    first = {choice.name: choice.label for choice in reversed(suite.methods)}
    named = {choice.label: load_class(METHODS.get(choice.name, choice.name)).control_of for choice in suite.methods}
    return {label: first[name] for label, name in named.items() if name in first}


def controls_named(results: polars.DataFrame) -> dict[str, str]:
    """Of runs without a suite: labels of the shipped A/A controls among their methods, and of what each is one of."""
    labels = results["method"].unique(maintain_order=True).to_list()
    first = {label.partition("(")[0]: label for label in reversed(labels)}
    shipped = {label: METHODS[name] for label in labels if (name := label.partition("(")[0]) in METHODS}
    named = {label: load_class(path).control_of for label, path in shipped.items()}
    return {label: first[name] for label, name in named.items() if name in first}
