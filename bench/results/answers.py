"""What the searches of a suite answer, and every setting that they asked for, as frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.text import counted
from bench.lazy import polars
from bench.outcome import SEARCH_COLUMNS
from bench.results.standings import NAMED, BoxGroup, Group, Known, Rows, Standing, values_text
from bench.search.tune_box import TuneBoxAnswer
from bench.suite import Suite
from bench.suite.search import FROM_SUITE

ANSWER_COLUMNS: dict[str, str] = {
    "workload": "String",
    "method": "String",
    "optimizer": "String",
    "search": "String",
    "knob": "String",  # what was searched; of a box all knobs, with commas
    "value": "Float64",
    "ci_low": "Float64",
    "ci_high": "Float64",
    "unit": "String",
    "best_value": "Float64",  # tune: where the least loss is; else null
    "best_setting": "String",  # tune_box: where the least loss is, as name=value of every knob that acts; else null
    "num_trials_to_target": "Int64",  # tune, tune_box: trials until the leader was near the final best; else null
    "num_trials": "Int64",  # asked for so far, lost ones included
    "num_rounds": "Int64",
    "flags": "String",  # unfinished: rounds are left
    "knobs": "String",  # the other knobs that the suite varies
    "note": "String",  # why the search stopped
}
TRAIL_COLUMNS: dict[str, str] = {
    "workload": "String",
    "method": "String",
    "optimizer": "String",
    "knobs": "String",
    "round": "Int64",  # from 1
    "value": "Float64",  # of the searched knob; null of a box
    "setting": "String",  # name=value of every searched knob that acts
    "seed": "Int64",
    "final_loss": "Float64",  # +inf if diverged, null if lost or not there yet
    "initial_loss": "Float64",
    "pruned_step": "Int64",  # the last step of a trial that was pruned, which has no final loss; else null
    "why": "String",  # why the round was asked for
}
# Of searches by samplers with two objectives: every setting that no other betters in both.
FRONT_COLUMNS: dict[str, str] = {
    "workload": "String",
    "method": "String",
    "optimizer": "String",
    "knobs": "String",
    "setting": "String",  # name=value of every searched knob that acts
    "mean_loss": "Float64",  # over seeds, each at most its loss at init
    "worst_loss": "Float64",  # of the worst seed
}


def answers(standings: Sequence[Standing]) -> polars.DataFrame:
    """ANSWER_COLUMNS, one row a search, within a workload the best first: the largest edge, the least loss or score."""
    rows = []
    for standing in standings:
        answer, group = standing.answer, standing.group
        rows.append(
            _names(group)
            | {
                "search": group.name,
                "knob": group.knob,
                "value": answer.value,
                "ci_low": answer.low,
                "ci_high": answer.high,
                "unit": answer.unit,
                "best_value": getattr(answer, "best_value", None),
                "best_setting": values_text(answer.best) if isinstance(answer, TuneBoxAnswer) else None,
                "num_trials_to_target": getattr(answer, "num_trials_to_target", None),
                "num_trials": len(standing.asked) - len(standing.missing),
                "num_rounds": len(standing.rounds) - bool(standing.missing),
                "flags": "unfinished" if standing.missing else "",
                "note": answer.note + _pruned_words(standing),
            }
        )
    largest_first = any(row["search"] == "edge" for row in rows)
    table = polars.DataFrame(rows, schema=_schema(ANSWER_COLUMNS))
    return table.sort(
        "workload", polars.col("value").fill_nan(None), descending=[False, largest_first], nulls_last=True
    )


def fronts(standings: Sequence[Standing]) -> polars.DataFrame:
    """FRONT_COLUMNS, of each search the least mean first; no rows where no sampler has two objectives."""
    rows = [
        _names(standing.group) | {"setting": values_text(one.values), "mean_loss": one.mean, "worst_loss": one.worst}
        for standing in standings
        if isinstance(standing.answer, TuneBoxAnswer)
        for one in standing.answer.front
    ]
    return polars.DataFrame(rows, schema=_schema(FRONT_COLUMNS))


def trail(standings: Sequence[Standing], rows: Rows) -> polars.DataFrame:
    """TRAIL_COLUMNS, one row a setting that was asked for, in the order of asking."""
    records = []
    for standing in standings:
        known = Known(standing.group, rows)
        for number, ask in enumerate(standing.rounds, start=1):
            for setting in ask.settings:
                point = known.get(setting)
                is_there = point is not None and not point.is_lost
                is_pruned = point is not None and point.pruned_step is not None
                records.append(
                    _names(standing.group)
                    | {
                        "round": number,
                        "value": None if isinstance(standing.group, BoxGroup) else setting[0],
                        "setting": values_text(standing.group.values(setting[0])),
                        "seed": setting[1],
                        "final_loss": point.final_loss if point is not None and is_there and not is_pruned else None,
                        "initial_loss": point.initial_loss if point is not None and is_there else None,
                        "pruned_step": point.pruned_step if point is not None else None,
                        "why": ask.why,
                    }
                )
    return polars.DataFrame(records, schema=_schema(TRAIL_COLUMNS))


def asked_results(standings: Sequence[Standing], rows: Rows) -> polars.DataFrame:
    """SEARCH_COLUMNS: the trials that were asked for and ended, each once."""
    ids = dict.fromkeys(trial.id for standing in standings for trial in standing.asked)
    return polars.DataFrame([rows[one] for one in ids if one in rows], schema=_schema(SEARCH_COLUMNS))


def search_parameters(suite: Suite) -> dict[str, Any]:
    """The search of a suite by its name, with the value of every parameter that is its own."""
    assert suite.search is not None
    own = {one.name: getattr(suite.searcher, one.name) for one in dataclasses.fields(suite.searcher)}
    minutes = {} if suite.search.gpu_minutes is None else {"gpu_minutes": suite.search.gpu_minutes}
    return {"name": suite.search.name, **{n: v for n, v in own.items() if n not in FROM_SUITE}, **minutes}


def _pruned_words(standing: Standing) -> str:
    """What a rule pruned, in words; empty if nothing."""
    group, pruned = standing.group, [point for point in standing.points if point.pruned_step is not None]
    if group.rule is None or not pruned:
        return ""
    saved = sum(group.rule.num_steps - point.pruned_step - 1 for point in pruned if point.pruned_step is not None)
    share = saved / (len(standing.points) * group.rule.num_steps)
    return f"; {group.rule.worse_than} pruned {counted(len(pruned), 'trial')}, which saved {share:.0%} of all steps"


def _names(group: Group) -> dict[str, str]:
    return {**{kind: group.labels[kind] for kind in NAMED}, "knobs": group.knobs}


def _schema(columns: Mapping[str, str]) -> dict[str, Any]:
    return {name: getattr(polars, kind) for name, kind in columns.items()}
