"""`bench export`: what goes into a paper."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    AllowCode,
    CompareOption,
    FontOption,
    LossOption,
    ScoreOption,
    StoredArgument,
    StoreOption,
    UriOption,
)
from bench.cli.shared import DEFAULT_STORE, find, open_store, published_numbers, refuse_options, say, say_missing
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.store import Store

BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="folder to write: new, empty, or an earlier bundle, which is replaced")
]
ContributionOption = Annotated[
    Path | None,
    typer.Option("--contribution", help="instead: a new folder, of results to submit"),
]
ByOption = Annotated[str, typer.Option("--by", help="of a contribution: whose results they are")]
AboutOption = Annotated[
    str, typer.Option("--about", help="of a contribution: what a reader must know, as where code of your own is")
]


def add_export_commands(app: typer.Typer) -> None:
    app.command()(export)


def export(
    suite: StoredArgument,
    bundle: BundleOption = None,
    contribution: ContributionOption = None,
    font: FontOption = None,
    by: ByOption = "",
    about: AboutOption = "",
    compare: CompareOption = None,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Write a folder for a paper: LaTeX tables, figures, BibTeX, a paragraph of methods, every number.

    With --contribution DIR --by NAME --about TEXT instead what others can put on their boards: curves, leaderboard,
    manifest and checksums.
    """
    if (bundle is None) == (contribution is None):
        raise UsageError("required --bundle DIR or --contribution DIR, and not both")
    if contribution is not None:
        _contribute(suite, contribution.expanduser(), by, about, open_store(store, tracking_uri), allow_code)
        return
    assert bundle is not None
    from analysis.paper.bundles import bundle_of
    from analysis.paper.files import refuse_other_files
    from analysis.report.views import view_of
    from bench.results.subjects import read_subject

    out, opened = bundle.expanduser(), open_store(store, tracking_uri)
    stored, published = find(suite, opened, allow_code), published_numbers(compare)
    refuse_other_files(out)  # before results are read, which may take long
    subject = read_subject(stored, opened, score=score, loss=loss, published=published)
    view = view_of(subject)
    refuse_options(f"{subject.name} {view.asks}, whose bundle takes", view.refused, compare, score, loss)
    options = {"--score": score, "--loss": loss, "--compare": compare, "--font": font}
    command = _command(stored.name, {name: value for name, value in options.items() if name not in view.refused})
    paths = bundle_of(subject, out, command=command, font=font or "sans")
    say_missing(subject)
    if subject.manifest is None:
        say("no manifest in the store: versions and hardware are not stated")
    say(f"wrote {len(paths)} files; LaTeX compiles the first:")
    print(paths[0])


def _contribute(suite: str, out: Path, by: str, about: str, store: Store, allow_code: bool) -> None:
    from bench.results.contributed import write_contribution
    from bench.results.subjects import read_grid

    if not (by.strip() and about.strip()):
        raise UsageError("--contribution: required --by, whose results they are, and --about, what they are")
    subject = read_grid(find(suite, store, allow_code), store)
    say_missing(subject)
    paths = write_contribution(subject, out, by=by, about=about)
    say(f"wrote {len(paths)} files; bench verify --contributed {out} checks them")
    print(paths[0])


def _command(suite: str, options: Mapping[str, str | None]) -> str:
    """The command that makes the bundle again, without what is private: paths, and addresses with their passwords."""
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    return shlex.join(["bench", "export", suite, "--bundle", "DIR", *words])
