"""Definition: what a number that a report states is, and what it can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Range = tuple[float, float]  # the least and the largest


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

    @property
    def decades(self) -> float:
        """From the least learning rate to the largest."""
        least, largest = self.lrs
        return math.log10(largest / least) if least > 0 and largest < math.inf else math.inf


Reach = Callable[[Extent], Range]


def anywhere(extent: Extent) -> Range:
    """The Reach of a score that nothing bounds but its own definition."""
    return -math.inf, math.inf


def tried_lrs(extent: Extent) -> Range:
    """The Reach of a learning rate of the grid."""
    return extent.lrs


def tried_decades(extent: Extent) -> Range:
    """The Reach of a width along the learning rates of the grid."""
    return 0.0, extent.decades


def moved_decades(extent: Extent) -> Range:
    """The Reach of a move from one learning rate of the grid to another."""
    return -extent.decades, extent.decades


def tried_area(extent: Extent) -> Range:
    """The Reach of an area of the grid of two knobs."""
    return 0.0, extent.area


def trained_steps(extent: Extent) -> Range:
    """The Reach of a number of updates."""
    return 0.0, extent.num_steps


def trained_seconds(extent: Extent) -> Range:
    """The Reach of a time in training."""
    return 0.0, extent.seconds


def present_layers(extent: Extent) -> Range:
    """The Reach of a layer."""
    return 0.0, extent.last_layer


def losses(extent: Extent) -> Range:
    """The Reach of a loss: not below 0 where none is."""
    return extent.least_loss, math.inf


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One score in words, and its domain.

    `bounds`: the least and the largest value that it can have, whatever is trained. `reach`: those that it can have for
    an entry of an extent. higher_is_better: None if neither is. sources: BibTeX keys of references/sources.bib, none if
    it is this project's.
    """

    title: str
    definition: str
    unit: str
    bounds: Range
    higher_is_better: bool | None
    sources: tuple[str, ...] = ()
    reach: Reach = anywhere

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
        low, high = self.reach(extent)
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
