"""What a person watches on a terminal: progress on stderr, the leaderboard as a table. Computes nothing."""

from __future__ import annotations

import io
import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars
    from rich.progress import Progress as Bar

    from bench.cluster.connect import Resources
    from bench.cluster.schedule import Progress

PLAIN_SECONDS = 10.0  # between two lines where stderr is no terminal
NUM_DIGITS = 3
WIDE_COLUMNS = ("knobs", "definition", "source", "note")  # left out on a terminal when they say the same on every row


class ProgressDisplay:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True)
        self._bar: Bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), console=self._console
        )
        self._task = self._bar.add_task("starting", total=None, text="")
        self._next_line = 0.0

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def start(self, num_trials: int, num_packs: int, resources: Resources) -> None:
        """The run begins."""
        share = f"{resources.gpus:.2g} GPU" if resources.gpus else f"{resources.cpus:g} CPU"
        self._console.print(f"{num_trials} trials to run, in {num_packs} packs of {share} each", highlight=False)
        self._bar.update(self._task, description="training")

    def update(self, progress: Progress) -> None:
        """The run goes on."""
        left = progress.seconds_left
        left_text = "" if left is None else f", {_duration(left)} left"
        text = (
            f"{progress.done}/{progress.total} done, {progress.diverged} diverged, {progress.failed} failed, "
            f"{progress.running} running{left_text}"
        )
        if self._console.is_terminal:
            steps = sum(progress.steps.values())
            self._bar.update(self._task, total=progress.total_steps, completed=steps, text=text)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_SECONDS
            self._console.print(text, highlight=False, soft_wrap=True)


def terminal_table(frame: polars.DataFrame) -> str:
    """A frame as a table for people, one for each workload; NO_COLOR is honoured, numbers are rounded."""
    tables = (
        f"{workload}\n{_one_table(rows.drop('workload'))}"
        for (workload,), rows in frame.group_by("workload", maintain_order=True)
    )
    return "\n".join(tables)


def _one_table(frame: polars.DataFrame) -> str:
    from rich.console import Console
    from rich.table import Table

    hidden = {name for name in WIDE_COLUMNS if name in frame.columns and frame[name].n_unique() == 1}
    names = [name for name in frame.columns if name not in hidden]
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if frame[name].dtype.is_numeric() else "left", overflow="fold")
    for row in frame.select(names).iter_rows():
        table.add_row(*(_cell(value) for value in row))
    buffer = io.StringIO()
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = None if sys.stdout.isatty() else 200
    # Names are text, whatever brackets and colons they have.
    Console(file=buffer, force_terminal=colour, width=width, no_color=not colour, markup=False, emoji=False).print(
        table
    )
    return buffer.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.{NUM_DIGITS}g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
