"""`bench export`: what goes into a paper."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    load,
    open_store,
    or_imports,
    say,
)
from bench.errors import UsageError

if TYPE_CHECKING:
    import polars

    from bench.store import Store
    from bench.suite import Suite

BundleOption = Annotated[
    Path, typer.Option("--bundle", help="folder to write: new, empty, or an earlier bundle, which is replaced")
]


def add_export_commands(app: typer.Typer) -> None:
    app.command()(export)


def _export_imported(name: str, store: Store, *, bundle: Path, compare: str | None, score: str, loss: str) -> None:
    """`bench export` of imports alone, which have no traces."""
    published = _published(bundle, compare)
    from bench.results.imported import bundle_imported

    command = _command(name, score=score, loss=loss, compare=compare)
    out = bundle.expanduser()
    _print_written(bundle_imported(store, name, out, published=published, score=score, loss=loss, command=command))


@or_imports(_export_imported)
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
    loaded = load(suite, allow_code)
    if loaded.search is not None:
        raise UsageError(f"{suite}: the answers of searches have no paper bundle; bench report writes them")
    published = _published(bundle, compare)
    command = _command(loaded.name, score=score, loss=loss, compare=compare)
    opened = open_store(store, tracking_uri)
    _print_written(_write(loaded, opened, bundle.expanduser(), published, score=score, loss=loss, command=command))


def _published(bundle: Path, compare: str | None) -> polars.DataFrame | None:
    """The numbers to compare with; refuses the folder, too, before results are read, which may take long."""
    from analysis import references
    from analysis.paper.files import refuse_foreign

    published = references.load(compare) if compare else None
    refuse_foreign(bundle.expanduser())
    return published


def _write(
    suite: Suite, store: Store, out: Path, published: polars.DataFrame | None, *, score: str, loss: str, command: str
) -> list[Path]:
    """The bundle of a suite, and of what was imported beside its trials."""
    from analysis.paper.bundle import write_bundle
    from analysis.report.folder import trials_to_trace
    from analysis.scores.table import trials_to_measure
    from analysis.scores.traces import lot_measures
    from bench.entry import build
    from bench.results.board import manifest_with_imports, read_board
    from bench.store import read_traces, trace_lots
    from bench.workloads import WORKLOADS

    board = read_board(suite, store, score=score, loss=loss)
    if board.num_missing:
        say(f"{board.num_missing} of {suite.num_trials} trials have no result yet")
    manifest = manifest_with_imports(store, suite.name)
    if manifest is None:
        say("no manifest in the store: versions and hardware are not stated")
    num_keys = {choice.label: build(WORKLOADS, choice).num_keys for choice in suite.entries["workloads"]}
    trials = trials_to_measure(board.results, num_keys)
    lots = trace_lots(store, suite.name, trials["trial_id"].to_list(), ("loss", "entropy"))
    return write_bundle(
        board.results,
        read_traces(store, suite.name, trials_to_trace(board.results, loss)),
        out,
        title=suite.name,
        num_keys=num_keys,
        manifest=manifest,
        references=published,
        board=board.frame,
        measures=lot_measures(lots, trials),
        score=score,
        loss=loss,
        command=command,
    )


def _print_written(paths: Sequence[Path]) -> None:
    say(f"wrote {len(paths)} files; LaTeX compiles the first:")
    print(paths[0])


def _command(suite: str, *, score: str, loss: str, compare: str | None) -> str:
    """The command that makes the bundle again, without what is private: paths, and addresses with their passwords."""
    options = {"--score": score, "--loss": loss, "--compare": compare}
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    return shlex.join(["bench", "export", suite, "--bundle", "DIR", *words])
