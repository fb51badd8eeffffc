"""The errors that users see: one line each, with the exit code of the command line; what a misspelt name may mean."""

from __future__ import annotations

import difflib
import errno
import traceback
from collections.abc import Iterable
from pathlib import Path

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what the system says where no space is left for a file
# How it is said by SQLite, Postgres and a server's C library, of which MLflow, SQLAlchemy and Arrow hand on the text.
# The last is SQLite's where its log's index can't grow.
_SAID_OF_A_FULL_DISK = ("disk is full", "no space left on device", "disk quota exceeded", "disk i/o error")


class BenchError(Exception):
    """Base of every error with a message for the user; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(BenchError):
    """Bad usage or a bad suite: says what was required, what was got and where."""

    exit_code = 2


class StoreError(BenchError):
    """The store of results or the cluster can't be reached or can't be read."""

    exit_code = 4


class FullStoreError(StoreError):
    """The store is there, and the disk under it has no space left."""

    exit_code = 5


class BudgetError(BenchError):
    """The disk or the budget is used up."""

    exit_code = 5


def is_full(error: BaseException) -> bool:
    """Whether a disk without space is what failed, here or, by what its server says, elsewhere."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return True
    return any(said in str(error).lower() for said in _SAID_OF_A_FULL_DISK)


def store_error(message: str, cause: BaseException) -> StoreError:
    """A StoreError with a message for the user; FullStoreError where its cause is a full disk."""
    return FullStoreError(message) if is_full(cause) else StoreError(message)


# What the code of an entry may raise.
ENTRY_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NameError,
    ImportError,
    ArithmeticError,
    AssertionError,
    BenchError,
)


def did_you_mean(got: str, options: Iterable[str]) -> str:
    """The words `; did you mean 'softmax'?` of the option nearest to what was got; "" if none is near."""
    near = difflib.get_close_matches(got, list(options), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(what: str, got: str, options: Iterable[str]) -> UsageError:
    """The error for a name that is none of the options, which it names."""
    names = list(options)
    return UsageError(f"unknown {what} {got!r}{did_you_mean(got, names)} (there are {', '.join(names)})")


def reason(error: BaseException, file: str = "") -> str:
    """What was raised and where (`place_of`), in one line, with the notes that were added to it."""
    of = type(error)
    kind = of.__qualname__ if of.__module__ == "builtins" else f"{of.__module__}.{of.__qualname__}"
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = ": ".join([kind, *said[:1]])[:500]
    return f"{text} {' '.join([f'({place_of(error, file)})', *getattr(error, '__notes__', ())])}"


def place_of(error: BaseException, file: str = "") -> str:
    """Where it was raised: in `file` if it came by there, else where PyTorch was called."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if "torch" not in Path(frame.filename).parts), frames[-1])
    frame = next((own for own in reversed(frames) if own.filename == file), frame)
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
