"""What a knob of a box is to scores and figures: its scale, its ends, and where it is 0 or off."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.lazy import numpy as np

NUM_BINS = 8  # of a knob that is a number, each as much of the box


def value_between(form: str, low: float, high: float, share: float) -> float:
    """The value below which this share of a range lies, uniform on its scale: log, linear or int."""
    if form == "int":
        return min(low + math.floor(share * (high - low + 1)), high)
    return low * (high / low) ** share if form == "log" else low + share * (high - low)


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A part of a knob's range. low, high: of the unit axis. text: its name. ends: in values, () where it has none."""

    low: float
    high: float
    text: str
    ends: tuple[float, ...] = ()

    @property
    def middle(self) -> float:
        """The middle of the range on the unit axis."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, kw_only=True)
class BoxKnob:
    """A knob of a box.

    form: log, linear, int or values. ends: least and largest value; () of a list. choices: the values of a list, as
    text. special: the share of the box in which the knob is 0 or off, and its value there; None without one.
    """

    name: str
    form: str
    ends: tuple[float, ...] = ()
    choices: tuple[str, ...] = ()
    special: tuple[float, float] | None = None

    @property
    def is_choice(self) -> bool:
        """Whether it is a list, whose values have no order."""
        return self.form == "values"

    @property
    def bins(self) -> list[Bin]:
        """`parts` of the number that profiles have."""
        return self.parts(NUM_BINS)

    def parts(self, number: int) -> list[Bin]:
        """Where it is 0 or off, then so many parts of the rest of as much of the box each; of a list its values."""
        if self.is_choice:
            edges = np.linspace(0, 1, len(self.choices) + 1).tolist()
            parts = zip(itertools.pairwise(edges), self.choices, strict=True)
            return [Bin(low=low, high=high, text=choice) for (low, high), choice in parts]
        start, bins = 0.0, []
        if self.special is not None:
            start, value = self.special
            bins = [Bin(low=0.0, high=start, text="off" if math.isinf(value) else "0")]
        for low, high in itertools.pairwise(np.linspace(0, 1, number + 1).tolist()):
            first, last = (value_between(self.form, self.ends[0], self.ends[1], share) for share in (low, high))
            units = {"low": start + (1 - start) * low, "high": start + (1 - start) * high}
            bins.append(Bin(**units, text=f"{first:.3g} to {last:.3g}", ends=(first, last)))
        return bins


def places_in(bins: Sequence[Bin], unit_N: np.ndarray) -> np.ndarray:
    """Which of the bins of a knob each point of its unit axis lies in, (N,) -> (N,)."""
    return np.searchsorted([one.high for one in bins[:-1]], unit_N, side="right")
