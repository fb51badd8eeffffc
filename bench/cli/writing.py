"""What a person sees while a command writes data: progress on stderr, until it ends or Ctrl-C ends it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from bench.cli.shared import EXIT_INTERRUPTED, say
from bench.cli.streams import progress_stream

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

OnProgress = Callable[[str, float | None, int], None]
Written = TypeVar("Written")
PLAIN_SECONDS = 10.0  # between two lines where stderr is no terminal


def with_progress(write: Callable[[OnProgress], Written]) -> Written:
    """What a function that tells its progress gives; Ctrl-C ends the command."""
    try:
        with _Progress() as progress:
            return write(progress.update)
    except KeyboardInterrupt:
        say("stopped; nothing half-built is left")
        raise typer.Exit(EXIT_INTERRUPTED) from None


class _Progress:
    """A bar on stderr where that is a terminal, a line now and then elsewhere; made at the first news."""

    def __init__(self) -> None:
        self._next_line = time.monotonic() + PLAIN_SECONDS
        self._bar: Bar | None = None
        self._task: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, what: str, share: float | None, num_tokens: int) -> None:
        """What is being done, the share of it that is done, and the tokens so far."""
        text = f"{num_tokens:,} tokens" if num_tokens else ""
        if not sys.stderr.isatty():
            if time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + PLAIN_SECONDS
                say(", ".join(part for part in (what, "" if share is None else f"{share:.0%}", text) if part))
            return
        if self._bar is None:
            self._bar = self._started(what)
        self._bar.update(self._task, description=what, total=None if share is None else 1.0, completed=share, text=text)

    def _started(self, what: str) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        left, right = TextColumn("{task.description}"), TextColumn("{task.fields[text]}")
        console = Console(file=progress_stream())
        bar = Progress(left, BarColumn(), right, TimeRemainingColumn(), console=console, transient=True)
        self._task = bar.add_task(what, total=None, text="")
        bar.start()
        return bar
