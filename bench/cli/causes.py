"""`bench effects`, `theory` and `warnings`: why runs of a suite fail, by interventions, theorems and detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bench.cli.options import AllowCode, FormatOption, StoredArgument, StoreOption, UriOption, WideOption
from bench.cli.shared import DEFAULT_STORE, find, open_store, say_missing

if TYPE_CHECKING:
    from analysis.subject import Subject
    from bench.results.stored import Stored
    from bench.store import Store

NO_WHOLE = "whose trials are not read as a whole"


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
    """Print what each intervention did to divergence, final loss and recovery, against its untouched twin.

    In tables also what a later start of it costs against the first one.
    """
    from analysis.scores.causes.effect_starts import effect_starts
    from analysis.tables.causes.effects import effect_group, start_group
    from analysis.tables.forms.table import Group
    from bench.cli.grouped import print_group
    from bench.errors import UsageError

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    if stored.suite is None:
        raise UsageError(f"{stored.name!r} is an import, whose trials have no interventions; required a suite")
    if not stored.suite.interventions:
        raise UsageError(f"suite {stored.name!r} has no interventions; name some under `interventions:`")
    subject = _read(stored, opened, "which has no twins of a whole grid")
    board = subject.effects
    groups = [one for one in (effect_group(board), start_group(effect_starts(subject.paired))) if one.tables]
    group = Group(
        tables=tuple(table for one in groups for table in one.tables), note=" ".join(one.note for one in groups)
    )
    print_group(group, board, names=subject.labels.plain, form=format, is_wide=wide)


def theory(
    suite: StoredArgument,
    format: FormatOption = "table",
    wide: WideOption = False,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Print what theorems predict of entropy, variance and norms, beside every measured point, with deviations."""
    from analysis.tables.causes.theory import theory_group
    from bench.cli.grouped import print_group
    from bench.errors import UsageError

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    if stored.suite is None:
        raise UsageError(f"{stored.name!r} is an import, whose runs have no traces of attention; required a suite")
    subject = _read(stored, opened, NO_WHOLE)
    deviations = subject.theory
    if deviations.is_empty():
        raise UsageError(
            f"suite {stored.name!r} has no traces that a theorem speaks of; required softmax or relu_kernel, with the "
            "probes entropy and logit_variance"
        )
    print_group(theory_group(deviations), deviations, names=subject.labels.plain, form=format, is_wide=wide)


def warnings(
    suite: StoredArgument,
    format: FormatOption = "table",
    wide: WideOption = False,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Print how well each detector warns of divergence and blow-up: recall, false alarms, lead and AUC."""
    from analysis.scores.causes.early_warning import why_no_board
    from analysis.tables.causes.early_warning import warning_group
    from bench.cli.grouped import print_group
    from bench.errors import UsageError

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    subject = _read(stored, opened, NO_WHOLE)
    board = subject.early_warning
    if board.filter(left_out="").is_empty():
        raise UsageError(f"{stored.name!r} {why_no_board(subject.watched)}")
    print_group(warning_group(board), board, names=subject.labels.plain, form=format, is_wide=wide)


def _read(stored: Stored, store: Store, of_search: str) -> Subject:
    """The results, with what is missing of them said. of_search: why there are none of a suite that searches."""
    from bench.results.subjects import read_grid

    subject = read_grid(stored, store, why_not=f"{{name}} asks for a search, {of_search}; see bench leaderboard")
    say_missing(subject)
    return subject
