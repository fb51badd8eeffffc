"""`bench effects`: what a suite's interventions did, beside the untouched twins."""

from __future__ import annotations

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
    from analysis.tables.effects import effect_group
    from bench.cli.grouped import print_group
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
    print_group(effect_group(found), found, form=format, is_wide=wide)
