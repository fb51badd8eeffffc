"""`bench export`: what goes into a paper."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.shared import (
    DEFAULT_STORE,
    AllowCode,
    CompareOption,
    LossOption,
    ScoreOption,
    StoredArgument,
    StoreOption,
    UriOption,
    find,
    open_store,
    published_numbers,
    say,
    say_missing,
)

BundleOption = Annotated[
    Path, typer.Option("--bundle", help="folder to write: new, empty, or an earlier bundle, which is replaced")
]


def add_export_commands(app: typer.Typer) -> None:
    app.command()(export)


def export(
    suite: StoredArgument,
    bundle: BundleOption,
    compare: CompareOption = None,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Write a folder for a paper: LaTeX tables, figures, BibTeX, a paragraph of methods, every number."""
    from analysis.paper.bundle import write_bundle
    from analysis.paper.files import refuse_other_files
    from bench.results.subjects import read_grid

    out, opened = bundle.expanduser(), open_store(store, tracking_uri)
    stored, published = find(suite, opened, allow_code), published_numbers(compare)
    refuse_other_files(out)  # before results are read, which may take long
    why_not = f"{suite}: the answers of searches have no paper bundle; bench report writes them"
    subject = read_grid(stored, opened, why_not=why_not, score=score, loss=loss, published=published)
    paths = write_bundle(subject, out, command=_command(subject.name, score=score, loss=loss, compare=compare))
    say_missing(subject)
    if subject.manifest is None:
        say("no manifest in the store: versions and hardware are not stated")
    say(f"wrote {len(paths)} files; LaTeX compiles the first:")
    print(paths[0])


def _command(suite: str, *, score: str, loss: str, compare: str | None) -> str:
    """The command that makes the bundle again, without what is private: paths, and addresses with their passwords."""
    options = {"--score": score, "--loss": loss, "--compare": compare}
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    return shlex.join(["bench", "export", suite, "--bundle", "DIR", *words])
