"""Parameters of tests: one of each kind for every change, the others under the marker `repetition`."""

from collections.abc import Collection, Iterable

import pytest


def one_of_each_kind(names: Iterable[str], kinds: Collection[str]) -> list:
    """All names as parameters; those that are not in `kinds` are repetitions. Raises ValueError for an unknown kind."""
    names, kinds = list(names), set(kinds)
    if unknown := kinds - set(names):
        raise ValueError(f"{', '.join(sorted(unknown))}: no such parameter; there are {', '.join(names)}")
    return [pytest.param(name, marks=() if name in kinds else pytest.mark.repetition) for name in names]
