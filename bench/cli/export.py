"""`bench export`: what goes into a paper."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.shared import (
    DEFAULT_STORE,
    AllowCode,
    LossOption,
    ScoreOption,
    StoreOption,
    SuiteArgument,
    UriOption,
    load,
    open_store,
    say,
)
from bench.errors import UsageError

BundleOption = Annotated[
    Path, typer.Option("--bundle", help="folder to write: new, empty, or an earlier bundle, which is replaced")
]


def add_export_commands(app: typer.Typer) -> None:
    app.command()(export)


def export(
    suite: SuiteArgument,
    bundle: BundleOption,
    compare: Annotated[str | None, typer.Option(help="published numbers to set beside ours: paper")] = None,
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
    from analysis import references
    from analysis.paper.files import refuse_foreign

    out = bundle.expanduser()
    published = references.load(compare) if compare else None
    refuse_foreign(out)  # before results are read, which may take long
    from analysis.paper.bundle import write_bundle
    from analysis.report.folder import trials_to_trace
    from analysis.scores.table import trials_to_measure
    from analysis.scores.traces import lot_measures
    from bench.entry import build
    from bench.publish import read_board
    from bench.tracking import read_manifest, read_traces, trace_lots
    from bench.workloads import WORKLOADS

    opened = open_store(store, tracking_uri)
    board = read_board(loaded, opened, score=score, loss=loss)
    if board.num_missing:
        say(f"{board.num_missing} of {loaded.num_trials} trials have no result yet")
    manifest = read_manifest(opened, loaded.name)
    num_keys = {choice.label: build(WORKLOADS, choice).num_keys for choice in loaded.entries["workloads"]}
    trials = trials_to_measure(board.results, num_keys)
    lots = trace_lots(opened, loaded.name, trials["trial_id"].to_list(), ("loss", "entropy"))
    paths = write_bundle(
        board.results,
        read_traces(opened, loaded.name, trials_to_trace(board.results, loss)),
        out,
        title=loaded.name,
        num_keys=num_keys,
        manifest=manifest,
        references=published,
        board=board.frame,
        measures=lot_measures(lots, trials),
        score=score,
        loss=loss,
        command=_command(loaded.name, score=score, loss=loss, compare=compare),
    )
    if manifest is None:
        say("no manifest in the store: versions and hardware are not stated")
    say(f"wrote {len(paths)} files; LaTeX compiles the first:")
    print(paths[0])


def _command(suite: str, *, score: str, loss: str, compare: str | None) -> str:
    """The command that makes the bundle again, without what is private: paths, and addresses with their passwords."""
    options = {"--score": score, "--loss": loss, "--compare": compare}
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    return shlex.join(["bench", "export", suite, "--bundle", "DIR", *words])
