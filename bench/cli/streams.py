"""stdout and stderr as a shell may leave them, closed or full; what a disk or a path refuses, as an error of a line.

All that a command prints goes through them: where they are a terminal, nothing that is printed steers it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar, cast

from bench.errors import BudgetError, UsageError

T = TypeVar("T")

_BOLD = r"\x1b\[[01]m"  # heads of tables
_MOVING = r"\r|\x1b\[[0-9;]*[mAK]|\x1b\[\?25[hl]"  # a bar's: colours, lines up, lines erased, the cursor hidden
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}
_OF_A_PATH = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY,
              errno.ELOOP, errno.ENAMETOOLONG, errno.EBADF}  # fmt: skip


@contextlib.contextmanager
def open_streams() -> Iterator[None]:
    """Holds streams that can be written while a command runs, and writes all that was printed when it ends.

    Raises UsageError for a closed stdout and for paths that are not as required, BudgetError where the disk is full or
    can't be written. A reader that has what it wanted, as `| head` has, is no error.
    """
    # What is closed leads nowhere: else the next file that is opened takes its number, and messages are written to it.
    is_closed = sys.stdout is None
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if is_closed:
        raise UsageError("stdout is closed, so nothing could be printed; open it, or write > /dev/null")
    for stream in (sys.stdout, sys.stderr):  # of an encoding that lacks a letter, such as Latin-1, get its escape
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            with _guarded():
                yield
        finally:
            sys.stdout.flush()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # which Typer makes an exit with code 1
            raise
    except BrokenPipeError:
        _lead_nowhere(sys.stdout)
    except OSError as error:
        _lead_nowhere(sys.stdout)
        where = error.filename if error.filename is not None else "stdout"
        if error.errno in _OF_THE_DISK:
            raise BudgetError(f"{where}: {error.strerror}") from error
        if error.errno in _OF_A_PATH:
            raise UsageError(f"{where}: {error.strerror}") from error
        raise


class Guarded:
    """A terminal's stream that writes control characters as escapes, but for line ends, tabs and what is allowed."""

    def __init__(self, stream: TextIO, allowed: str = _BOLD) -> None:
        self._stream = stream
        self._allowed = re.compile(rf"(\n|\t|{allowed})")

    def write(self, text: str) -> int:
        """The number of letters of the text, all of which are written."""
        from analysis.text import escape_controls

        parts = self._allowed.split(text)
        self._stream.write("".join(part if place % 2 else escape_controls(part) for place, part in enumerate(parts)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each of them."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def progress_stream() -> TextIO:
    """stderr for a bar that moves: colours and moves of the cursor go through, what else steers a terminal does not."""
    stream = sys.stderr._stream if isinstance(sys.stderr, Guarded) else sys.stderr
    return cast(TextIO, Guarded(stream, _MOVING)) if stream.isatty() else stream


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, Guarded(one)) if one.isatty() else one for one in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def prints_aside() -> Iterator[None]:
    """What code of a user's prints in the block goes to stderr: stdout is for what the command prints."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def made_aside(items: Iterable[T]) -> Iterator[T]:
    """The items; what is printed while each is made goes to stderr."""
    iterator = iter(items)
    while True:
        with prints_aside():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def _lead_nowhere(stream: TextIO) -> None:
    """What the stream still holds can't be written; it is not tried again when Python ends."""
    with contextlib.suppress(OSError):
        number = stream.fileno()
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), number)


def printable(text: str) -> str:
    """Text that can't steer a terminal, in letters that stdout has."""
    letters = (letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
    encoding = sys.stdout.encoding or "utf-8"  # a stream in memory has none
    return "".join(letters).encode(encoding, errors="replace").decode(encoding)
