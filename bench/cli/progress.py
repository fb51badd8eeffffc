"""What a person watches on a terminal while trials train: progress on stderr. Computes nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from bench.cluster.connect import Resources
    from bench.cluster.schedule import Progress

PLAIN_SECONDS = 10.0  # between two lines where stderr is no terminal


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
        from analysis.text import counted

        share = f"{resources.gpus:.2g} GPU" if resources.gpus else f"{resources.cpus:g} CPU"
        packs = f"{counted(num_packs, 'pack')} of {share}{' each' if num_packs > 1 else ''}"
        self._console.print(f"{counted(num_trials, 'trial')} to run, in {packs}", highlight=False)
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


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
