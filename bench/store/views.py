"""Saved views of MLflow's runs page: a leaderboard, trials as charts, trials as a table. Pure functions.

A view is a tag of the experiment that MLflow's UI reads for `?viewStateShareKey=NAME`, what its "Share" button stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from bench.store import records
from bench.trial import canonical_json

KIND_TAG = {"mlflow.experimentKind": "custom_model_development"}  # opens the experiment among pages of training
LEADERBOARD, CHARTS, TRIALS = VIEWS = ("leaderboard", "charts", "trials")
MAX_VIEW = 5000  # letters of an experiment's tag

_FIRST = ("rank", "lr_sensitivity", "ci_low", "ci_high", "best_loss", "best_lr", "stable_decades", "diverged_share")
_KNOBS = ("lr", "seed", "warmup_steps", "weight_decay", "batch_size", "init_scale", "grad_clip", "num_steps")
_CHARTED = ("loss", "entropy_mean", "grad_norm")
_SECTION = "training"
_NAME = "attributes.`Run Name`"
_NAME_WIDTH, _TEXT_WIDTH = 300, 170  # pixels; in MLflow's own most names that have a parameter are cut


def view_tag(name: str) -> str:
    """The experiment's tag that holds the view."""
    return f"mlflow.sharedViewState.{name}"


def view_query(name: str, tags: Mapping[str, str]) -> str:
    """The query of a link to a view; what it filters and sorts by where the experiment has no such tag yet."""
    query = dict(records.CLASSIC)
    if view_tag(name) in tags:
        query["viewStateShareKey"] = name
    else:
        query |= _filter("trial" if name in (CHARTS, TRIALS) else "method")
    if name == CHARTS:
        query["compareRunsMode"] = "CHART"
    return urlencode(query, quote_via=quote)


def leaderboard_view(metrics: Sequence[str], texts: Sequence[str] = ()) -> str:
    """Method runs only: tags of `texts`, the given metrics, those of a leaderboard first, then flags and labels.

    Sorted by LR sensitivity, or where that is no metric by the first.
    """
    first = [name for name in _FIRST if name in metrics]
    ordered = [*first, *(name for name in metrics if name not in first)]
    tags = ("flags", *records.LABELS, "bench.version", "bench.commit", "bench.date")
    wide = [f"tags.`{name}`" for name in texts]
    columns = [*wide, *(f"metrics.`{name}`" for name in ordered)]
    by = "lr_sensitivity" if "lr_sensitivity" in metrics or not metrics else metrics[0]
    return _table(columns + [f"tags.`{name}`" for name in tags], kind="method", by=f"metrics.`{by}`", wide=wide)


def trials_view(params: Sequence[str]) -> str:
    """Trials only: the method, knobs and the other params given, then losses in few digits, outcome, and losses in all.

    Least final loss first.
    """
    knobs = [name for name in ("method", *_KNOBS) if name in params]
    columns = [f"params.`{name}`" for name in (*knobs, *(name for name in params if name not in knobs))]
    columns += [f"tags.`{name}`" for name in (*records.LOSSES, records.OUTCOME)]
    columns += ["metrics.`final_loss`", "metrics.`initial_loss`"]
    return _table(columns, kind="trial", by="metrics.`final_loss`", wide=["params.`method`"])


def charts_view() -> str:
    """Trials only, as lines against the step: loss, mean entropy and gradient norm, means over a method's trials."""
    charts = [_line_chart(name, is_log=name != "entropy_mean") for name in _CHARTED]
    section = {"uuid": _SECTION, "name": _SECTION, "display": True, "isReordered": True, "deleted": False}
    keys = [{"mode": "param", "groupByData": "method"}]
    return canonical_json(
        {
            **_filter("trial"),
            "orderByAsc": True,
            "compareRunCharts": charts,
            "compareRunSections": [{**section, "isGenerated": False}],
            "isAccordionReordered": True,
            "groupBy": {"aggregateFunction": "average", "groupByKeys": keys},
            "runsHiddenMode": "FIRST_20_RUNS",
            "useGroupedValuesInCharts": True,
        }
    )


def _filter(kind: str) -> dict[str, str]:
    by = "metrics.`lr_sensitivity`" if kind == "method" else "metrics.`final_loss`"
    return {"searchFilter": f"tags.`{records.KIND}` = '{kind}'", "orderByKey": by, "orderByAsc": "true"}


def _table(columns: Sequence[str], *, kind: str, by: str, wide: Sequence[str]) -> str:
    """Names first, with room, as `wide` have; the last columns are left out where the tag would be too long."""
    for number in range(len(columns), 0, -1):
        chosen = list(columns[:number])
        widths = {_NAME: _NAME_WIDTH} | {name: _TEXT_WIDTH for name in chosen if name in wide}
        look = {"selectedColumns": chosen, "columnOrder": [_NAME, *chosen], "columnWidths": widths}
        view = {**_filter(kind), "orderByKey": by, "orderByAsc": True, **look}
        if len(text := canonical_json(view)) <= MAX_VIEW:
            return text
    raise AssertionError("one column fits")


def _line_chart(metric: str, *, is_log: bool) -> dict[str, Any]:
    return {
        "uuid": f"{_SECTION}-{metric}",
        "type": "LINE",
        "deleted": False,
        "isGenerated": False,
        "metricSectionId": _SECTION,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "displayName": metric,
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "scaleType": "log" if is_log else "linear",
        "lineSmoothness": 0,
        "range": {},
        "ignoreOutliers": False,
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
        "selectedXAxisMetricKey": "",
    }
