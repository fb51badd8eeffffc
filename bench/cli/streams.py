"""stdout and stderr as a shell may leave them, closed or full; what a disk or a path refuses, as an error of a line."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from bench.errors import BudgetError, UsageError

T = TypeVar("T")

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
        raise UsageError("stdout is closed, so nothing could be printed; > /dev/null throws away what is printed")
    try:
        try:
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
