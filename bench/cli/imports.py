"""`bench import`: runs of others on a leaderboard."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.options import AllowCode, FormatOption, LossOption, ScoreOption, StoreOption, UriOption, WideOption
from bench.cli.shared import DEFAULT_STORE, load, open_store, print_board, say
from bench.errors import StoreError, UsageError

if TYPE_CHECKING:
    from analysis.subject import Subject
    from bench.imports.runs import ImportedRuns
    from bench.imports.wishes import Wishes
    from bench.results.imports import Imported
    from bench.results.stored import Stored
    from bench.store import Store

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
MarginOption = Annotated[
    float | None,
    typer.Option(
        "--blown-up-margin",
        min=0,
        help="a completed run blew up if it ends above its loss at init by more than this share of it (0.1)",
    ),
]
IgnoreOption = Annotated[
    list[str] | None, typer.Option("--ignore", help="columns to leave out, with commas between; repeatable")
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="what our columns are called there: lr=learning_rate,method=attention; repeatable"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="a column of ours that holds for all runs of the file: method=softmax; repeatable"),
]
RunNamesOption = Annotated[
    str | None,
    typer.Option("--run-names", help="what the name of a run says, for a chart export: '{method}-lr{lr}-s{seed}'"),
]
LastOfOption = Annotated[
    str | None,
    typer.Option("--last-of", help="the column that tells runs apart, where each has several rows; the last is final"),
]
WithoutLossOption = Annotated[
    Literal["diverged", "lost"] | None,
    typer.Option("--without-loss", help="what a finished run without a final loss is; else left out, and said"),
]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="let this file take the place of another one of its name")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="show how the file is read, what is left out and the command; store nothing")
]
RemoveOption = Annotated[
    bool, typer.Option("--remove", help="take all imported under the name FILE out again, or that import of --suite")
]
ReportOption = Annotated[
    Path | None, typer.Option("--out", file_okay=False, help="folder for a report of the imports alone")
]


HELP = """
Put other people's runs on a leaderboard, marked as imported.

FILE is read as what it is recognised to be: a runs table, a chart export or the API's runs of Weights & Biases,
MLflow's search_runs, Optuna's trials_dataframe, Ray Tune's results, scalars of TensorBoard (a folder with event files,
or a downloaded CSV), a table with a row a checkpoint or with lists in cells, whose values by step become traces, or our
own tidy form, as CSV (also with tabs or semicolons), Parquet or JSON lines, packed or not. What is read as what, left
out (lost runs above all) or assumed is said with counts; --dry-run says it and stores nothing.

Required columns of the tidy form: method, lr, seed, final_loss (or loss), initial_loss. Known as well: workload,
optimizer, schedule, outcome (completed or diverged; else a run diverged where its loss is not finite), num_steps,
warmup_steps, weight_decay, grad_clip, init_scale, knobs, diverged_step, initial_val_loss, val_loss,
least_val_loss, least_val_loss_step, val_accuracy, val_calibration_error, wall_s, source. Other names are read by
--map, what a file does not say by --set. The same file again changes nothing; a corrected file in its place
replaces its runs, another file of its name only with --replace. bench leaderboard, report, scores, export, ui,
verify and diff take the name of an import as they do a suite's.
"""


def add_import_commands(app: typer.Typer) -> None:
    app.command("import", help=HELP)(import_)


def import_(
    file: FileArgument,
    suite: TargetOption = None,
    workload: WorkloadOption = None,
    initial_loss: InitialLossOption = None,
    setting: SettingOption = None,
    ignore: IgnoreOption = None,
    map: MapOption = None,
    set: SetOption = None,
    run_names: RunNamesOption = None,
    last_of: LastOfOption = None,
    without_loss: WithoutLossOption = None,
    dry_run: DryRunOption = False,
    replace: ReplaceOption = False,
    blown_up_margin: MarginOption = None,
    remove: RemoveOption = False,
    format: FormatOption = "table",
    wide: WideOption = False,
    out: ReportOption = None,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    opened = open_store(store, tracking_uri)
    beside = _beside(suite, opened, allow_code)
    if remove and dry_run:
        raise UsageError("--remove takes no --dry-run; leave one out")
    if remove:
        return _remove(file, opened, beside)
    _check_report(out, beside)
    wishes = _wishes(map, set, ignore, setting, run_names, without_loss=without_loss, last_of=last_of, loss=loss)
    options = {"beside": beside, "workload": workload, "initial_loss": initial_loss, "settings": wishes.settings}
    options |= {"blown_up_margin": blown_up_margin, "score": score, "loss": loss}
    if dry_run:
        return _show_reading(file, wishes, **options)
    _show(_imported(file, wishes, opened, replaces=replace, **options), format, wide, out)


def _wishes(
    columns: list[str] | None,
    constants: list[str] | None,
    ignored: list[str] | None,
    settings: list[str] | None,
    run_names: str | None,
    **others: Any,
) -> Wishes:
    """What the options say of columns; `others` as Wishes has them."""
    from bench.imports.wishes import Wishes, names_of, pairs_of

    return Wishes(
        columns=pairs_of(columns or (), "--map"),
        constants=pairs_of(constants or (), "--set"),
        ignored=names_of(ignored or ()),
        settings=tuple(settings or ()),
        run_names=run_names,
        **others,
    )


def _check_report(out: Path | None, beside: Stored | None) -> None:
    """Raises UsageError for a report beside a suite's trials, and for a folder that is not a report's."""
    from analysis.report.own_folder import refuse_other_folder

    if out is not None and beside is not None and beside.suite is not None:
        raise UsageError("--out is for imports alone; bench report shows those beside a suite's trials")
    if out is not None:
        refuse_other_folder(out)


def _show(subject: Subject, format: str, is_wide: bool, out: Path | None) -> None:
    """Prints the board and its remarks, and writes a report if a folder is given."""
    from analysis.report.folder import write_report
    from analysis.report.own_folder import keep_to
    from analysis.report.views import view_of

    print_board(subject, format, is_wide=is_wide)
    for line in view_of(subject).remarks(subject):
        say(line)
    if out is not None:
        paths = write_report(subject, out)
        keep_to(out, paths)
        say(f"wrote {paths[0]}")


def _imported(file: str, wishes: Wishes, store: Store, **options: Any) -> Subject:
    """Where the runs of a file stand after their import, or those of the import of this name.

    `options` are those of `import_runs`.
    """
    from bench.imports.event_files import event_files
    from bench.imports.formats import as_tidy
    from bench.imports.tidy_file import read_tidy
    from bench.results.imports import import_runs
    from bench.results.stored import Stored
    from bench.results.subjects import read_grid

    is_there = Path(file).is_file() or event_files(Path(file))
    if not is_there and "/" not in file and not Path(file).suffix:
        try:
            return read_grid(Stored(name=file, suite=None), store, score=options["score"], loss=options["loss"])
        except (UsageError, StoreError):
            if not Path(file).is_dir():
                raise
            words = "a folder without event files of TensorBoard, and the name of no import"
            raise UsageError(f"{file}: {words}; required a file, or a folder that has some") from None
    tidy = as_tidy(read_tidy(Path(file)), wishes)
    for note in tidy.notes:
        say(f"{tidy.name}: {note}")
    imported = import_runs(tidy, store, **options)
    _say_imported(imported, tidy.name)
    return imported.subject


def _show_reading(file: str, wishes: Wishes, **options: Any) -> None:
    """Prints how a file is read and the command that imports it; `options` are those of `check_runs`."""
    from bench.imports.formats import as_tidy, format_of
    from bench.imports.tidy_file import read_tidy
    from bench.results.imports import check_runs

    plain = read_tidy(Path(file))
    tidy = as_tidy(plain, wishes)
    runs = check_runs(tidy, **options)
    lines = [f"format: {format_of(plain.cells)}", *tidy.notes, f"columns read: {', '.join(tidy.cells.columns)}"]
    lines += [f"would import: {_counted(runs)}", *_unsaid(runs)]
    typer.echo("\n".join(lines))
    words = [word for word in sys.argv[1:] if word != "--dry-run"]
    typer.echo(f"to import: bench {shlex.join(words)}")


def _remove(name: str, store: Store, beside: Stored | None) -> None:
    from analysis.text import counted
    from bench.results.imports_removal import remove_imports

    for one, num_runs in remove_imports(store, name, beside=beside).items():
        say(f"import {one}: {counted(num_runs, 'run', '1')} removed, to be found in MLflow's trash until `mlflow gc`")


def _beside(suite: str | None, store: Store, allow_code: bool) -> Stored | None:
    """What --suite names: a suite of ours, by its file, or in the store by name; or a name of imports alone."""
    from bench.results.stored import Stored, is_path, stored_suite
    from bench.suite import shipped_suites

    if suite is None:
        return None
    if is_path(suite) or suite in shipped_suites():
        return Stored.of(load(suite, allow_code))
    has_store = store.database is None or store.database.exists()
    return Stored(name=suite, suite=stored_suite(suite, store, allow_code=allow_code) if has_store else None)


def _say_imported(imported: Imported, file: str) -> None:
    from analysis.text import counted

    runs = imported.runs
    if imported.is_unchanged:
        held = counted(len(runs.results), "run")
        say(f"{imported.subject.name} holds the {held} of {file} already; nothing changed")
        return
    say(
        f"{file}: {_counted(runs)} imported into {imported.subject.name}: "
        f"{imported.num_new} new, {imported.num_replaced} replaced, {imported.num_removed} removed"
    )
    for line in _unsaid(runs):
        say(line)


def _counted(runs: ImportedRuns) -> str:
    """In words how many runs there are of how many methods."""
    from analysis.text import counted

    methods = {result.trial.method.label for result in runs.results}
    return f"{counted(len(runs.results), 'run')} of {counted(len(methods), 'method')}"


def _unsaid(runs: ImportedRuns) -> list[str]:
    """What the file does not say, and what counts instead."""
    from bench.results.imports import plain_value

    assumed = ", ".join(f"{name} {plain_value(value)}" for name, value in runs.assumed.items())
    lines = [f"not stated, so taken as: {assumed}"] if assumed else []
    return lines if runs.sources else [*lines, "no source is stated: a column `source` says whose runs these are"]
