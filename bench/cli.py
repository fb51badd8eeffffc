"""The command line: `bench run|edge|tune|leaderboard|report|ui|validate|...`; the only place that prints.

stdout is data, stderr is progress. Exit codes: 0 ok, 1 internal, 2 bad usage or suite, 3 some trials failed, 4 store or
cluster unreachable, 5 disk or budget, 130 interrupted. Heavy imports happen inside commands.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from bench.cli_data import data_app
from bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from bench.publish import Board
    from bench.publish_search import SearchBoard
    from bench.run import Summary
    from bench.suite import Suite
    from bench.tracking import Store

EXIT_TRIALS_FAILED, EXIT_STORE, EXIT_INTERRUPTED = 3, 4, 130
MAX_REASONS = 5  # why trials failed, said at the end of a run

app = typer.Typer(
    name="bench",
    help="How robust is an attention method to its hyperparameters?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app)

SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="a suite file, or the name of a shipped suite")]
StoreOption = Annotated[Path, typer.Option("--store", envvar="BENCH_STORE", help="folder of the embedded store")]
UriOption = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow server or database instead of the embedded store")
]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="import `package.module:Class` entries of the suite")]
ScoreOption = Annotated[str, typer.Option("--score", help="lr_sensitivity, or lr_sensitivity_seedwise")]
LossOption = Annotated[
    Literal["train", "validation"], typer.Option("--loss", help="the loss that all scores are of; validation: held-out")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]

DEFAULT_STORE = Path(".bench")


@app.command()
def run(
    suite: SuiteArgument,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster; else RAY_ADDRESS, else this machine")] = None,
    max_lanes: Annotated[int | None, typer.Option(min=1, help="most trials in one pack; else by the device")] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="attention by the dense reference alone, no fast path")
    ] = False,
    allow_code: AllowCode = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what it would take and train nothing")] = False,
    budget: Annotated[int | None, typer.Option(min=1, help="most trials of each adaptive search")] = None,
) -> None:
    """Train what the store does not hold yet, and print the leaderboard."""
    loaded = _load(suite, allow_code)
    if budget is not None:
        loaded = loaded.with_budget(budget, allow_code=allow_code)
    if dry_run:
        _print_estimate(loaded)
        return
    _run(loaded, _open(store, tracking_uri), suite, address=address, max_lanes=max_lanes, is_reference=reference)


def _search_suite(
    search: str,
    method: str,
    workload: str,
    optimizer: str,
    lrs: tuple[float, float],
    budget: int,
    seeds: int,
    num_steps: int | None,
    allow_code: bool,
) -> Suite:
    from bench.suite import Context, Suite

    plain = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{search}-{method}-{workload}-{optimizer}"),
        "workloads": [{"name": workload} | ({} if num_steps is None else {"num_steps": num_steps})],
        "methods": [method],
        "optimizers": [optimizer],
        "knobs": {"lr": list(lrs)},
        "search": {"name": search, "budget": budget},
        "seeds": seeds,
        "probe_every": 100,
    }
    return Suite.model_validate(plain, context=Context(allow_code=allow_code))


def _run(
    loaded: Suite,
    opened: Store,
    shown: str | None,
    *,
    address: str | None,
    max_lanes: int | None,
    is_reference: bool = False,
) -> NoReturn:
    """Run a suite and print its leaderboard, or the answers of its searches."""
    from bench.progress import ProgressDisplay
    from bench.run import run_suite

    try:
        with ProgressDisplay() as display:
            summary = run_suite(
                loaded,
                opened,
                address=address,
                max_lanes=max_lanes,
                is_reference=is_reference,
                on_start=display.start,
                on_progress=display.update,
            )
    except KeyboardInterrupt:
        _fail("stopped; finished packs are kept, the same command goes on from there", EXIT_INTERRUPTED)
    _say_summary(loaded, opened, summary)
    if summary.board is not None:
        print(_board_table(summary.board), end="")
        if shown is not None:
            _say(f"\nNext:  bench report {shown} --out report/    tables and figures")
        _say("       bench ui                            traces and leaderboard in MLflow")
    raise typer.Exit(_exit_code(summary))


MethodArgument = Annotated[str, typer.Argument(metavar="METHOD", help="a method's name; bench list methods")]
WorkloadOption = Annotated[str, typer.Option(help="bench list workloads")]
OptimizerOption = Annotated[str, typer.Option(help="bench list optimizers")]
LowOption = Annotated[float, typer.Option(help="least learning rate")]
HighOption = Annotated[float, typer.Option(help="largest learning rate")]
BudgetOption = Annotated[int, typer.Option(min=1, help="most trials")]
SeedsOption = Annotated[int, typer.Option(min=1, help="seeds of a setting")]
StepsOption = Annotated[int | None, typer.Option(min=1, help="steps of a trial; else the workload's")]


@app.command()
def edge(
    method: MethodArgument,
    workload: WorkloadOption = "in_context_regression",
    optimizer: OptimizerOption = "adamw",
    low: LowOption = 1e-5,
    high: HighOption = 10.0,
    budget: BudgetOption = 40,
    seeds: SeedsOption = 5,
    num_steps: StepsOption = None,
    store: StoreOption = DEFAULT_STORE,
    allow_code: AllowCode = False,
) -> None:
    """Find the largest stable learning rate of one method, with an interval."""
    suite = _search_suite("edge", method, workload, optimizer, (low, high), budget, seeds, num_steps, allow_code)
    _run(suite, _open(store, None), None, address=None, max_lanes=None)


@app.command()
def tune(
    method: MethodArgument,
    workload: WorkloadOption = "in_context_regression",
    optimizer: OptimizerOption = "adamw",
    low: LowOption = 1e-5,
    high: HighOption = 10.0,
    budget: BudgetOption = 40,
    seeds: SeedsOption = 3,
    num_steps: StepsOption = None,
    store: StoreOption = DEFAULT_STORE,
    allow_code: AllowCode = False,
) -> None:
    """Find the learning rate of one method that gives the least loss within a budget."""
    suite = _search_suite("tune", method, workload, optimizer, (low, high), budget, seeds, num_steps, allow_code)
    _run(suite, _open(store, None), None, address=None, max_lanes=None)


@app.command()
def leaderboard(
    suite: SuiteArgument,
    format: Annotated[Literal["table", "csv", "json", "md", "latex", "html"], typer.Option("--format")] = "table",
    compare: Annotated[str | None, typer.Option(help="published numbers to print beside ours: paper")] = None,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Print the leaderboard of a suite from its results so far."""
    loaded = _load(suite, allow_code)
    if loaded.search is not None:
        _print_answers(loaded, _open(store, tracking_uri), format, compare)
        return
    from bench.publish import read_board

    board = read_board(loaded, _open(store, tracking_uri), score=score, loss=loss)
    if board.num_missing:
        _say(f"{board.num_missing} of {loaded.num_trials} trials have no result yet")
    if compare is None:
        print(_tables()[format](board.frame), end="")
        return
    from analysis import comparison, references

    compared = comparison.compare(board.frame, references.load(compare))
    print(_comparison_tables()[format](compared), end="")
    for row in comparison.rank_correlations(compared).iter_rows(named=True):
        _say(
            f"{row['workload']}, {row['optimizer']}: rank correlation over {row['num_methods']} methods: "
            f"Spearman {_number(row['spearman'])}, Kendall {_number(row['kendall'])}"
        )


@app.command()
def report(
    suite: SuiteArgument,
    out: Annotated[Path, typer.Option("--out", help="folder to write, made if missing")] = Path("report"),
    compare: Annotated[str | None, typer.Option(help="published numbers to show beside ours: paper")] = None,
    score: ScoreOption = "lr_sensitivity",
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Write tables, figures and one HTML page."""
    loaded = _load(suite, allow_code)
    if loaded.search is not None:
        from bench.publish_search import report_search

        paths = report_search(loaded, _open(store, tracking_uri), out)
    else:
        from bench.publish import report as write

        paths = write(loaded, _open(store, tracking_uri), out, compare=compare, score=score, loss=loss)
    _say(f"wrote {len(paths)} files; open the first:")
    print(paths[0])


@app.command()
def ui(
    suite: Annotated[str | None, typer.Argument(help="link to this suite's leaderboard; else to every suite's")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
) -> None:
    """Serve MLflow on the embedded store and print links to the leaderboards."""
    from bench.tracking import leaderboard_link, suite_names, ui_command

    opened = _open(store, tracking_uri)
    names = [_load(suite, allow_code=True).name] if suite else suite_names(opened)
    base = opened.uri if opened.is_remote else f"http://127.0.0.1:{port}"
    for name in names:
        print(f"{name}: {leaderboard_link(opened, name, base)}", flush=True)
    if opened.is_remote:
        return
    command = ui_command(opened, port)
    _say("serving until Ctrl-C")
    os.execv(command[0], command)


@app.command()
def validate(suite: SuiteArgument, allow_code: AllowCode = False, as_json: AsJson = False) -> None:
    """Check a suite file and say what it holds."""
    loaded = _load(suite, allow_code)
    counts = {
        "suite": loaded.name,
        **{axis: len(getattr(loaded, axis)) for axis in ("workloads", "methods", "optimizers", "schedules", "seeds")},
        **({"trials": loaded.num_trials} if loaded.search is None else {"trials at most": loaded.most_trials}),
    }
    print(json.dumps(counts) if as_json else ", ".join(f"{name}: {value}" for name, value in counts.items()))


@app.command()
def schema() -> None:
    """Print the JSON Schema of suite files, for completion and checks in an editor."""
    from bench.suite import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command("list")
def list_entries(
    kind: Annotated[
        Literal["methods", "workloads", "optimizers", "schedules", "knobs", "searches", "suites"], typer.Argument()
    ],
    as_json: AsJson = False,
) -> None:
    """List what can be named in a suite, with parameters and sources."""
    from bench.catalog import LISTS

    rows = LISTS[kind]()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row.pop('name')}: {'; '.join(str(value) for value in row.values() if value)}")


@app.command()
def doctor(store: StoreOption = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Check that this machine can run suites: versions, devices, memory, disk, store."""
    from bench.doctor import examine

    findings = examine(store)
    if as_json:
        print(json.dumps(findings, indent=2))
    else:
        for name, finding in findings.items():
            print(f"{'ok ' if finding['ok'] else 'BAD'}  {name}: {finding['text']}")
    if not all(finding["ok"] for finding in findings.values()):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: an error of ours is one line and its exit code."""
    # A scan of all installed packages for pydantic plugins takes a tenth of the time of `bench validate`.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        app()
    except BenchError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:  # `bench ... | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> NoReturn:
    _say(message)
    sys.exit(code)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _load(name: str, allow_code: bool) -> Suite:
    from bench.suite import find_suite, load_suite

    return load_suite(find_suite(name), allow_code=allow_code)


def _open(home: Path, uri: str | None) -> Store:
    from bench.tracking import Store

    return Store(home, uri, warn=_say)


def _tables() -> dict[str, Callable[[Any], str]]:
    from analysis.tables import FORMATS, terminal_frames
    from bench.progress import terminal_table

    def table(board: Any) -> str:
        return "\n".join(map(terminal_table, terminal_frames(board)))

    return {"table": table, "md": FORMATS["markdown"], **FORMATS}


def _board_table(board: Board | SearchBoard) -> str:
    from bench.progress import terminal_table
    from bench.publish import Board

    if isinstance(board, Board):
        return _tables()["table"](board.frame)
    answers = board.answers
    return terminal_table(answers.select(name for name in answers.columns if answers[name].is_not_null().any()))


def _print_answers(suite: Suite, store: Store, format: str, compare: str | None) -> None:
    """What the searches of a suite found so far."""
    from bench.publish_search import markdown, read_search

    if compare is not None or format in ("latex", "html"):
        raise UsageError("the answers of searches come as --format table, csv, json or md, and without --compare")
    board = read_search(suite, store)
    if board.num_missing:
        _say(f"{board.num_missing} trials of the last rounds have no result yet")
    forms: dict[str, Callable[[], str]] = {
        "table": lambda: _board_table(board),
        "csv": board.answers.write_csv,
        "json": lambda: board.answers.write_json() + "\n",
        "md": lambda: markdown(suite, board),
    }
    print(forms[format](), end="")


def _comparison_tables() -> dict[str, Callable[[Any], str]]:
    from analysis.comparison import COMPARISON_FORMATS
    from bench.progress import terminal_table

    return {"table": terminal_table, "md": COMPARISON_FORMATS["markdown"], **COMPARISON_FORMATS}


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _say_summary(suite: Suite, store: Store, summary: Summary) -> None:
    if summary.num_found:
        _say(f"{summary.num_found} of {summary.num_trials} trials were finished already")
    if summary.progress is not None:
        done = summary.progress
        _say(f"{done.completed} completed, {done.diverged} diverged, {done.failed} failed")
        for reason, count in done.failures.most_common(MAX_REASONS):
            _say(f"  {count} trials: {reason}")
    _say(", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary.phases.items()))
    if summary.was_interrupted:
        _say(f"stopped early; the same command runs what is left of {suite.name}")
    if summary.num_waiting:
        _say(f"{store.shown_uri} did not take {summary.num_waiting} packs; the next run delivers them")


def _exit_code(summary: Summary) -> int:
    if summary.was_interrupted:
        return EXIT_INTERRUPTED
    if summary.num_waiting:
        return EXIT_STORE
    return EXIT_TRIALS_FAILED if summary.progress is not None and summary.progress.failed else 0


def _print_estimate(suite: Suite) -> None:
    from bench.estimate import estimate

    guess = estimate(suite, max_lanes=None)
    share = suite.most_trials / suite.num_trials
    trials = f"{guess.num_trials} trials in {guess.num_packs} packs"
    print(
        f"{suite.name}: {trials if suite.search is None else f'at most {suite.most_trials} trials in rounds'}, about "
        f"{share * guess.seconds:.0f} s of training on this machine's {guess.device}, about "
        f"{share * guess.num_bytes / 1e6:.0f} MB on disk"
    )


if __name__ == "__main__":
    main()
