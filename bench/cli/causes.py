"""`bench effects`, `theory` and `warnings`: why runs of a suite fail, by interventions, theorems and detectors."""

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


def add_cause_commands(app: typer.Typer) -> None:
    for command in (effects, theory, warnings):
        app.command()(command)


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


def theory(
    suite: StoredArgument,
    format: FormatOption = "table",
    wide: WideOption = False,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Print what theorems predict of entropy, variance and norms, beside every measured point, with deviations."""
    from analysis.tables.theory import theory_group
    from bench.cli.grouped import print_group
    from bench.errors import UsageError
    from bench.results.subjects import read_grid

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    if stored.suite is None:
        raise UsageError(f"{stored.name!r} is an import, whose runs have no traces of attention")
    why_not = "{name} asks for a search, whose trials are not read as a whole; see bench leaderboard"
    subject = read_grid(stored, opened, why_not=why_not)
    say_missing(subject)
    found = subject.theory
    if found.is_empty():
        raise UsageError(
            f"suite {stored.name!r} has no traces that a theorem speaks of: softmax or relu_kernel with the probes "
            "entropy and logit_variance"
        )
    print_group(theory_group(found), found, form=format, is_wide=wide)


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
