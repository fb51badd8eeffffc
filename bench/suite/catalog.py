"""What a suite can name, and the scores of its board, as text. Names alone build no models of suites."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from analysis.text import escape_markdown
from bench.entry import load_class, parameters
from bench.errors import ENTRY_ERRORS, reason
from bench.interventions import INTERVENTIONS
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS, SCHEDULES
from bench.probes import PROBES
from bench.roles import BY_ROLE, RATES
from bench.search import SEARCHES
from bench.suite.file import shipped_names, shipped_suites
from bench.suite.kinds import ENTRY_FIELDS, KINDS, Kind
from bench.trial import KNOB_NAMES
from bench.workloads import WORKLOADS

Rows = list[dict[str, str]]
ROW_SUMS = "rows sum to 1"  # a column of Markdown alone
IN_CROSS = "in cross-attention"
USE_WHEN = "when to use it"
CROSS_WORDS = {"own": "as it is", "softmax": "plain softmax"}


def entry_rows(entries: Mapping[str, str], *, hidden: Collection[str] = ()) -> Rows:
    """Name, summary, parameters with defaults, source; of a method what it controls, of a probe what it traces."""
    return [_entry_row(name, load_class(target), hidden) for name, target in entries.items()]


def plug_in_rows(kind: Kind) -> Rows:
    """As `entry_rows`, of what installed packages declare, with package and version; else why it is no entry."""
    from pydantic import ValidationError

    from bench.suite.entry_class import find_class

    rows = []
    for name, plug_in in kind.plug_ins.items():
        try:
            row = _entry_row(name, find_class(kind, name, (), allow_code=False, folder=None).entry_class, ())
        except ValidationError as error:
            row = {"name": name, "summary": error.errors()[0]["msg"]}
        except ENTRY_ERRORS as error:
            row = {"name": name, "summary": f"its parameters can't be read: {reason(error)}"}
        rows.append(row | {"package": plug_in.package})
    return rows


def refusals() -> list[str]:
    """What is said of each plug-in whose name can't be used."""
    return [
        f"{kind.word} {one.name!r} of {one.package} can't be named so: {one.refusal}; write {one.target}"
        for kind in ENTRY_FIELDS.values()
        for one in kind.refused_plug_ins
    ]


def _entry_row(name: str, entry: Any, hidden: Collection[str]) -> dict[str, str]:
    params = ", ".join(f"{key}={default!r}" for key, (_, default) in parameters(entry).items() if key not in hidden)
    summary = (entry.__doc__ or "").strip().partition("\n")[0].partition(" Source: ")[0]
    row = {"name": name, "summary": summary, "parameters": params}
    if hasattr(entry, "controls"):
        row |= {"controls": entry.controls, ROW_SUMS: "yes" if entry.rows_sum_to_one else "no"}
        row |= {IN_CROSS: CROSS_WORDS[entry.in_cross], USE_WHEN: entry.use_when}
    if hasattr(entry, "quantities"):
        row["quantities"] = ", ".join(entry.quantities)
    return row | ({"source": entry.source} if hasattr(entry, "source") else {})


def knob_rows() -> Rows:
    """Name, meaning and default of every lane knob; then the parameters that can be knobs, by entry."""
    from bench.suite.knobs import KnobGrid
    from bench.suite.sweeps import NOT_KNOBS

    lane_knobs = [
        {
            "name": name,
            "summary": field.description or "",
            "default": "required" if field.is_required() else f"default {field.default[0]:g}",
        }
        for name, field in KnobGrid.model_fields.items()
    ]
    of_entries = [
        {"name": f"{kind.word} {name}", "summary": ", ".join(params)}
        for kind in KINDS.values()
        for name, target in kind.entries.items()
        if (params := [one for one in parameters(load_class(target)) if one not in (*NOT_KNOBS, *BY_ROLE)])
    ]
    return [*lane_knobs, *of_entries, {"name": "every optimizer", "summary": ", ".join(RATES.values())}]


def search_rows() -> Rows:
    """As `entry_rows`, of the searches, without what a suite says elsewhere."""
    from bench.suite.search import FROM_SUITE

    return entry_rows(SEARCHES, hidden=FROM_SUITE)


def score_rows() -> Rows:
    """Name, definition, unit, range, which is better and BibTeX keys of every number that boards and reports state."""
    from analysis.scores.registry import REGISTRY

    better = {True: "higher", False: "lower", None: "neither"}
    return [
        {
            "name": name,
            "summary": score.definition,
            "unit": score.unit,
            "range": "{:g} to {:g}".format(*score.bounds),
            "better": better[score.higher_is_better],
            "source": ", ".join(score.sources) or "this project",
        }
        for name, score in REGISTRY.items()
    ]


def _score_names() -> Collection[str]:
    from analysis.scores.registry import REGISTRY

    return REGISTRY


LISTS: dict[str, Callable[[], Rows]] = {
    "methods": lambda: entry_rows(METHODS),
    "workloads": lambda: entry_rows(WORKLOADS),
    "optimizers": lambda: entry_rows(OPTIMIZERS, hidden=BY_ROLE),
    "schedules": lambda: entry_rows(SCHEDULES),
    "interventions": lambda: entry_rows(INTERVENTIONS),
    "probes": lambda: entry_rows(PROBES),
    "knobs": knob_rows,
    "searches": search_rows,
    "suites": lambda: [{"name": name, "summary": text} for name, text in shipped_suites().items()],
    "scores": score_rows,
}


# The names of what LISTS has, without loading it; of knobs the lane knobs, as all others are of one entry.
NAMES: dict[str, Callable[[], Collection[str]]] = {
    "methods": lambda: METHODS,
    "workloads": lambda: WORKLOADS,
    "optimizers": lambda: OPTIMIZERS,
    "schedules": lambda: SCHEDULES,
    "interventions": lambda: INTERVENTIONS,
    "probes": lambda: PROBES,
    "knobs": lambda: KNOB_NAMES,
    "searches": lambda: SEARCHES,
    "suites": shipped_names,
    "scores": _score_names,
}


def overview() -> dict[str, list[str]]:
    """NAMES by kind, then those of plug-ins, each with its package and version."""
    names = {kind: list(of_kind()) for kind, of_kind in NAMES.items()}
    for field, kind in ((field, kind) for field, kind in ENTRY_FIELDS.items() if field in names):
        names[field] += [f"{name} ({plug_in.package})" for name, plug_in in kind.plug_ins.items()]
    return names


def list_rows(kind: str) -> Rows:
    """The rows of one of LISTS for text and JSON, and of plug-ins: some values say what they are."""
    words = {"controls": "controls ", "quantities": "traces ", "source": "source: "}
    words |= {"unit": "unit: ", "range": "range: ", "better": "better: ", "package": "package: "}
    words |= {name: f"{name}: " for name in (IN_CROSS, USE_WHEN)}
    rows = LISTS[kind]() + (plug_in_rows(ENTRY_FIELDS[kind]) if kind in ENTRY_FIELDS else [])
    return [{key: words.get(key, "") + value for key, value in row.items() if key != ROW_SUMS} for row in rows]


def list_markdown(kind: str) -> str:
    """One of LISTS, of what is shipped, as a pipe table: names and parameters as code, no column that is empty."""
    rows = LISTS[kind]()
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if any(row.get(key) for row in rows)]
    cells = [[_cell(column, row.get(column, "")) for column in columns] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in (columns, ["---"] * len(columns), *cells))


def prose_markdown(text: str) -> str:
    """A line of a docstring for a pipe table: what stands between backticks stays code, all else is escaped."""
    parts = re.split("(`[^`]+`)", text)
    return "".join(part if part[:1] == "`" else re.sub(r"\S+", _escaped_word, part) for part in parts)


def _escaped_word(word: re.Match[str]) -> str:
    return escape_markdown(word[0])


def _cell(column: str, text: str) -> str:
    if column in ("name", "parameters", "quantities"):
        return ", ".join(f"`{part}`" for part in text.split(", ") if part)
    return prose_markdown(text)
