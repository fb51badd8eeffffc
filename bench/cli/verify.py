"""`bench verify`: what a store holds of a suite, or what others contribute, read again and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import AllowCode, ContributedOption, StoreOption, UriOption
from bench.cli.shared import DEFAULT_STORE, EXIT_STORE, EXIT_TRIALS_FAILED, find, open_store, say
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.results.verify import Verification
    from bench.store import Store


def add_verify_command(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    suite: Annotated[
        str | None,
        typer.Argument(metavar="SUITE", help="a suite file, or the name of a shipped suite, of one run, or of imports"),
    ] = None,
    contributed: ContributedOption = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Read every result of a suite again and check it; changes nothing.

    Checked: each result against the content hash that is its trial's id, metrics and params against the result,
    checksums and columns of traces, one run a trial, that no trial of the suite is missing, and the published
    leaderboard against one computed anew. Prints one line a finding. Exit codes: 0 all is well, 3 trials without a
    result or runs that a killed driver left open, 4 the store contradicts itself or can't be read.

    With --contributed DIR instead a contribution, or each of those in DIR: its files and checksums, who contributes,
    whether the manifest says how the results came about, and each number of the board against one computed anew.
    """
    from bench.results.verify import verify as check

    opened = open_store(store, tracking_uri)
    if (suite is None) == (not contributed):
        raise UsageError("required a suite, or --contributed DIR, and not both")
    if suite is None:
        _print_contributions(contributed or [], opened)
        return
    _print_verification(check(find(suite, opened, allow_code), opened))


def _print_verification(checked: Verification) -> None:
    """What was found, a line each, and how much was checked; ends with an exit code where anything was found."""
    from analysis.text import counted

    for finding in checked.findings:
        print(f"{finding.where}: {finding.text}")
    runs, traces = counted(checked.num_runs, "run", "1"), counted(checked.num_traces, "trace", "1")
    say(
        f"{checked.num_results} of {checked.num_trials} trials have a result; checked {runs}, {traces} "
        f"({checked.num_unsigned} without a checksum), {checked.num_waiting} trials wait in the outbox: "
        f"{counted(len(checked.findings), 'finding')}"
    )
    if checked.findings:
        raise typer.Exit(EXIT_STORE if any(one.is_wrong for one in checked.findings) else EXIT_TRIALS_FAILED)


def _print_contributions(folders: Sequence[Path], store: Store) -> None:
    """What is found of each contribution, a line each; ends with an exit code where anything is."""
    from analysis.text import counted
    from bench.results.contributed import contributions, verify_contribution

    checked = {folder: verify_contribution(folder, store) for folder in contributions(folders)}
    findings = [finding for of_folder in checked.values() for finding in of_folder]
    for finding in findings:
        print(f"{finding.where}: {finding.text}")
    say(f"checked {counted(len(checked), 'contribution')}: {counted(len(findings), 'finding')}")
    if findings:
        raise typer.Exit(EXIT_STORE if any(one.is_wrong for one in findings) else EXIT_TRIALS_FAILED)
