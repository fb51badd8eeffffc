"""`bench diff`: two suites, reports, imports or files side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import AllowCode, FormatOption, LossOption, ScoreOption, StoreOption, UriOption, WideOption
from bench.cli.shared import DEFAULT_STORE, open_store, say

if TYPE_CHECKING:
    import polars

    from analysis.across.difference import Moved
    from analysis.subject import Subject

EXIT_CHANGED = 3
SIDE_HELP = "a suite file, a suite of the store by name, the folder of a report, or a CSV or Parquet file, a row a run"

SideArgument = Annotated[str, typer.Argument(metavar="A", help=SIDE_HELP)]
OtherSideArgument = Annotated[str, typer.Argument(metavar="B", help="the same; everything is told as B minus A")]
WorkloadsOption = Annotated[
    tuple[str, str] | None,
    typer.Option("--workloads", metavar="A B", help="compare this workload of A with that of B"),
]
FailOption = Annotated[
    bool, typer.Option("--fail-on-change", help="exit code 3 if a score moved or an entry came or went")
]
OtherStoreOption = Annotated[Path | None, typer.Option("--store-b", help="folder of the store that B is in; else A's")]
OtherUriOption = Annotated[
    str | None, typer.Option("--tracking-uri-b", help="MLflow server or database that B is in; else A's")
]


def add_diff_command(app: typer.Typer) -> None:
    app.command()(diff)


def diff(
    a: SideArgument,
    b: OtherSideArgument,
    workloads: WorkloadsOption = None,
    format: FormatOption = "table",
    wide: WideOption = False,
    fail_on_change: FailOption = False,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    store_b: OtherStoreOption = None,
    tracking_uri_b: OtherUriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Say what moved between two runs of a suite, beyond noise.

    Of each entry in both: scores over the learning rates in common, their difference with its 95% interval (paired by
    seed where both sides start from the same losses, else Welch's), p after Holm's correction, ranks, and how many
    trials end in the same loss to the last bit; then what only one side has, and where the manifests differ.
    """
    from analysis.across.difference import moved
    from bench.results.named import compared_subject

    first = compared_subject(a, open_store(store, tracking_uri), allow_code=allow_code, score=score, loss=loss)
    has_other = store_b is not None or tracking_uri_b is not None
    other = open_store(store_b or store, tracking_uri_b if has_other else tracking_uri)
    second = compared_subject(b, other, allow_code=allow_code, score=score, loss=loss)
    results = first.results, second.results
    named = results if workloads is None else _of_workloads(results, workloads)
    moved_scores = moved(*named, score=score, loss=loss, controls={*first.controls, *second.controls})
    _print_moved(moved_scores, format, first, second, is_wide=wide)
    if fail_on_change and moved_scores.is_beyond_noise:
        raise typer.Exit(EXIT_CHANGED)


def _of_workloads(
    results: tuple[polars.DataFrame, polars.DataFrame], workloads: tuple[str, str]
) -> tuple[polars.DataFrame, polars.DataFrame]:
    """The results of A on the first workload, and of B on the second, under one name."""
    from analysis.across.difference import of_workload

    (a, b), (label_a, label_b) = results, workloads
    name = label_a if label_a == label_b else f"{label_a} against {label_b}"
    return of_workload(a, label_a, name, "A"), of_workload(b, label_b, name, "B")


def _print_moved(moved_scores: Moved, format: str, a: Subject, b: Subject, *, is_wide: bool) -> None:
    from analysis.labels import merged
    from analysis.tables.difference import (
        diff_json,
        diff_markdown,
        manifest_differences,
        summary_lines,
        terminal_frames,
    )
    from analysis.tables.forms.csv_text import csv_text
    from bench.cli.terminal import frame_text

    manifests, sides = manifest_differences(a.plain_manifest, b.plain_manifest), (a.origin, b.origin)
    names = merged([a.labels, b.labels]).plain
    if format == "table":
        frames = terminal_frames(moved_scores, manifests)
        print("\n".join(frame_text(names.in_frame(frame), is_wide=is_wide) for frame in frames), end="")
        say("\n".join([f"A: {sides[0]}", f"B: {sides[1]}", *summary_lines(moved_scores)]))
    elif format == "csv":
        print(csv_text(moved_scores.entries), end="")
    elif format == "md":
        print(diff_markdown(moved_scores, manifests, sides, names), end="")
    else:
        print(diff_json(moved_scores, manifests, sides), end="")
