"""Entries of a suite, as a paragraph of methods shows their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.roles import BY_ROLE

_NOT_SETTINGS = ("name", "num_steps", "final_loss_steps", *BY_ROLE)  # said apart


def constants_of(suite: Mapping[str, Any], kind: str) -> dict[str, str]:
    """The parameters of each entry of the suite, as text by name; none of a name that it has twice."""
    entries = suite[kind]
    names = [str(entry["name"]) for entry in entries]
    texts = {name: settings_of(entry) for name, entry in zip(names, entries, strict=True) if names.count(name) == 1}
    return {name: text for name, text in texts.items() if text}


def settings_of(entry: Mapping[str, Any]) -> str:
    """The parameters of an entry of the suite that are set, as text."""
    settings = {name: value for name, value in entry.items() if name not in _NOT_SETTINGS and value is not None}
    return ", ".join(f"{name} {in_words(value)}" for name, value in sorted(settings.items()))


def in_words(value: Any) -> str:
    """A value as text; of a list, all that it may be."""
    if isinstance(value, list):
        return " or ".join(map(in_words, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else str(value)
