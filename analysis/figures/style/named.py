"""Charts in which methods and workloads are called by their labels: their specifications, once they are drawn."""

from __future__ import annotations

import json
import re
from typing import Any

from analysis.figures.style.chart_style import Chart
from analysis.labels import Names

# Keys of a specification below which stand words to read, and below which expressions, with words in quotes.
_WORDS = (
    *("title", "subtitle", "text", "description"),
    *("domain", "value", "values", "sort", "datasets", "data", "options"),
)
_EXPRESSIONS = ("filter", "expr", "labelExpr", "test", "calculate", "equal", "oneOf")
_KINDS = {**dict.fromkeys(_WORDS, "words"), **dict.fromkeys(_EXPRESSIONS, "expression")}


def named_spec(spec: dict[str, Any], names: Names) -> dict[str, Any]:
    """A chart's specification, in whose words, data and expressions what has a name is called by it.

    Colours, dashes and shapes stay those of the methods' own names.
    """
    return _named_part(spec, names, "") if names.of else spec


def named_chart(chart: Chart, names: Names) -> Chart:
    """The chart, changed as `named_spec` changes its specification."""
    return type(chart).from_dict(named_spec(chart.to_dict(), names)) if names.of else chart


def _named_part(part: Any, names: Names, kind: str) -> Any:
    """A part of a specification; kind: "words" or "expression" where it stands below such a key."""
    if isinstance(part, dict):
        return {key: _named_part(value, names, _KINDS.get(key, kind)) for key, value in part.items()}
    if isinstance(part, list):
        return [_named_part(value, names, kind) for value in part]
    if not isinstance(part, str) or not kind:
        return part
    if kind == "words":
        return names.in_text(part)
    return re.sub("'([^']*)'", lambda match: json.dumps(names.in_text(match[1]), ensure_ascii=False), part)
