"""`bench import` and `bench diff`: runs of others on a leaderboard, and two suites side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli.shared import (
    DEFAULT_STORE,
    AllowCode,
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
    from bench.imports import Imported
    from bench.suite import Suite
    from bench.tracking import Store

EXIT_CHANGED = 3
SIDE_HELP = "a suite file, a suite of the store by name, the folder of a report, or a CSV or Parquet file, a row a run"

FormatOption = Annotated[Literal["table", "csv", "json", "md"], typer.Option("--format")]


def add_foreign_commands(app: typer.Typer) -> None:
    app.command("import")(import_)
    app.command()(diff)


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV or Parquet, a row a run; or the name of an import")],
    suite: Annotated[
        str | None, typer.Option(help="a suite of ours to stand beside, or the name of one of imports; else the file's")
    ] = None,
    workload: Annotated[str | None, typer.Option(help="of all runs, where the file has no such column")] = None,
    initial_loss: Annotated[
        float | None, typer.Option(help="before any update, of all runs, where the file has no such column")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="a column of the file that keeps runs apart, as a knob does; repeatable")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="a column to leave out; repeatable")] = None,
    remove: Annotated[
        bool,
        typer.Option("--remove", help="take all imported under the name FILE out again, or that import of --suite"),
    ] = False,
    format: FormatOption = "table",
    out: Annotated[Path | None, typer.Option("--out", help="folder for a report of the imports alone")] = None,
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
    replaces its runs. bench leaderboard, report, scores, verify and diff take the name of an
    import as they do a suite's.
    """
    from analysis.foreign.tidy_file import read_tidy
    from bench.imports import import_runs, read_imported, report_imported

    target, opened = _target(suite, allow_code), open_store(store, tracking_uri)
    if remove:
        _remove(file, opened, target)
        return
    if out is not None and not isinstance(target, str | None):
        raise UsageError("--out is for imports alone; bench report shows those beside a suite's trials")
    if not Path(file).is_file() and "/" not in file and not Path(file).suffix:
        board, name = read_imported(opened, file, score=score, loss=loss), file
    else:
        tidy = read_tidy(Path(file), ignore or ())
        imported = import_runs(
            tidy,
            opened,
            suite=target,
            workload=workload,
            initial_loss=initial_loss,
            settings=tuple(setting or ()),
            score=score,
            loss=loss,
        )
        _say_imported(imported, tidy.name)
        board, name = imported.board, imported.suite_name
    print_board(board.frame, format, None)
    if out is not None:
        say(f"wrote {report_imported(opened, name, out, score=score, loss=loss)[0]}")


def imported_leaderboard(name: str, store: Store, *, format: str, compare: str | None, score: str, loss: str) -> None:
    """`bench leaderboard` of imports alone."""
    from bench.imports import read_imported

    print_board(read_imported(store, name, score=score, loss=loss).frame, format, compare)


def imported_report(name: str, store: Store, *, out: Path, compare: str | None, score: str, loss: str) -> None:
    """`bench report` of imports alone."""
    from bench.imports import report_imported

    paths = report_imported(store, name, out, compare=compare, score=score, loss=loss)
    say(f"wrote {len(paths)} files; open the first:")
    print(paths[0])


def imported_verify(name: str, store: Store) -> None:
    """`bench verify` of imports alone."""
    from bench.imports import read_imported
    from bench.verify import verify_imports

    print_verification(verify_imports(name, store, lambda: read_imported(store, name).frame))


def _remove(name: str, store: Store, suite: Suite | str | None) -> None:
    from bench.removal import remove_imports

    for one, num_runs in remove_imports(store, name, suite=suite).items():
        say(f"import {one}: {num_runs} runs removed, to be found in MLflow's trash until `mlflow gc`")


def _target(suite: str | None, allow_code: bool) -> Suite | str | None:
    """A suite of ours, or the name of one of imports alone."""
    from bench.suite import shipped_suites

    if suite is None or not (suite in shipped_suites() or "/" in suite or suite.endswith((".yaml", ".yml"))):
        return suite
    return load(suite, allow_code)


def _say_imported(imported: Imported, file: str) -> None:
    from bench.imports import plain_value

    results = imported.foreign.results
    methods = len({result.trial.method.label for result in results})
    if imported.is_unchanged:
        say(f"{imported.suite_name} holds the {len(results)} runs of {file} already; nothing changed")
        return
    say(
        f"{file}: {len(results)} runs of {methods} methods imported into {imported.suite_name}: "
        f"{imported.num_new} new, {imported.num_replaced} replaced, {imported.num_removed} removed"
    )
    if imported.foreign.assumed:
        assumed = ", ".join(f"{name} {plain_value(value)}" for name, value in imported.foreign.assumed.items())
        say(f"not stated, so taken as: {assumed}")
    if not imported.foreign.sources:
        say("no source is stated: a column `source` says whose runs these are")


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=SIDE_HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help="the same; everything is told as B minus A")],
    workloads: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="compare this workload of A with that of B")
    ] = None,
    format: FormatOption = "table",
    fail_on_change: Annotated[
        bool, typer.Option("--fail-on-change", help="exit code 3 if a score moved or an entry came or went")
    ] = False,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    store_b: Annotated[
        Path | None, typer.Option("--store-b", help="folder of the store that B is in; else A's")
    ] = None,
    tracking_uri_b: Annotated[
        str | None, typer.Option("--tracking-uri-b", help="MLflow server or database that B is in; else A's")
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Say what moved between two runs of a suite, beyond noise.

    Of each entry in both: scores over the learning rates in common, their difference with its 95% interval (paired by
    seed where both sides start from the same losses, else Welch's), p after Holm's correction, ranks, and how many
    trials end in the same loss to the last bit; then what only one side has, and where the manifests differ.
    """
    from analysis.across.difference import moved, of_workload
    from analysis.across.difference_text import (
        diff_json,
        diff_markdown,
        manifest_differences,
        summary_lines,
        terminal_frames,
    )
    from bench.progress import terminal_table
    from bench.sides import read_side

    first = read_side(a, open_store(store, tracking_uri), allow_code=allow_code)
    has_other = store_b is not None or tracking_uri_b is not None
    other = open_store(store_b or store, tracking_uri_b if has_other else tracking_uri)
    second = read_side(b, other, allow_code=allow_code)
    results = [first.results, second.results]
    if workloads is not None:
        name = workloads[0] if workloads[0] == workloads[1] else " against ".join(workloads)
        labelled = zip(results, workloads, "AB", strict=True)
        results = [of_workload(frame, label, name, side) for frame, label, side in labelled]
    found = moved(*results, score=score, loss=loss)
    manifests, names = manifest_differences(first.manifest, second.manifest), (first.shown, second.shown)
    if format == "table":
        print("\n".join(map(terminal_table, terminal_frames(found, manifests))), end="")
        say("\n".join([f"A: {names[0]}", f"B: {names[1]}", *summary_lines(found)]))
    elif format == "csv":
        print(found.entries.write_csv(), end="")
    else:
        print({"md": diff_markdown, "json": diff_json}[format](found, manifests, names), end="")
    if fail_on_change and found.is_beyond_noise:
        raise typer.Exit(EXIT_CHANGED)
