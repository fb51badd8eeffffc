"""`bench theory`: what theorems say of a suite's attention, beside what was measured."""

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


def add_theory_command(app: typer.Typer) -> None:
    app.command()(theory)


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
