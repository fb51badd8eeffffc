"""`bench warnings`: how well detectors warn of a suite's failed runs."""

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


def add_warnings_command(app: typer.Typer) -> None:
    app.command()(warnings)


def warnings(
    suite: StoredArgument,
    format: FormatOption = "table",
    wide: WideOption = False,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Print how well each detector warns of divergence and blow-up: recall, false alarms, lead and AUC."""
    from analysis.scores.early_warning import why_no_board
    from analysis.tables.early_warning import warning_group
    from bench.cli.grouped import print_group
    from bench.errors import UsageError
    from bench.results.subjects import read_grid

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    why_not = "{name} asks for a search, whose trials are not read as a whole; see bench leaderboard"
    subject = read_grid(stored, opened, why_not=why_not)
    say_missing(subject)
    found = subject.early_warning
    if found.filter(left_out="").is_empty():
        raise UsageError(f"{stored.name!r} {why_no_board(subject.watched)}")
    print_group(warning_group(found), found, form=format, is_wide=wide)
