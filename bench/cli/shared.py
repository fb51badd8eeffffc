"""What the commands share: options, opening suites and stores, and what is printed after a run.

stdout is data, stderr is progress. Heavy imports happen inside functions.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from bench.errors import UsageError

if TYPE_CHECKING:
    import polars

    from bench.driver.run import Summary
    from bench.results.answers import SearchBoard
    from bench.results.board import Board
    from bench.results.verify import Verification
    from bench.store import Store
    from bench.suite import Suite

EXIT_TRIALS_FAILED, EXIT_STORE, EXIT_INTERRUPTED = 3, 4, 130
MAX_REASONS = 5  # why trials failed, said at the end of a run

SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="a suite file, or the name of a shipped suite")]
StoredArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="a suite file, or the name of a shipped suite, or of imports")
]
StoreOption = Annotated[Path, typer.Option("--store", envvar="BENCH_STORE", help="folder of the embedded store")]
UriOption = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow server or database instead of the embedded store")
]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="import `package.module:Class` entries of the suite")]
OutOption = Annotated[Path, typer.Option("--out", help="folder to write, made if missing")]
FormatOption = Annotated[Literal["table", "csv", "json", "md"], typer.Option("--format")]
CompareOption = Annotated[str | None, typer.Option("--compare", help="published numbers to set beside ours: paper")]
ScoreOption = Annotated[str, typer.Option("--score", help="lr_sensitivity, or lr_sensitivity_seedwise")]
LossOption = Annotated[
    Literal["train", "validation"], typer.Option("--loss", help="the loss that all scores are of; validation: held-out")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="a cluster without token authentication too")]
GpusOption = Annotated[
    int | None, typer.Option("--gpus", min=1, help="GPUs to wait for; an autoscaling cluster is asked for them")
]
MaxLanesOption = Annotated[
    int | None, typer.Option("--max-lanes", min=1, help="most trials in one pack; else by the device")
]
CheckpointsOption = Annotated[
    str | None,
    typer.Option("--checkpoints", help="folder or s3://bucket/path that all nodes share; else in the store"),
]
CheckpointSecondsOption = Annotated[
    float, typer.Option("--checkpoint-seconds", min=0, help="of training between two checkpoints of a pack")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, help="minutes without a sign of life that end a worker; 0: never")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]

DEFAULT_STORE = Path(".bench")
DEFAULT_PORT = 5000  # of `bench ui`


def run_and_print(loaded: Suite, opened: Store, shown: str | None, **options: Any) -> NoReturn:
    """Run a suite and print its leaderboard, or the answers of its searches. `options`: those of bench.driver.run."""
    from bench.cli.progress import ProgressDisplay
    from bench.driver.run import Options, run_suite

    try:
        with ProgressDisplay() as display:
            summary = run_suite(
                loaded,
                opened,
                Options(**options),
                on_start=display.start,
                on_progress=display.update,
            )
    except KeyboardInterrupt:
        fail("stopped; finished packs are kept, the same command goes on from there", EXIT_INTERRUPTED)
    _say_summary(loaded, opened, summary)
    if summary.board is not None:
        print(_board_table(summary.board), end="")
        if shown is not None:
            say(f"\nNext:  bench report {shown} --out report/    tables and figures")
        say(f"       {_ui_words(loaded.name, opened)}")
    raise typer.Exit(_exit_code(summary))


def ui_address(store: Store, port: int) -> str:
    """Where MLflow shows the store, or would after `bench ui --port`."""
    return store.uri if store.is_remote else f"http://127.0.0.1:{port}"


def _ui_words(suite_name: str, store: Store) -> str:
    from bench.store import leaderboard_link

    link = leaderboard_link(store, suite_name, ui_address(store, DEFAULT_PORT))
    if store.is_remote:
        return f"{link}    leaderboard in MLflow"
    return f"bench ui                            traces and leaderboard in MLflow, then at\n       {link}"


def fail(message: str, code: int) -> NoReturn:
    say(message)
    sys.exit(code)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def load(name: str, allow_code: bool) -> Suite:
    from bench.suite import find_suite, load_suite

    return load_suite(find_suite(name), allow_code=allow_code)


def or_imports(read: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a command on a SUITE read imports, too: a name that is no suite file and no shipped suite, from the store.

    `read` takes that name, the store, and the command's other options by their names.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(suite: str, store: Path, tracking_uri: str | None, allow_code: bool, **options: Any) -> None:
            opened = _store_of_imports(suite, store, tracking_uri)
            if opened is None:
                command(suite=suite, store=store, tracking_uri=tracking_uri, allow_code=allow_code, **options)
            else:
                read(suite, opened, **options)

        return run

    return decorate


def _store_of_imports(name: str, home: Path, uri: str | None) -> Store | None:
    """The store, if runs of others were imported into it under this name; None if it is for `load` to find a suite."""
    from bench.suite import find_suite

    try:
        if find_suite(name).is_file():
            return None
        missing = f"{name}: required a suite file"
    except UsageError as error:
        missing = str(error)
    if "/" in name or name.endswith((".yaml", ".yml")):
        return None
    opened = open_store(home, uri)
    if opened.database is not None and not opened.database.exists():
        return None
    from bench.results.imported import holds_imports, suites_of_imports

    if holds_imports(opened, name):
        return opened
    if imported := suites_of_imports(opened):
        raise UsageError(f"{missing}; imported into {opened.shown_uri}: {', '.join(imported)}")
    return None


def stored_name(name: str, home: Path, uri: str | None) -> str:
    """What the store calls it: the name of the suite that `load` finds, or that runs of others were imported under."""
    return name if _store_of_imports(name, home, uri) is not None else load(name, allow_code=True).name


def open_store(home: Path, uri: str | None) -> Store:
    from bench.store import Store

    return Store(home.expanduser(), uri, warn=say)


def tables() -> dict[str, Callable[[Any], str]]:
    from analysis.tables.leaderboard import FORMATS, terminal_frames
    from bench.cli.progress import terminal_table

    def table(board: Any) -> str:
        return "\n".join(map(terminal_table, terminal_frames(board)))

    return {"table": table, "md": FORMATS["markdown"], **FORMATS}


def _board_table(board: Board | SearchBoard) -> str:
    from bench.cli.progress import terminal_table
    from bench.results.board import Board

    if isinstance(board, Board):
        return tables()["table"](board.frame)
    answers = board.answers
    return terminal_table(answers.select(name for name in answers.columns if answers[name].is_not_null().any()))


def print_answers(suite: Suite, store: Store, format: str, compare: str | None) -> None:
    """What the searches of a suite found so far."""
    from bench.results.answers import markdown, read_search

    if compare is not None or format in ("latex", "html"):
        raise UsageError("the answers of searches come as --format table, csv, json or md, and without --compare")
    board = read_search(suite, store)
    if board.num_missing:
        say(f"{board.num_missing} trials of the last rounds have no result yet")
    forms: dict[str, Callable[[], str]] = {
        "table": lambda: _board_table(board),
        "csv": board.answers.write_csv,
        "json": lambda: board.answers.write_json() + "\n",
        "md": lambda: markdown(suite, board),
    }
    print(forms[format](), end="")


def print_board(board: polars.DataFrame, format: str, compare: str | None) -> None:
    """A leaderboard, or with `compare` the one of published numbers beside it."""
    if compare is None:
        print(tables()[format](board), end="")
        return
    from analysis import references
    from analysis.across import comparison

    compared = comparison.compare(board, references.load(compare))
    print(_comparison_tables()[format](compared), end="")
    for row in comparison.rank_correlations(compared).iter_rows(named=True):
        say(
            f"{row['workload']}, {row['optimizer']}: rank correlation over {row['num_methods']} methods: "
            f"Spearman {_number(row['spearman'])}, Kendall {_number(row['kendall'])}"
        )


def _comparison_tables() -> dict[str, Callable[[Any], str]]:
    from analysis.tables.published import COMPARISON_FORMATS
    from bench.cli.progress import terminal_table

    return {"table": terminal_table, "md": COMPARISON_FORMATS["markdown"], **COMPARISON_FORMATS}


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def print_verification(checked: Verification) -> None:
    """What was found, a line each, and how much was checked; ends with an exit code where anything was found."""
    for finding in checked.findings:
        print(f"{finding.where}: {finding.text}")
    say(
        f"{checked.num_results} of {checked.num_trials} trials have a result; checked {checked.num_runs} runs, "
        f"{checked.num_traces} traces ({checked.num_unsigned} without a checksum), {checked.num_waiting} trials wait "
        f"in the outbox: {len(checked.findings)} findings"
    )
    if checked.findings:
        raise typer.Exit(EXIT_STORE if any(one.is_wrong for one in checked.findings) else EXIT_TRIALS_FAILED)


def _say_summary(suite: Suite, store: Store, summary: Summary) -> None:
    if summary.num_found:
        say(f"{summary.num_found} of {summary.num_trials} trials were finished already")
    if summary.progress is not None:
        done = summary.progress
        say(f"{done.completed} completed, {done.diverged} diverged, {done.failed} failed")
        for reason, count in done.failures.most_common(MAX_REASONS):
            say(f"  {count} trials: {reason}")
    say(", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary.phases.items()))
    if summary.was_interrupted:
        say(f"stopped early; the same command runs what is left of {suite.name}")
    if summary.num_waiting:
        say(f"{store.shown_uri} did not take {summary.num_waiting} packs; the next run delivers them")


def _exit_code(summary: Summary) -> int:
    if summary.was_interrupted:
        return EXIT_INTERRUPTED
    if summary.num_waiting:
        return EXIT_STORE
    return EXIT_TRIALS_FAILED if summary.progress is not None and summary.progress.failed else 0


def print_estimate(suite: Suite) -> None:
    from bench.driver.estimate import estimate

    guess = estimate(suite, max_lanes=None)
    share = suite.most_trials / suite.num_trials
    trials = f"{guess.num_trials} trials in {guess.num_packs} packs"
    print(
        f"{suite.name}: {trials if suite.search is None else f'at most {suite.most_trials} trials in rounds'}, about "
        f"{share * guess.seconds:.0f} s of training on this machine's {guess.device}, about "
        f"{share * guess.num_bytes / 1e6:.0f} MB on disk"
    )
