"""`bench effects`: what a suite's interventions did, beside the untouched twins."""

from __future__ import annotations

import json
import math
from typing import Any

import typer

from bench.cli.shared import (
    DEFAULT_STORE,
    AllowCode,
    FormatOption,
    StoredArgument,
    StoreOption,
    UriOption,
    WideOption,
    find,
    open_store,
    say,
    say_missing,
)


def add_effects_command(app: typer.Typer) -> None:
    app.command()(effects)


def effects(
    suite: StoredArgument,
    format: FormatOption = "table",
    wide: WideOption = False,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Print what each intervention did to divergence, final loss and recovery, against its untouched twin."""
    from analysis.tables.effects import NOTE, effect_group
    from analysis.tables.markdown import table_markdown
    from bench.cli.terminal import table_text
    from bench.errors import UsageError
    from bench.results.subjects import read_grid

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    if stored.suite is None:
        raise UsageError(f"{stored.name!r} is an import, whose trials have no interventions")
    if not stored.suite.interventions:
        raise UsageError(f"suite {stored.name!r} has no interventions; name some under `interventions:`")
    why_not = "{name} asks for a search, which has no twins of a whole grid; see bench leaderboard"
    subject = read_grid(stored, opened, why_not=why_not)
    say_missing(subject)
    found = subject.effects
    tables = effect_group(found).tables
    forms = {
        "table": lambda: "\n".join(table_text(table, is_wide=wide) for table in tables),
        "csv": found.write_csv,
        "json": lambda: json.dumps(list(map(_plain, found.to_dicts())), indent=1, allow_nan=False) + "\n",
        "md": lambda: "\n".join([*map(table_markdown, tables), NOTE, ""]),
    }
    print(forms[format](), end="")
    if format == "table":
        say(NOTE)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON can carry it: infinite knobs, such as grad_clip where nothing is clipped, as text."""
    return {name: str(value) if value in (math.inf, -math.inf) else value for name, value in row.items()}
