"""`bench import`: runs of others on a leaderboard."""

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
    say,
)
from bench.errors import UsageError

if TYPE_CHECKING:
    from analysis.subject import Subject
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
IgnoreOption = Annotated[list[str] | None, typer.Option("--ignore", help="a column to leave out; repeatable")]
RemoveOption = Annotated[
    bool, typer.Option("--remove", help="take all imported under the name FILE out again, or that import of --suite")
]
ReportOption = Annotated[Path | None, typer.Option("--out", help="folder for a report of the imports alone")]


def add_import_commands(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    file: FileArgument,
    suite: TargetOption = None,
    workload: WorkloadOption = None,
    initial_loss: InitialLossOption = None,
    setting: SettingOption = None,
    ignore: IgnoreOption = None,
    blown_up_margin: MarginOption = None,
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
    warmup_steps, weight_decay, grad_clip, init_scale, knobs, diverged_step, initial_val_loss, val_loss,
    least_val_loss, least_val_loss_step, val_accuracy, val_calibration_error, wall_s, source. The same file again
    changes nothing; a corrected file of the same name
    replaces its runs. bench leaderboard, report, scores, export, ui, verify and diff take
    the name of an import as they do a suite's.
    """
    from analysis.report.views import view_of

    opened = open_store(store, tracking_uri)
    beside = _beside(suite, opened, allow_code)
    if remove:
        _remove(file, opened, beside)
        return
    if out is not None and beside is not None and beside.suite is not None:
        raise UsageError("--out is for imports alone; bench report shows those beside a suite's trials")
    options = {"workload": workload, "initial_loss": initial_loss, "settings": tuple(setting or ())}
    options |= {"blown_up_margin": blown_up_margin}
    subject = _imported(file, ignore or (), opened, beside=beside, score=score, loss=loss, **options)
    print_board(subject, format)
    for line in view_of(subject).remarks(subject):
        say(line)
    if out is not None:
        from analysis.report.folder import write_report

        say(f"wrote {write_report(subject, out)[0]}")


def _imported(file: str, ignore: Sequence[str], store: Store, *, score: str, loss: str, **options: Any) -> Subject:
    """Where the runs of a file stand after their import, or those of the import of this name.

    `options` are the others of `import_runs`.
    """
    from analysis.imports.tidy_file import read_tidy
    from bench.results.imports import import_runs
    from bench.results.stored import Stored
    from bench.results.subjects import read_grid

    if not Path(file).is_file() and "/" not in file and not Path(file).suffix:
        return read_grid(Stored(name=file, suite=None), store, score=score, loss=loss)
    tidy = read_tidy(Path(file), ignore)
    imported = import_runs(tidy, store, score=score, loss=loss, **options)
    _say_imported(imported, tidy.name)
    return imported.subject


def _remove(name: str, store: Store, beside: Stored | None) -> None:
    from bench.results.imports_removal import remove_imports

    for one, num_runs in remove_imports(store, name, beside=beside).items():
        say(f"import {one}: {num_runs} runs removed, to be found in MLflow's trash until `mlflow gc`")


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
    from bench.results.imports import plain_value

    results = imported.runs.results
    runs = counted(len(results), "run")
    methods = counted(len({result.trial.method.label for result in results}), "method")
    if imported.is_unchanged:
        say(f"{imported.subject.name} holds the {runs} of {file} already; nothing changed")
        return
    say(
        f"{file}: {runs} of {methods} imported into {imported.subject.name}: "
        f"{imported.num_new} new, {imported.num_replaced} replaced, {imported.num_removed} removed"
    )
    if imported.runs.assumed:
        assumed = ", ".join(f"{name} {plain_value(value)}" for name, value in imported.runs.assumed.items())
        say(f"not stated, so taken as: {assumed}")
    if not imported.runs.sources:
        say("no source is stated: a column `source` says whose runs these are")
