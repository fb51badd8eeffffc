"""`bench list` and `bench schema`: what can be named in a suite, for people, documentation and editors."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from bench.cli.options import AsJson
from bench.cli.shared import say
from bench.errors import UsageError


def add_list_commands(app: typer.Typer) -> None:
    app.command()(schema)
    app.command("list")(list_entries)


def schema() -> None:
    """Print the JSON Schema of suite files, for completion and checks in an editor."""
    from bench.suite import json_schema

    print(json.dumps(json_schema(), indent=2))


def list_entries(
    kind: Annotated[
        Literal[
            "methods",
            "workloads",
            "optimizers",
            "schedules",
            "interventions",
            "probes",
            "knobs",
            "searches",
            "suites",
            "scores",
        ]
        | None,
        typer.Argument(help="else the names of all kinds"),
    ] = None,
    format: Annotated[
        Literal["text", "md"], typer.Option("--format", help="md: a Markdown table, as in suites/README.md")
    ] = "text",
    as_json: AsJson = False,
) -> None:
    """List what can be named in a suite, with parameters and sources, and scores with their definitions.

    Entries of installed packages (plug-ins) come last, with package and version.
    """
    from bench.cli.terminal import sentences_text
    from bench.suite.catalog import list_markdown, list_rows, overview, refusals

    for refusal in refusals():
        say(refusal)
    if kind is None:
        if format == "md":
            raise UsageError("--format md takes one kind, such as bench list methods --format md")
        names = overview()
        lines = (f"{each}: {', '.join(of_kind)}" for each, of_kind in names.items())
        print(json.dumps(names, indent=2) + "\n" if as_json else sentences_text(lines, indent="  "), end="")
        return
    if format == "md":
        if as_json:
            raise UsageError("--json and --format md are two formats; name one")
        print(list_markdown(kind), end="")
        return
    rows = list_rows(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    lines = (
        f"{row.pop('name')}: {'; '.join(str(value).removesuffix('.') for value in row.values() if value)}"
        for row in rows
    )
    print(sentences_text(lines, indent="  "), end="")
