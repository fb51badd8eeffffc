"""`bench check`: whether an entry keeps to what entries of its kind keep to, one line a property."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bench.cli.options import AsJson
from bench.cli.shared import say
from bench.cli.streams import made_aside, prints_aside

EXIT_FAILED = 1


def add_check_command(app: typer.Typer) -> None:
    """Adds it to the application."""

    @app.command()
    def check(
        entry: Annotated[
            str,
            typer.Argument(metavar="ENTRY", help="module:Class, a module (all of its), or a shipped name"),
        ],
        settings: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="NAME=VALUE", help="a parameter's value; of a workload: a small size"),
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Check a method, optimizer, schedule, workload or probe, shipped or your own, by the conformance suite.

        Imports the module that it names. Prints one line a property: passed, with numbers, or FAILED, with what is
        wrong, what to change and the line. Exit codes: 0 all passed, 1 some failed, 2 there is no such entry.
        """
        from bench.testing import Finding, check_entry
        from bench.testing.named import entries_named

        rows: list[dict[str, str | bool]] = []
        with prints_aside():
            chosen = list(entries_named(entry, settings or []))
        for named in chosen:
            if not as_json:
                print(named.words)
            refused = Finding(property="can be an entry", has_passed=False, text=named.refusal)
            found_all = [refused] if named.refusal else made_aside(check_entry(named.field, named.entry))
            for checked in found_all:
                rows.append(
                    {"entry": named.label, "kind": named.field, "property": checked.property}
                    | {"passed": checked.has_passed, "text": checked.text}
                )
                if not as_json:
                    verdict = "passed" if checked.has_passed else "FAILED"
                    print(f"  {verdict}  {checked.property}: {checked.text}", flush=True)
        if as_json:
            print(json.dumps(rows, indent=2))
        num_passed = sum(bool(row["passed"]) for row in rows)
        say(f"{num_passed} of {len(rows)} properties hold")
        if num_passed < len(rows):
            raise typer.Exit(EXIT_FAILED)
