"""Which trials are imported: the name of their method says so, and of which import they are."""

from __future__ import annotations

_MARK = "imported from "  # no method of ours or of a user's own code has a name with spaces


def import_mark(name: str) -> str:
    """The name of the method of every trial of an import; its label is what the file calls the method."""
    return f"{_MARK}{name}"


def import_name(method: str) -> str | None:
    """Which import a trial with a method of this name is of; None for our own."""
    return method.removeprefix(_MARK) if method.startswith(_MARK) else None
