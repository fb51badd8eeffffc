"""Interval: a score with its ends, on the scale of what it is of: shares, positive means, and what the score can be.

An interval over seeds reaches t standard errors to either side of the score (analysis.scores.seeds.intervals). That is
right for losses. Of shares near 0 or 1 and of skewed positive values it covers too little on one side and what can't be
on the other. Both other scales are of the same standard error and cover better in simulations of 3, 5 and 10 seeds
(analysis.scores.kinds has the figures; tests.analysis.score_coverage simulates them).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from analysis.scores.definition import Range

CENSORED = {(False, False): "", (True, False): "low", (False, True): "high", (True, True): "both"}

_ROUNDING = 1e-9
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score with its two-sided interval; `low` and `high` are None with fewer than two seeds.

    censored: which ends are those of the grid, beyond which the interval goes on: "low", "high", "both", "" for none.
    """

    value: float
    low: float | None
    high: float | None
    censored: str = ""

    @classmethod
    def around(cls, value: float, half: float | None) -> Interval:
        """The interval that reaches `half` to either side of the value; without ends if that is None."""
        return cls(value=value, low=None if half is None else value - half, high=None if half is None else value + half)

    def of_share(self) -> Interval:
        """The interval of a share, in [0, 1], for one `around` it; of 0 and 1, which have no scale, cut there.

        The shares q with (q - value)^2 <= half^2 q (1 - q) / (value (1 - value)): Wilson's score interval for as many
        independent outcomes as have that standard error. Source: Wilson 1927, with t for the normal quantile.
        """
        if self.high is None or not 0 < self.value < 1:
            return self.within((0.0, 1.0))
        half = self.high - self.value
        squared = half**2 / (self.value * (1 - self.value))
        middle = (self.value + squared / 2) / (1 + squared)
        high = middle + math.sqrt(half**2 + squared**2 / 4) / (1 + squared)
        low = self.value**2 / (1 + squared) / high  # the product of both roots, as their difference would cancel
        return dataclasses.replace(self, low=low, high=high).within((0.0, 1.0))

    def of_positive_mean(self) -> Interval:
        """The interval of a mean of positive values, for one `around` it: as wide on a log scale, by the delta method.

        value exp(-+ half / value); of a mean of 0, which has no logarithm, cut there.
        """
        if self.high is None or self.value <= 0:
            return self.within((0.0, math.inf))
        factor = math.exp(min((self.high - self.value) / self.value, _LARGEST_EXPONENT))
        return dataclasses.replace(self, low=self.value / factor, high=self.value * factor)

    def within(self, domain: Range, *, censors: bool = False) -> Interval:
        """The part of the interval in what the score can be, which covers it as often; the value stays between.

        censors: the domain is what was tried, and not all that there is, so that an end beyond it is censored.
        """
        if self.low is None or self.high is None:
            return self
        low, high = min(max(self.low, domain[0]), self.value), max(min(self.high, domain[1]), self.value)
        room = _ROUNDING * abs(low), _ROUNDING * abs(high)
        beyond = (self.low < low - room[0], self.high > high + room[1]) if censors else (False, False)
        return dataclasses.replace(self, low=low, high=high, censored=CENSORED[beyond])

    def reaching(self, excess: float) -> Interval:
        """The interval with its upper end at least this far above the value."""
        return self if self.high is None else dataclasses.replace(self, high=max(self.high, self.value + excess))

    def columns(self, name: str, ends: str) -> dict[str, float | None]:
        """The columns `name`, `ends`_low and `ends`_high of a row; all null where the value is NaN."""
        cells = (None, None, None) if math.isnan(self.value) else (self.value, self.low, self.high)
        return dict(zip((name, f"{ends}_low", f"{ends}_high"), cells, strict=True))
