"""Knob values that are one, however they were spelled: numbers equal to within 1e-6 of themselves."""

from __future__ import annotations

from collections.abc import Iterable

SAME_VALUE = 1e-6  # relative; float32 spells 0.0003 with an error of 5e-8


def is_same_value(first: float, second: float) -> bool:
    """Whether two values of a knob are one."""
    return first == second or abs(first - second) <= SAME_VALUE * min(abs(first), abs(second))


def one_spelling(values: Iterable[float]) -> dict[float, float]:
    """What to write for each value that is spelled in several ways: of these the one with the fewest digits.

    A value with a single spelling is left out. Values are one with the least of their group, so that a chain of near
    values does not grow without end.
    """
    groups: list[list[float]] = []
    for value in sorted(set(values)):
        if groups and is_same_value(groups[-1][0], value):
            groups[-1].append(value)
        else:
            groups.append([value])
    several = [group for group in groups if len(group) > 1]
    return {value: min(group, key=lambda one: (len(repr(one)), one)) for group in several for value in group}
