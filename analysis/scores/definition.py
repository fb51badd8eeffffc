"""Definition: what a number that a report states is, and what it can be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Range = tuple[float, float]  # the least and the largest
# Of numbers, by what an entry's training bounds them; "any": nothing but their own definition does.
Kind = Literal["any", "lr", "width in decades", "move in decades", "area", "steps", "seconds", "layer", "loss"]


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What an entry was trained on, as far as it bounds what its scores can be; infinite where it is not known.

    lrs: least and largest learning rate. num_steps, seconds: of its longest trial. last_layer: of attention, from 0.
    least_loss: 0 where no loss of its is below 0, as of cross entropies and squared errors; else -inf.
    area: of the whole grid of two knobs, in the unit of the stable area.
    """

    lrs: Range = (0.0, math.inf)
    num_steps: float = math.inf
    seconds: float = math.inf
    last_layer: float = math.inf
    least_loss: float = -math.inf
    area: float = math.inf

    def range_of(self, kind: Kind) -> Range:
        """The least and the largest that a number of this kind can be for the entry."""
        least, largest = self.lrs
        decades = math.log10(largest / least) if least > 0 and largest < math.inf else math.inf
        ranges: dict[Kind, Range] = {
            "any": (-math.inf, math.inf),
            "lr": self.lrs,
            "width in decades": (0.0, decades),
            "move in decades": (-decades, decades),
            "area": (0.0, self.area),
            "steps": (0.0, self.num_steps),
            "seconds": (0.0, self.seconds),
            "layer": (0.0, self.last_layer),
            "loss": (self.least_loss, math.inf),
        }
        return ranges[kind]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One score in words, and its domain.

    `bounds`: the least and the largest value that it can have, whatever is trained. `kind`: by which the extent of an
    entry bounds it further. higher_is_better: None if neither is. sources: BibTeX keys of references/sources.bib, none
    if it is this project's.
    """

    title: str
    definition: str
    unit: str
    bounds: Range
    higher_is_better: bool | None
    sources: tuple[str, ...] = ()
    kind: Kind = "any"

    @property
    def is_rate(self) -> bool:
        """Whether it is a learning rate: on a log scale, differences in decades, censored where the grid ends."""
        return self.unit == "lr"

    @property
    def difference_unit(self) -> str:
        """Unit of differences between two methods."""
        return "decades" if self.is_rate else self.unit

    def domain(self, extent: Extent) -> Range:
        """The least and the largest value that it can have for an entry of this extent."""
        low, high = extent.range_of(self.kind)
        return max(self.bounds[0], low), min(self.bounds[1], high)

    def difference_domain(self, first: Extent, second: Extent) -> Range:
        """The least and the largest difference, first minus second, of entries of these extents, in difference_unit."""
        (low, high), (other_low, other_high) = self.domain(first), self.domain(second)
        if self.is_rate:
            return _decades(low, other_high), _decades(high, other_low)
        return low - other_high, high - other_low


def _decades(one: float, other: float) -> float:
    """log10 of one over the other, each of which may be 0 or infinite."""
    if one == 0 or other == math.inf:
        return -math.inf
    return math.inf if other == 0 or one == math.inf else math.log10(one / other)
