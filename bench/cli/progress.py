"""What a person watches on a terminal while trials train: progress on stderr. Computes nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from bench.cli.streams import progress_stream

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from bench.cluster.connect import Resources
    from bench.cluster.schedule import Progress

PLAIN_SECONDS = 10.0  # between two lines where stderr is no terminal
NOTEBOOK_SECONDS = 0.5
BAR_WIDTH = 20
MAX_NAMED = 3  # methods in training, by name


class ProgressDisplay:
    """A bar on a terminal, a line that is written over in a notebook, a line now and then elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        self._console = Console(file=progress_stream())
        text = TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        columns = (TextColumn("{task.description}"), BarColumn(BAR_WIDTH), text)
        self._bar: Bar = Bar(*columns, console=self._console)
        self._task = self._bar.add_task("starting", total=None, text="")
        self._next_line = 0.0
        self._began = time.monotonic()
        self._line = 0  # letters of the line that a notebook shows

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:  # else the bar, never started, would print an empty line
            self._bar.stop()
        elif self._line:
            sys.stderr.write("\n")

    def wait(self, what: str) -> None:
        """Something begins that trains nothing."""
        if self._console.is_terminal:
            self._bar.update(self._task, description=what)
        else:
            self._say(what)

    def start(self, num_trials: int, num_packs: int, resources: Resources) -> None:
        """Training begins."""
        from analysis.text import counted

        share = f"{resources.gpus:.2g} GPU" if resources.gpus else f"{resources.cpus:g} CPU"
        packs = f"{counted(num_packs, 'pack')} of {share}{' each' if num_packs > 1 else ''}"
        self._say(f"{counted(num_trials, 'trial')} to run, in {packs}")
        self._bar.update(self._task, description="training")

    def update(self, progress: Progress) -> None:
        """Training goes on."""
        lines = (_counts(progress), _pace(progress, time.monotonic() - self._began))
        if self._console.is_terminal:
            steps = sum(progress.steps.values())
            text = "\n".join(lines)
            self._bar.update(self._task, total=progress.total_steps, completed=steps, text=text)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + (NOTEBOOK_SECONDS if self._console.is_jupyter else PLAIN_SECONDS)
            self._say("; ".join(lines))

    def _say(self, text: str) -> None:
        if not self._console.is_jupyter:
            self._console.print(text, highlight=False, soft_wrap=True, markup=False)
            return
        sys.stderr.write(f"\r{text:<{self._line}}")  # rich would add an output of its own for every line
        sys.stderr.flush()
        self._line = len(text)


def _counts(progress: Progress) -> str:
    left = progress.seconds_left
    left_text = "" if left is None else f", {_duration(left)} left"
    aborted = f", {progress.aborted} aborted" if progress.aborted else ""
    pruned = f", {progress.pruned} pruned" if progress.pruned else ""
    ended = f"{progress.diverged} diverged, {progress.failed} failed{aborted}{pruned}"
    return f"{progress.done}/{progress.total} done, {ended}{left_text}"


def _pace(progress: Progress, elapsed_s: float) -> str:
    """What trains and how fast; until the first step, what that waits for."""
    names = _methods(progress)
    if not progress.steps and not progress.done:
        doing = f"workers start, trace and compile {names}" if names else "workers start"
        return f"{doing}, {_duration(elapsed_s)} elapsed"
    pace = progress.done / max(progress.seconds, 1e-9)
    rate = f"{pace:.2g} trials/s" if pace >= 0.1 or not pace else f"{60 * pace:.2g} trials/min"
    return f"{progress.running} running{f' ({names})' if names else ''}, {rate}, {_duration(elapsed_s)} elapsed"


def _methods(progress: Progress) -> str:
    """The methods in training, the first few by name; of several workloads, with theirs."""
    from analysis.text import escape_controls

    firsts = [part.trials[0] for part in progress.parts]
    has_one = len({trial.workload.label for trial in firsts}) <= 1
    labels = (trial.method.label if has_one else f"{trial.method.label} on {trial.workload.name}" for trial in firsts)
    names = sorted(set(map(escape_controls, labels)))
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextlib.contextmanager
def callbacks_of(is_wanted: bool) -> Iterator[dict[str, Callable[..., object]]]:
    """What `run_suite` calls to show how far it is; nothing where that is not wanted."""
    if not is_wanted:
        yield {}
        return
    with ProgressDisplay() as display:
        yield {"on_start": display.start, "on_progress": display.update, "on_wait": display.wait}
