"""At which step the lines of a figure diverged: words beside the crosses that lines end in, and in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from analysis.figures.chart_style import GREY
from bench.lazy import altair as alt

HALO = "#fefefe"  # about words that lines may pass behind; a colour of its own, so that it can follow the ground

_LETTER_PIXELS, _LINE_PIXELS = 6.2, 14  # of text of 11 pixels
_CROSS = 6  # pixels, half a cross
_NEAR = 2 * _CROSS + 4  # crosses closer than this share their words
_GAP = 9  # pixels between the middle of a cross and its words
_LIFT = 8  # pixels that words lie higher than their cross: lines level with it do not run through them
_TOP = 20  # pixels below the top of a panel, where there is no room for that
_BELOW = 12
_LINE_LETTERS = 125  # of a figure's subtitle

Box = tuple[float, float, float, float]  # left, right, top, bottom, in pixels


@dataclass(frozen=True, kw_only=True)
class CrossLabel:
    """Words for crosses that lie close together, the rows of `crosses`, beside the outermost of them.

    `is_left`: they end left of it instead of beginning right of it. `down`: pixels that they lie lower.
    """

    crosses: tuple[dict[str, Any], ...]
    is_left: bool
    down: float

    @property
    def text(self) -> str:
        return step_words(
            min(row["first_diverged"] for row in self.crosses), max(row["last_diverged"] for row in self.crosses)
        )

    @property
    def method(self) -> str | None:
        """That of all its crosses; None if there are several."""
        methods = {row["method"] for row in self.crosses}
        return methods.pop() if len(methods) == 1 else None

    @property
    def anchor(self) -> dict[str, Any]:
        """The cross that the words stand by."""
        return (min if self.is_left else max)(self.crosses, key=lambda row: row["from_left"])

    @property
    def box(self) -> Box:
        left, middle = self.anchor["from_left"], self.anchor["from_top"] + self.down
        wide = _LETTER_PIXELS * len(self.text)
        ends = (left - _GAP - wide, left - _GAP) if self.is_left else (left + _GAP, left + _GAP + wide)
        return (*ends, middle - _LINE_PIXELS / 2, middle + _LINE_PIXELS / 2)


def cross_labels(ends: pl.DataFrame, width: float) -> list[CrossLabel]:
    """Labels for the crosses of a panel of this width: no words lie on others, or on crosses that are not theirs.

    Columns of `ends`, one row a cross: method, first_diverged, last_diverged (rows without are left out), and the
    pixels from_left and from_top. Crosses close together share a label, of the first and the last of their steps; so do
    those beside which no place is left.
    """
    groups: list[list[dict[str, Any]]] = []
    for row in ends.drop_nulls("first_diverged").sort("from_left", "from_top", "method").iter_rows(named=True):
        near = [group for group in groups if any(_distance(row, other) < _NEAR for other in group)]
        groups = [group for group in groups if group not in near] + [[row, *(one for group in near for one in group)]]
    groups.sort(key=lambda group: -max(row["from_left"] for row in group))
    labels: list[CrossLabel] = []
    for place, group in enumerate(groups):
        others = [row for number, other in enumerate(groups) if number != place for row in other]
        found = next((label for label in _candidates(group) if _is_free(label, labels, others, width)), None)
        if found is None and labels:
            nearest = min(labels, key=lambda label: _distance(label.anchor, group[0]))
            labels[labels.index(nearest)] = replace(nearest, crosses=(*nearest.crosses, *group))
        else:
            labels.append(found or next(_candidates(group)))
    return labels


def label_layers(labels: list[CrossLabel], x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    """The words on a halo, in the colour of their method, grey for several."""
    layers = []
    for kind in sorted({(label.is_left, label.down, label.method is None) for label in labels}):
        is_left, down, is_shared = kind
        alike = [one for one in labels if (one.is_left, one.down, one.method is None) == kind]
        base = alt.Chart(pl.DataFrame([{**label.anchor, "text": label.text} for label in alike]))
        base = base.encode(x=x, y=y, text=alt.Text("text:N"))
        place: dict[str, Any] = {"align": "right" if is_left else "left", "dx": -_GAP if is_left else _GAP}
        place |= {"baseline": "middle", "dy": down}
        shown = base.mark_text(**place, color=GREY)
        layers.append(base.mark_text(**place, stroke=HALO, strokeWidth=3, color=HALO))
        layers.append(shown if is_shared else shown.encode(color=colour))
    return layers


def step_words(first: int, last: int) -> str:
    return f"step {first:,}" if first == last else f"steps {first:,}–{last:,}"


def diverged_words(rows: pl.DataFrame) -> dict[str, str]:
    """Which seeds of each method diverged and when, in words, by method; empty where none did.

    `rows` has a method and the columns DIVERGED_COLUMNS of analysis.figures.frames.aggregate.
    """
    if not (rows["num_diverged"] > 0).any():
        return {}
    words = {}
    for row in rows.unique("method").sort("method").iter_rows(named=True):
        if not row["num_diverged"]:
            words[row["method"]] = f"none diverged ({_seeds(row['num_trials'])})"
            continue
        when = "" if row["first_diverged"] is None else f" at {step_words(row['first_diverged'], row['last_diverged'])}"
        share = "" if row["num_trials"] == 1 else f"{row['num_diverged']} of "
        words[row["method"]] = f"diverged{when} ({share}{_seeds(row['num_trials'])})"
    return words


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def diverged_sentence(rows: pl.DataFrame) -> str:
    """`diverged_words` of all methods as lines of a subtitle; empty where none diverged."""
    words = diverged_words(rows.filter(pl.col("num_diverged") > 0))
    told = [f"{method} {text.removeprefix('diverged ')}" for method, text in words.items()]
    return _wrapped("Diverged: ", told) if told else ""


def _wrapped(start: str, parts: Iterable[str]) -> str:
    lines = [start]
    for part in parts:
        if len(lines[-1]) + len(part) > _LINE_LETTERS and lines[-1] != start:
            lines.append("")
        lines[-1] += f"{part}; "
    return "\n".join(line.strip() for line in lines).removesuffix(";")


def _candidates(group: list[dict[str, Any]]) -> Iterator[CrossLabel]:
    """Where the words may stand, the best first: beside the cross or a little higher, then lower."""
    for is_low in (False, True):
        for is_left in (False, True):
            label = CrossLabel(crosses=tuple(group), is_left=is_left, down=_BELOW)
            raised = 0 if label.anchor["from_top"] < _TOP else -_LIFT
            yield label if is_low else replace(label, down=raised)


def _is_free(label: CrossLabel, placed: list[CrossLabel], others: list[dict[str, Any]], width: float) -> bool:
    left, right, _, _ = label.box
    crosses = [
        (row["from_left"] - _CROSS, row["from_left"] + _CROSS, row["from_top"] - _CROSS, row["from_top"] + _CROSS)
        for row in others
    ]
    return (
        left >= 0
        and right <= width
        and not any(_overlap(label.box, box) for box in [*crosses, *(one.box for one in placed)])
    )


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[1] and second[0] < first[1] and first[2] < second[3] and second[2] < first[3]


def _distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max(abs(one["from_left"] - other["from_left"]), abs(one["from_top"] - other["from_top"]))
