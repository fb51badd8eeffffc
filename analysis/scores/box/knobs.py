"""What a knob of a box is to scores and figures: its scale, its ends, and where it is 0 or off."""

from __future__ import annotations

from dataclasses import dataclass


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
