"""What the commands share: opening suites and stores, and what is printed after a run.

stdout is data, stderr is progress. Heavy imports happen inside functions.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import typer

from bench.cli.aborting import stopped_words
from bench.cli.streams import prints_aside

if TYPE_CHECKING:
    import polars

    from analysis.subject import AnySubject
    from bench.driver.summary import Summary
    from bench.results.stored import Stored
    from bench.store import Store
    from bench.suite import Suite

EXIT_TRIALS_FAILED, EXIT_STORE, EXIT_DISK, EXIT_INTERRUPTED = 3, 4, 5, 130
MAX_REASONS = 5  # why trials failed, said at the end of a run

# What MLflow's pages show, by the names of bench.store.VIEWS.
VIEW_TITLES = {"leaderboard": "leaderboard", "charts": "trials as charts", "trials": "trials as a table"}
KIND_ADVICE = "(once in a browser: press `Model training` at the top left, or other pages open among those of LLMs)"
DEFAULT_STORE = Path(".bench")
DEFAULT_PORT = 5000  # of `bench ui`


def run_and_print(
    loaded: Suite, opened: Store, report_words: str | None, *, is_wide: bool = False, **options: Any
) -> NoReturn:
    """Run a suite and print its leaderboard, or the answers of its searches. `options`: as Options has them."""
    from bench.cli.progress import ProgressDisplay
    from bench.driver.options import Options
    from bench.driver.run import run_suite

    try:
        with ProgressDisplay() as display, prints_aside():
            summary = run_suite(
                loaded,
                opened,
                Options(**options),
                on_start=display.start,
                on_progress=display.update,
                on_wait=display.wait,
            )
    except KeyboardInterrupt:
        fail("stopped; finished packs are kept, the same command goes on from there", EXIT_INTERRUPTED)
    _say_summary(loaded, opened, summary)
    if summary.subject is not None:
        print(terminal_text(summary.subject, is_wide=is_wide), end="")
        if report_words is not None:
            say(f"\nNext:  bench report {report_words}    tables and figures")
        say(f"       {_ui_words(loaded.name, opened)}")
    raise typer.Exit(_exit_code(summary))


def words_for_report(suite: str, store: Path, *, allow_code: bool, uri: str | None = None) -> str:
    """What follows `bench report` to show what a run of the suite left, from the same store and with code allowed."""
    code = ["--allow-code"] if allow_code else []
    return shlex.join([suite, *code, *_place_words(store, uri)])


def _place_words(home: Path, uri: str | None) -> list[str]:
    """The options that name a store; of a password in its URI only that there is one."""
    from bench.secrecy import without_secrets

    elsewhere = [] if home.absolute() == DEFAULT_STORE.absolute() else ["--store", str(home)]
    return elsewhere if uri is None else [*elsewhere, "--tracking-uri", without_secrets(uri)]


def ui_address(store: Store, port: int) -> str:
    """Where MLflow shows the store, or would after `bench ui --port`."""
    return store.uri if store.is_remote else f"http://127.0.0.1:{port}"


def ui_command(store: Store) -> str:
    """What serves a store of this machine."""
    is_embedded = store.database == store.home / "mlflow.db"
    home = DEFAULT_STORE if store.home == DEFAULT_STORE.resolve() else store.home
    return shlex.join(["bench", "ui", *_place_words(home, None if is_embedded else store.uri)])


def _ui_words(suite_name: str, store: Store) -> str:
    from bench.store import view_link

    base = ui_address(store, DEFAULT_PORT)
    links = [f"{view_link(store, suite_name, base, view)}    {title}" for view, title in VIEW_TITLES.items()]
    first = ["in MLflow:"] if store.is_remote else [f"{ui_command(store):<35} MLflow, then at"]
    return "\n       ".join([*first, *links, KIND_ADVICE])


def fail(message: str, code: int) -> NoReturn:
    say(message)
    sys.exit(code)


def say(message: str) -> None:
    """Writes a message to stderr, where it can't steer a terminal; a stderr that can't be written stops nothing."""
    from analysis.text import escape_controls

    with contextlib.suppress(OSError):
        print("\n".join(map(escape_controls, message.split("\n"))), file=sys.stderr, flush=True)


def load(name: str, allow_code: bool) -> Suite:
    from bench.suite import find_suite, load_suite

    with prints_aside():
        return load_suite(find_suite(name), allow_code=allow_code)


def load_to_train(name: str, allow_code: bool) -> Suite:
    """The suite, whose entries of a user's own keep to a sample of what `bench check` tries. Raises UsageError."""
    loaded = load(name, allow_code)
    if loaded.own_entries:
        from bench.testing import refuse_broken

        with prints_aside():
            refuse_broken(loaded)
    return loaded


def find(text: str, store: Store, allow_code: bool) -> Stored:
    """What a SUITE argument names: a suite file, a shipped suite, or a suite or imports in the store by name."""
    from bench.results.stored import find_stored

    with prints_aside():
        return find_stored(text, store, allow_code=allow_code)


def folder_of(out: Path | None, kind: str, name: str) -> Path:
    """Where a command writes: `--out`, else KIND/NAME."""
    return Path(kind) / name if out is None else out


def read_named(
    text: str,
    store: Store,
    allow_code: bool,
    score: str,
    loss: str,
    compare: str | None,
    contributed: Sequence[Path] | None = None,
) -> AnySubject:
    """The results of what `find` finds, scored so, with the published numbers of `--compare` and contributed ones."""
    from bench.results.subjects import read_grid, read_subject

    stored, published = find(text, store, allow_code), published_numbers(compare)
    if not contributed:
        return read_subject(stored, store, score=score, loss=loss, published=published)
    from bench.results.contributed import with_contributed

    return with_contributed(read_grid(stored, store, score=score, loss=loss, published=published), contributed, store)


def refuse_options(words: str, refused: Sequence[str], compare: str | None, score: str, loss: str) -> None:
    """Raises UsageError with these words before it if one of the options that are refused is given."""
    from bench.errors import UsageError

    given = {"--compare": compare is not None, "--score": score != "lr_sensitivity", "--loss": loss != "train"}
    if any(given[name] for name in refused):
        raise UsageError(f"{words} no {', '.join(refused[:-1])} or {refused[-1]}; leave that out")


def published_numbers(name: str | None) -> polars.DataFrame | None:
    """The published numbers that `--compare` names, if any."""
    from analysis import references

    return references.load(name) if name else None


def say_missing(subject: AnySubject) -> None:
    """How many trials have no result yet, if any."""
    if subject.missing:
        say(subject.missing)


def open_store(home: Path, uri: str | None) -> Store:
    from bench.store import Store

    return Store(home.expanduser(), uri, warn=say)


def terminal_text(subject: AnySubject, *, is_wide: bool = False) -> str:
    """The board of a subject as tables for people, and under them how far its A/A controls lie from their methods, and
    what became of entries without a score, or whose every trial diverged."""
    from analysis.report.fates import fates
    from analysis.report.views import view_of
    from analysis.scores.controls import floor_sentences
    from analysis.subject import Subject
    from bench.cli.terminal import frame_text, sentences_text

    names, frames = subject.labels.plain, view_of(subject).frames(subject)
    tables = "\n".join(frame_text(names.in_frame(frame), is_wide=is_wide) for frame in frames)
    if isinstance(subject, Subject):
        sentences = floor_sentences(subject.board) + fates(subject.scored, subject.board)
    else:
        sentences = view_of(subject).remarks(subject)
    said = (sentences_text([sentence], is_wide=is_wide) for sentence in names.in_texts(sentences))
    return tables + "".join(f"\n{sentence}" for sentence in said)


def print_board(subject: AnySubject, format: str, *, is_wide: bool = False) -> None:
    """The board of a subject, beside the published numbers that it has."""
    from analysis.report.views import view_of

    is_table = format == "table"
    print(terminal_text(subject, is_wide=is_wide) if is_table else view_of(subject).forms[format](subject), end="")


def _say_summary(suite: Suite, store: Store, summary: Summary) -> None:
    from analysis.text import counted

    if summary.num_found:
        say(f"{summary.num_found} of {summary.num_trials} trials were finished already")
    if summary.progress is not None:
        done = summary.progress
        say(f"{done.completed} completed, {done.diverged} diverged, {done.failed} failed{stopped_words(summary)}")
        for reason, count in done.failures.most_common(MAX_REASONS):
            say(f"  {counted(count, 'trial')}: {reason}")
    say(", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary.phases.items()))
    if summary.was_interrupted:
        say(f"stopped early; the same command runs what is left of {suite.name}")
    if summary.num_waiting:
        say(f"{store.shown_uri} did not take {counted(summary.num_waiting, 'pack')}; the next run delivers what waits")


def _exit_code(summary: Summary) -> int:
    if summary.was_interrupted:
        return EXIT_INTERRUPTED
    if summary.num_waiting:
        return EXIT_DISK if summary.is_disk_full else EXIT_STORE
    return EXIT_TRIALS_FAILED if summary.progress is not None and summary.progress.failed else 0


def print_estimate(suite: Suite, *, max_lanes: int | None, compiling: Literal["auto", "never", "always"]) -> None:
    from analysis.text import counted
    from bench.driver.estimate import estimate

    with prints_aside():
        guess = estimate(suite, max_lanes=max_lanes, compiling=compiling)
    trials, packs = counted(guess.num_trials, "trial"), counted(guess.num_packs, "pack")
    if suite.search is not None:
        trials = f"about {trials} in rounds, at most {guess.most_trials},"
    at_once = f", {guess.num_slots} at a time" if 1 < guess.num_slots < guess.num_packs else ""
    what = "GPU" if guess.device == "cuda" else "CPU"
    print(
        f"{suite.name}: {trials} in {packs}{at_once}; about {span_text(guess.seconds)} on this machine's {what} "
        f"({span_text(guess.low)} to {span_text(guess.high)}), from start to leaderboard; about "
        f"{guess.num_bytes / 1e6:.0f} MB on disk"
    )
    if guess.device == "cpu":
        say("PyTorch finds no GPU here; on one, packs of up to 128 trials train together")


def span_text(seconds: float) -> str:
    """Seconds, minutes or hours, in about two digits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours = seconds / 3600
    return f"{seconds / 60:.0f} min" if hours < 1.5 else f"{hours:.1f} h" if hours < 10 else f"{hours:,.0f} h"
