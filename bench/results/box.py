"""The box of a suite as frames: its points, and where each trial stands."""

from __future__ import annotations

import math

from analysis.scores.box.knobs import BoxKnob
from analysis.scores.box.losses import PLACE_COLUMNS
from analysis.text import counted, lr_text
from bench.lazy import polars
from bench.search.base import KnobSearch
from bench.suite import Suite
from bench.suite.box import KnobRange
from bench.suite.box_points import drawn_labels

_SCALES = {"log": "log-uniform", "linear": "uniform", "int": "whole numbers"}


def points_frame(suite: Suite) -> polars.DataFrame:
    """One row a point: `point`, `replicate`, and a column a knob, null where it does not act; numbers or text."""
    columns: dict[str, list[object]] = {
        "point": [point.number for point in suite.box_points],
        "replicate": [point.replicate for point in suite.box_points],
    }
    series = [polars.Series(name, values, dtype=polars.Int64) for name, values in columns.items()]
    for knob in box_knobs(suite):
        values = [point.values[knob.name] for point in suite.box_points]
        texts = [None if value is None else str(value) for value in values]
        numbers = [None if value is None or knob.is_choice else float(value) for value in values]
        series.append(polars.Series(knob.name, texts if knob.is_choice else numbers))
    return polars.DataFrame(series)


def units_frame(suite: Suite) -> polars.DataFrame:
    """One row a point: `point`, and where it lies in the unit cube, a column a knob; uniform by the box's measure."""
    names = [knob.name for knob in box_knobs(suite)]
    units = {name: [point.unit[place] for point in suite.box_points] for place, name in enumerate(names)}
    return polars.DataFrame({"point": [point.number for point in suite.box_points], **units})


def places_frame(suite: Suite) -> polars.DataFrame:
    """PLACE_COLUMNS: the trials of the box, under the labels of what is compared.

    What the box draws has the names of all that it draws; schedules that are compared stand in `knobs`.
    """
    several = len(suite.schedules) > 1
    drawn = drawn_labels(suite)
    rows = []
    for one in suite.box_trials:
        labels = {**drawn, **one.labels}
        knobs = f"schedule={labels['schedule']}" if several and "schedule" in one.labels else ""
        rows.append((one.trial.id, one.point, labels["workload"], labels["method"], labels["optimizer"], knobs))
    return polars.DataFrame(rows, schema=PLACE_COLUMNS, orient="row")


def box_knobs(suite: Suite) -> tuple[BoxKnob, ...]:
    """What figures say of each knob of the box."""
    assert suite.box is not None
    return tuple(
        BoxKnob(
            name=name,
            form=one.form,
            choices=tuple(map(str, one.ends)) if one.form == "values" else (),
            special=one.special,
            ends=() if one.form == "values" else (float(one.ends[0]), float(one.ends[1])),
        )
        for name, one in suite.box.root.items()
    )


def box_words(suite: Suite) -> str:
    """The box and its design in a sentence."""
    assert suite.design is not None
    how = {"qmc": "points of Sobol's sequence", "random": "independent draws"}[suite.design.name]
    replicates = {"qmc": "scrambles", "random": "groups"}[suite.design.name]
    return f"{space_words(suite)}: {suite.design.num_points} {how} in {suite.design.num_replicates} {replicates}"


def space_words(suite: Suite) -> str:
    """The ranges of the box, or of the knob that is searched, in words."""
    if suite.box is not None:
        return "; ".join(f"{name} {_range_words(one)}" for name, one in suite.box.root.items())
    assert suite.search is not None
    search = suite.searcher
    assert isinstance(search, KnobSearch), "what moves no box moves a knob"
    low, high = map(lr_text, (search.low, search.high))
    values = f", of {counted(len(search.grid), 'value')} there" if search.grid else ""
    return f"{suite.search.knob} from {low} to {high}{values}"


def _range_words(one: KnobRange) -> str:
    """A range, with how it is drawn."""
    if one.form == "values":
        words = f"one of {', '.join(map(str, one.ends))}"
    else:
        words = f"from {one.ends[0]:g} to {one.ends[1]:g} ({_SCALES[one.form]})"
    if one.special is not None:
        share, value = one.special
        words += f", {'off' if math.isinf(value) else '0'} in {share:.0%} of the box"
    return words + "".join(f", with {name} {' or '.join(map(str, values))}" for name, values in one.when.items())
