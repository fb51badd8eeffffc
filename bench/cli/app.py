"""The command line: `bench run|edge|tune|leaderboard|report|ui|validate|...`; the only place that prints.

stdout is data, stderr is progress. Exit codes: 0 ok, 1 internal, 2 bad usage or suite, 3 some trials failed, 4 store or
cluster unreachable, 5 disk or budget, 130 interrupted. Heavy imports happen inside commands.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Literal

import typer

from bench.cli.aborting import AbortOption, WarningsOption, read_abort
from bench.cli.box import add_box_commands
from bench.cli.causes import add_cause_commands
from bench.cli.check import add_check_command
from bench.cli.cluster import add_cluster_commands
from bench.cli.compare import add_compare_command
from bench.cli.data import data_app
from bench.cli.diff import add_diff_command
from bench.cli.doctor import add_doctor_command
from bench.cli.export import add_export_commands
from bench.cli.figures import add_figures_command
from bench.cli.imports import add_import_commands
from bench.cli.lists import add_list_commands
from bench.cli.options import (
    AllowCode,
    AsJson,
    CheckpointSecondsOption,
    CheckpointsOption,
    CompareOption,
    CompileOption,
    ContributedOption,
    CurvePointsOption,
    FiguresOption,
    FontOption,
    GpusOption,
    Insecure,
    LossOption,
    MaxLanesOption,
    OutOption,
    ScoreOption,
    StoredArgument,
    StoreOption,
    SuiteArgument,
    TimeoutOption,
    UriOption,
    WideOption,
)
from bench.cli.scores import add_scores_commands
from bench.cli.search import add_search_commands
from bench.cli.shared import (
    DEFAULT_STORE,
    EXIT_INTERRUPTED,
    fail,
    find,
    folder_of,
    load,
    load_to_train,
    open_store,
    print_board,
    print_estimate,
    read_named,
    refuse_options,
    run_and_print,
    say,
    say_missing,
    words_for_report,
)
from bench.cli.streams import open_streams
from bench.cli.ui import add_ui_command
from bench.cli.verify import add_verify_command
from bench.errors import BenchError, UsageError

app = typer.Typer(
    name="bench",
    help="How robust is an attention method to its hyperparameters?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        print(f"bench {version('attention-robustness-bench')}")
        raise typer.Exit


@app.callback()
def bench(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and end")
    ] = False,
) -> None:
    """How robust is an attention method to its hyperparameters?"""


@app.command()
def run(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster; else RAY_ADDRESS, else this machine")] = None,
    insecure: Insecure = False,
    gpus: GpusOption = None,
    checkpoints: CheckpointsOption = None,
    checkpoint_seconds: CheckpointSecondsOption = 60.0,
    timeout: TimeoutOption = 30.0,
    max_lanes: MaxLanesOption = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="attention by the dense reference, CTC by its loop: no fast path")
    ] = False,
    compiling: CompileOption = "auto",
    figures: FiguresOption = True,
    curve_points: CurvePointsOption = None,
    abort_on_warning: AbortOption = None,
    warnings_of: WarningsOption = None,
    wide: WideOption = False,
    allow_code: AllowCode = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it would take and train nothing")] = False,
    budget: Annotated[int | None, typer.Option(min=1, help="most trials of each adaptive search")] = None,
) -> None:
    """Train what the store does not hold yet, and print the leaderboard."""
    loaded = load_to_train(suite, allow_code) if dry_run else load(suite, allow_code)  # a run tries entries itself
    if budget is not None:
        loaded = loaded.with_budget(budget, allow_code=allow_code)
    if dry_run:
        if abort_on_warning is not None:
            say("--abort-on-warning: which runs are aborted is not known before; the estimate is of whole runs")
        if loaded.stop is not None:
            say("stop: which settings are pruned is not known before; the estimate is of whole runs")
        print_estimate(loaded, max_lanes=max_lanes, compiling=compiling)
        return
    opened = open_store(store, tracking_uri)
    run_and_print(
        loaded,
        opened,
        words_for_report(suite, store, allow_code=allow_code, uri=tracking_uri),
        abort=read_abort(loaded, abort_on_warning, warnings_of, opened, allow_code=allow_code),
        is_wide=wide,
        address=address,
        is_insecure=insecure,
        num_gpus=gpus,
        max_lanes=max_lanes,
        is_reference=reference,
        compiling=compiling,
        checkpoints=checkpoints,
        checkpoint_s=checkpoint_seconds,
        timeout_s=60 * timeout,
        has_figures=figures,
        **({} if curve_points is None else {"curve_points": curve_points}),
    )


add_search_commands(app)
add_cluster_commands(app)
add_scores_commands(app)
add_cause_commands(app)
add_box_commands(app)
add_compare_command(app)
add_export_commands(app)
add_figures_command(app)
add_import_commands(app)
add_diff_command(app)


@app.command()
def leaderboard(
    suite: StoredArgument,
    format: Annotated[Literal["table", "csv", "json", "md", "latex", "html"], typer.Option("--format")] = "table",
    wide: WideOption = False,
    compare: CompareOption = None,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    contributed: ContributedOption = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Print the leaderboard of a suite from its results so far."""
    from analysis.report.views import view_of

    subject = read_named(suite, open_store(store, tracking_uri), allow_code, score, loss, compare, contributed)
    view = view_of(subject)
    if format not in ("table", *view.forms):
        forms = ", ".join(("table", *view.forms))
        raise UsageError(
            f"{subject.name} {view.asks}, whose results have other forms; required --format {forms}; got {format}"
        )
    refuse_options(f"{subject.name} {view.asks}, which takes", view.refused, compare, score, loss)
    say_missing(subject)
    print_board(subject, format, is_wide=wide)
    if not view.refused:  # of others they stand under the table
        for line in view.remarks(subject):
            say(line)


@app.command()
def report(
    suite: StoredArgument,
    out: OutOption = None,
    compare: CompareOption = None,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    contributed: ContributedOption = None,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
    font: FontOption = None,
) -> None:
    """Write tables, figures and one HTML page, into reports/SUITE or --out.

    The folder is new, empty, or an earlier report's, whose files that this report has not are removed.
    """
    from analysis.report.folder import write_report
    from analysis.report.own_folder import keep_to, refuse_other_folder
    from analysis.report.views import view_of
    from analysis.text import counted

    opened = open_store(store, tracking_uri)
    folder = folder_of(out, "reports", find(suite, opened, allow_code).name)
    refuse_other_folder(folder)  # before results are read, which may take long
    subject = read_named(suite, opened, allow_code, score, loss, compare, contributed)
    view = view_of(subject)
    refuse_options(f"{subject.name} {view.asks}, whose report takes", view.refused, compare, score, loss)
    paths = write_report(subject, folder, font=font)
    for gone in keep_to(folder, paths):
        say(f"{gone}: removed, this report has none")
    say(f"wrote {counted(len(paths), 'file', '1')}; open the first:")
    print(paths[0])


add_verify_command(app)
add_ui_command(app)


@app.command()
def validate(suite: SuiteArgument, allow_code: AllowCode = False, as_json: AsJson = False) -> None:
    """Check a suite file and say what it holds; of entries of your own a sample of what `bench check` does, too."""
    from bench.suite.idle import without_effect
    from bench.suite.kinds import KINDS

    loaded = load_to_train(suite, allow_code)
    for words in without_effect(loaded):
        say(words)
    counts = {
        "suite": loaded.name,
        **{axis: len(getattr(loaded, axis)) for axis in (*KINDS, "seeds")},
        **({"trials": loaded.num_trials} if loaded.search is None else {"trials at most": loaded.most_trials}),
    }
    print(json.dumps(counts) if as_json else ", ".join(f"{name}: {value}" for name, value in counts.items()))


add_check_command(app)


add_list_commands(app)
add_doctor_command(app)


def refuse_other_analysis() -> None:
    """Raises UsageError if the package `analysis` that Python finds is another program's, not the one beside bench."""
    import analysis
    import bench as package

    imported, own = (os.path.dirname(os.path.dirname(one.__path__[0])) for one in (analysis, package))
    if imported != own:
        raise UsageError(
            f"{analysis.__path__[0]}: another program's package of the name analysis; required the one in {own}: "
            "install this program into an environment of its own, as `pipx install` does"
        )


def main() -> None:
    """Entry point: an error of ours, of the disk or of a path is one line and its exit code."""
    # A scan of all installed packages for pydantic plugins takes a tenth of the time of `bench validate`.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        refuse_other_analysis()
        with open_streams():
            app()
    except BenchError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail("stopped", EXIT_INTERRUPTED)
    except SystemExit as end:
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):  # Typer ends without a word
            fail("stopped", EXIT_INTERRUPTED)
        raise
