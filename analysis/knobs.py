"""Which knobs a suite varies, and each trial's value of one: lane knobs are columns, all others keys of `settings`."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from analysis.curves import CIRCUMSTANCES
from bench.errors import UsageError, did_you_mean
from bench.lazy import polars as pl
from bench.trial import KNOB_NAMES

_ENTRY = ["workload", "method", "optimizer"]


def knob_values(results: pl.DataFrame, knob: str) -> pl.Series:
    """The knob's value of every trial, Float64 named `knob`; null where a trial's `settings` lack it.

    Raises UsageError for a knob that no trial has, and for one with a value that is no number.
    """
    if knob in KNOB_NAMES:
        return results[knob].cast(pl.Float64)
    settings = _settings(results)
    names = _names(settings)
    if knob not in names:
        known = [*KNOB_NAMES, *names]
        raise UsageError(f"unknown knob {knob!r}{did_you_mean(knob, known)} (the results have {', '.join(known)})")
    values = [of_trial.get(knob) for of_trial in settings]
    wrong = [value for value in values if not _is_number(value)]
    if wrong:
        raise UsageError(
            f"the knob {knob!r} is scored over numbers, and a trial has {wrong[0]!r}; required numbers alone"
        )
    return pl.Series(knob, values, dtype=pl.Float64, strict=False)


def varied_knobs(results: pl.DataFrame) -> list[str]:
    """Knobs of which some method has several values with one optimizer on one workload; those of lanes first.

    A setting with a value that is no number is no knob: no score is over it, it only keeps trials apart.
    """
    settings = _settings(results)
    numeric = [name for name in _names(settings) if all(_is_number(row[name]) for row in settings if name in row)]
    return [knob for knob in (*KNOB_NAMES, *numeric) if _varies(results, knob_values(results, knob), _ENTRY)]


def other_knobs(results: pl.DataFrame, axes: Collection[str | None]) -> pl.Series:
    """What varies beside `axes`, as text such as 'warmup_steps=100, depth=4'; '' where nothing else does.

    As in analysis.curves, a knob, setting, schedule or number of steps is named where it varies among the trials of a
    workload and optimizer.
    """
    settings = _settings(results)
    columns = {name: results[name].to_list() for name in (*CIRCUMSTANCES, *KNOB_NAMES)}
    columns |= {name: [row.get(name) for row in settings] for name in _names(settings)}
    texts = {name: pl.Series(name, map(_text, values), pl.String) for name, values in columns.items()}
    named = results.select("workload", "optimizer").with_columns(
        text for name, text in texts.items() if name not in axes
    )
    parts = [
        pl.when(pl.col(name).n_unique().over("workload", "optimizer") > 1).then(pl.format(f"{name}={{}}", pl.col(name)))
        for name in named.columns[2:]
    ]
    return named.select(knobs=pl.concat_str(parts, separator=", ", ignore_nulls=True))["knobs"]


def setting_values(results: pl.DataFrame) -> dict[str, list[Any]]:
    """The values of each knob of `settings` that trials have, by name, each value once and in order."""
    settings = _settings(results)
    texts = {name: {json.dumps(row[name]) for row in settings if name in row} for name in _names(settings)}
    values = {name: [json.loads(text) for text in texts_of_knob] for name, texts_of_knob in texts.items()}
    return {name: sorted(texts_of_knob, key=_place) for name, texts_of_knob in values.items()}


def knob_text(value: float) -> str:
    """A knob's value as tables and axes show it: six significant digits at most."""
    return f"{value:g}"


def _settings(results: pl.DataFrame) -> list[dict[str, Any]]:
    """Each trial's settings; none where the results are older than that column."""
    if "settings" not in results.columns:
        return [{}] * results.height
    texts = results["settings"].fill_null("{}")
    parsed = {text: json.loads(text) for text in texts.unique()}
    return [parsed[text] for text in texts]


def _names(settings: list[dict[str, Any]]) -> list[str]:
    return sorted(set().union(*settings))


def _place(value: Any) -> tuple[Any, ...]:
    """Where a value stands among those of other types: none, numbers, then all else by type."""
    is_number = _is_number(value)
    return (value is not None, not is_number, "" if is_number else type(value).__name__, value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return f"{value:.12g}" if _is_number(value) else json.dumps(value, sort_keys=True)


def _varies(results: pl.DataFrame, values: pl.Series, group: list[str]) -> bool:
    values_of_trials = results.select(*group, value=values).drop_nulls("value")
    return (values_of_trials.group_by(group).agg(pl.col("value").n_unique())["value"] > 1).any()
