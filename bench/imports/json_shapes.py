"""The rows that one JSON document holds, in the shapes in which pandas, trackers and people write them."""

from __future__ import annotations

from typing import Any

from bench.errors import UsageError
from bench.imports.columns import MAX_RUNS

_OF_TENSORBOARD = ("Wall time", "Step", "Value")  # what its page downloads as JSON: a list of these three
_NAME = "run"  # the column of the names that runs have in an object of runs
# Files that say no losses, or hide them, by names that only they have.
_OTHERS: dict[str, str] = {
    "trial_data": "Ray Tune's state of an experiment; required its results: result.json or progress.csv of a trial, or "
    "ResultGrid.get_dataframe() as CSV",
    "nbformat": "a notebook; required a table of runs, as pandas' to_csv() writes it",
}


def rows_of(document: Any, file_name: str) -> list[Any]:
    """The rows of one JSON document, or what stands in their place.

    A list; points as TensorBoard downloads them; metrics with steps and values, as Sacred keeps them; one list of
    objects within an object, such as the log_history of transformers' trainer_state.json or the data of pandas'
    orient='table'; pandas' orients 'split', 'columns' and 'index'; an object of runs by name; else the object, as one
    row. Raises UsageError for a document of _OTHERS.
    """
    if isinstance(document, list):
        is_points = bool(document) and all(isinstance(one, list) and len(one) == 3 for one in document)
        return [dict(zip(_OF_TENSORBOARD, one, strict=True)) for one in document] if is_points else document
    if not isinstance(document, dict):
        return [document]
    if other := next((words for name, words in _OTHERS.items() if name in document), None):
        raise UsageError(f"{file_name}: {other}")
    names, data = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, names), row, strict=True)) for row in data]
    lists = [one for one in document.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
    if len(lists) == 1:
        return lists[0]
    inner = list(document.values())
    if not inner or not all(isinstance(one, dict) for one in inner):
        return [document]
    if all(_is_metric(one) for one in inner):
        return _by_step(document)
    return _of_objects(document, inner)


def _is_metric(one: dict[str, Any]) -> bool:
    steps, values = one.get("steps"), one.get("values")
    return isinstance(steps, list) and isinstance(values, list) and len(steps) == len(values)


def _by_step(metrics: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a step of Sacred's metrics.json, a column a metric."""
    rows: dict[Any, dict[str, Any]] = {}
    for name, one in metrics.items():
        for step, value in zip(one["steps"], one["values"], strict=True):
            rows.setdefault(repr(step), {"step": step})[name] = value
    return list(rows.values())


def _of_objects(document: dict[str, Any], inner: list[dict[str, Any]]) -> list[Any]:
    if len(inner) < 2:
        return [document]
    if all(one.keys() == inner[0].keys() for one in inner):
        if all(name.isdecimal() for name in document):
            return inner
        if all(name.isdecimal() for name in inner[0]):
            return [{name: column[row] for name, column in document.items()} for row in inner[0]]
    shared = set.intersection(*({*one} for one in inner))
    is_of_runs = len(shared) > 1 and _NAME not in shared
    return [{**one, _NAME: name} for name, one in document.items()] if is_of_runs else [document]


def with_histories(rows: list[Any]) -> list[Any]:
    """Rows each of which holds one list of objects, such as a run's `history`, as a row for each of these objects."""
    places = [_history(row) for row in rows]
    if not rows or None in places or sum(len(row[name]) for row, name in zip(rows, places, strict=True)) > MAX_RUNS:
        return rows
    return [
        {**{other: value for other, value in row.items() if other != name}, **one}
        for row, name in zip(rows, places, strict=True)
        for one in row[name]
    ]


def _history(row: Any) -> str | None:
    """The name of the one list of objects in a row; None if there is none, or several."""
    if not isinstance(row, dict):
        return None
    lists = [
        name
        for name, value in row.items()
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    ]
    return lists[0] if len(lists) == 1 else None
