"""Parameters that change nothing are found; those of which no other value is known are said to be untried."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from bench.errors import UsageError
from bench.testing.variants import ignored_parameters, untried_parameters


@dataclass(frozen=True, kw_only=True)
class Entry:
    mode: Literal["plain", "scaled"] = "plain"
    scale: float = 2.0  # acts in one mode alone
    size: Annotated[int, Ge(1)] = 8  # acts below 2
    idle: float = 1.0
    odd: int = 3  # whose neighbours are refused
    name: str = "text"

    def __post_init__(self):
        if self.odd in (2, 4, 6):
            raise ValueError("odd numbers alone")


def observed(entry):
    if entry.odd == 1:
        raise UsageError("1 does not fit the data")
    return [entry.mode, entry.scale if entry.mode == "scaled" else 1, min(entry.size, 2)]


def test_what_changes_nothing_is_found_and_what_can_not_be_tried_is_said():
    assert ignored_parameters(Entry(), observed) == {"idle"}
    assert ignored_parameters(Entry(), observed, left_out=["idle"]) == set()
    assert untried_parameters(Entry()) == {"name"}
