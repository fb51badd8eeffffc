"""`bench import` and `bench diff`: runs of others on a leaderboard, and two suites side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.shared import (
    DEFAULT_STORE,
    AllowCode,
    FormatOption,
    LossOption,
    ScoreOption,
    StoreOption,
    UriOption,
    load,
    open_store,
    print_board,
    print_verification,
    say,
)
from bench.errors import UsageError

if TYPE_CHECKING:
    import polars

    from analysis.across.difference import Moved
    from bench.results.board import Board
    from bench.results.imports import Imported
    from bench.results.sides import Side
    from bench.store import Store
    from bench.suite import Suite

EXIT_CHANGED = 3
SIDE_HELP = "a suite file, a suite of the store by name, the folder of a report, or a CSV or Parquet file, a row a run"

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV or Parquet, a row a run; or the name of an import")
]
TargetOption = Annotated[
    str | None,
    typer.Option("--suite", help="a suite of ours to stand beside, or the name of one of imports; else the file's"),
]
WorkloadOption = Annotated[
    str | None, typer.Option("--workload", help="of all runs, where the file has no such column")
]
InitialLossOption = Annotated[
    float | None,
    typer.Option("--initial-loss", help="before any update, of all runs, where the file has no such column"),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--setting", help="a column of the file that keeps runs apart, as a knob does; repeatable"),
]
IgnoreOption = Annotated[list[str] | None, typer.Option("--ignore", help="a column to leave out; repeatable")]
RemoveOption = Annotated[
    bool, typer.Option("--remove", help="take all imported under the name FILE out again, or that import of --suite")
]
ReportOption = Annotated[Path | None, typer.Option("--out", help="folder for a report of the imports alone")]

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


def add_foreign_commands(app: typer.Typer) -> None:
    app.command("import")(import_)
    app.command()(diff)


def import_(
    file: FileArgument,
    suite: TargetOption = None,
    workload: WorkloadOption = None,
    initial_loss: InitialLossOption = None,
    setting: SettingOption = None,
    ignore: IgnoreOption = None,
    remove: RemoveOption = False,
    format: FormatOption = "table",
    out: ReportOption = None,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Put other people's runs on a leaderboard, marked as imported.

    Required columns: method, lr, seed, final_loss (or loss), initial_loss. Known as well: workload, optimizer,
    schedule, outcome (completed or diverged; else a run diverged where its loss is not finite), num_steps,
    warmup_steps, weight_decay, grad_clip, init_scale, knobs, diverged_step, initial_val_loss, val_loss, val_accuracy,
    val_calibration_error, wall_s, source. The same file again changes nothing; a corrected file of the same name
    replaces its runs. bench leaderboard, report, scores, export, ui, verify and diff take
    the name of an import as they do a suite's.
    """
    target, opened = _target(suite, allow_code), open_store(store, tracking_uri)
    if remove:
        _remove(file, opened, target)
        return
    if out is not None and not isinstance(target, str | None):
        raise UsageError("--out is for imports alone; bench report shows those beside a suite's trials")
    options = {"workload": workload, "initial_loss": initial_loss, "settings": tuple(setting or ())}
    name, board = _imported(file, ignore or (), opened, suite=target, score=score, loss=loss, **options)
    print_board(board.frame, format, None)
    if out is not None:
        from bench.results.imported import report_imported

        say(f"wrote {report_imported(opened, name, out, score=score, loss=loss)[0]}")


def _imported(
    file: str, ignore: Sequence[str], store: Store, *, score: str, loss: str, **options: Any
) -> tuple[str, Board]:
    """Where the runs of a file stand after their import, or those of the import of this name; and their leaderboard.

    `options` are the others of `import_runs`.
    """
    from analysis.foreign.tidy_file import read_tidy
    from bench.results.imported import read_imported
    from bench.results.imports import import_runs

    if not Path(file).is_file() and "/" not in file and not Path(file).suffix:
        return file, read_imported(store, file, score=score, loss=loss)
    tidy = read_tidy(Path(file), ignore)
    imported = import_runs(tidy, store, score=score, loss=loss, **options)
    _say_imported(imported, tidy.name)
    return imported.suite_name, imported.board


def imported_leaderboard(name: str, store: Store, *, format: str, compare: str | None, score: str, loss: str) -> None:
    """`bench leaderboard` of imports alone."""
    from bench.results.imported import read_imported

    print_board(read_imported(store, name, score=score, loss=loss).frame, format, compare)


def imported_report(name: str, store: Store, *, out: Path, compare: str | None, score: str, loss: str) -> None:
    """`bench report` of imports alone."""
    from bench.results.imported import report_imported

    paths = report_imported(store, name, out, compare=compare, score=score, loss=loss)
    say(f"wrote {len(paths)} files; open the first:")
    print(paths[0])


def imported_verify(name: str, store: Store) -> None:
    """`bench verify` of imports alone."""
    from bench.results.imported import read_imported
    from bench.results.verify import verify_imports

    print_verification(verify_imports(name, store, lambda: read_imported(store, name).frame))


def _remove(name: str, store: Store, suite: Suite | str | None) -> None:
    from bench.results.removal import remove_imports

    for one, num_runs in remove_imports(store, name, suite=suite).items():
        say(f"import {one}: {num_runs} runs removed, to be found in MLflow's trash until `mlflow gc`")


def _target(suite: str | None, allow_code: bool) -> Suite | str | None:
    """A suite of ours, or the name of one of imports alone."""
    from bench.suite import shipped_suites

    if suite is None or not (suite in shipped_suites() or "/" in suite or suite.endswith((".yaml", ".yml"))):
        return suite
    return load(suite, allow_code)


def _say_imported(imported: Imported, file: str) -> None:
    from analysis.text import counted
    from bench.results.imports import plain_value

    results = imported.foreign.results
    runs = counted(len(results), "run")
    methods = counted(len({result.trial.method.label for result in results}), "method")
    if imported.is_unchanged:
        say(f"{imported.suite_name} holds the {runs} of {file} already; nothing changed")
        return
    say(
        f"{file}: {runs} of {methods} imported into {imported.suite_name}: "
        f"{imported.num_new} new, {imported.num_replaced} replaced, {imported.num_removed} removed"
    )
    if imported.foreign.assumed:
        assumed = ", ".join(f"{name} {plain_value(value)}" for name, value in imported.foreign.assumed.items())
        say(f"not stated, so taken as: {assumed}")
    if not imported.foreign.sources:
        say("no source is stated: a column `source` says whose runs these are")


def diff(
    a: SideArgument,
    b: OtherSideArgument,
    workloads: WorkloadsOption = None,
    format: FormatOption = "table",
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
    from bench.results.sides import read_side

    first = read_side(a, open_store(store, tracking_uri), allow_code=allow_code)
    has_other = store_b is not None or tracking_uri_b is not None
    other = open_store(store_b or store, tracking_uri_b if has_other else tracking_uri)
    second = read_side(b, other, allow_code=allow_code)
    results = first.results, second.results
    found = moved(*(results if workloads is None else _of_workloads(results, workloads)), score=score, loss=loss)
    _print_moved(found, format, first, second)
    if fail_on_change and found.is_beyond_noise:
        raise typer.Exit(EXIT_CHANGED)


def _of_workloads(
    results: tuple[polars.DataFrame, polars.DataFrame], workloads: tuple[str, str]
) -> tuple[polars.DataFrame, polars.DataFrame]:
    """The results of A on the first workload, and of B on the second, under one name."""
    from analysis.across.difference import of_workload

    (a, b), (label_a, label_b) = results, workloads
    name = label_a if label_a == label_b else f"{label_a} against {label_b}"
    return of_workload(a, label_a, name, "A"), of_workload(b, label_b, name, "B")


def _print_moved(found: Moved, format: str, a: Side, b: Side) -> None:
    from analysis.tables.difference import (
        diff_json,
        diff_markdown,
        manifest_differences,
        summary_lines,
        terminal_frames,
    )
    from bench.cli.progress import terminal_table

    manifests, names = manifest_differences(a.manifest, b.manifest), (a.shown, b.shown)
    if format == "table":
        print("\n".join(map(terminal_table, terminal_frames(found, manifests))), end="")
        say("\n".join([f"A: {names[0]}", f"B: {names[1]}", *summary_lines(found)]))
    elif format == "csv":
        print(found.entries.write_csv(), end="")
    else:
        print({"md": diff_markdown, "json": diff_json}[format](found, manifests, names), end="")
