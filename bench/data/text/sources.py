"""Where text comes from: the standard library, a file, a folder. A source is listed at once and read as a stream."""

from __future__ import annotations

import codecs
import os
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError

BUILT_IN = "python"
HUB_PREFIX = "hf:"
SOURCES = (
    f"required {BUILT_IN!r} (the Python standard library), a text file, a folder of text files, or a folder made by "
    "`bench data prepare`"
)
CHUNK_BYTES = 1 << 20
NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})
# Written when Python is built: it holds paths and flags of the machine, so the digest would not be that of the version.
MACHINE_PREFIXES = ("_sysconfigdata", "config-")

Stamp = tuple[str, int, int]  # path relative to the source, bytes, mtime in ns


class NotTextError(UsageError):
    """A file holds something else than UTF-8 text."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Text to tokenize: an iterator of documents, each an iterator of pieces of text, the same at every call.

    `stamps` are the files that it is read from, empty for a stream from a hub. Where `is_separated`, a separator goes
    before each document; a single file is its text alone.
    """

    name: str
    stamps: tuple[Stamp, ...]
    documents: Callable[[], Iterator[Iterator[str]]]
    is_separated: bool

    @property
    def num_bytes(self) -> int | None:
        """Bytes of its files; None where that is not known."""
        return sum(size for _, size, _ in self.stamps) if self.stamps else None


def find_source(name: str) -> Source:
    """The source of this name or path.

    Raises UsageError if there is none, if it is empty, or if it can't be read.
    """
    if name == BUILT_IN:
        return _standard_library()
    if name.startswith(HUB_PREFIX):
        raise UsageError(f"{one_line(name)}: prepare it first: bench data prepare {one_line(name)} --out FOLDER")
    path = os.path.abspath(os.path.expanduser(name)) if name else ""
    if not os.path.exists(path):
        raise UsageError(f"{one_line(name) if name else repr(name)}: no such file or folder; {SOURCES}")
    if os.path.isdir(path):
        return _folder(path)
    if not os.path.isfile(path):
        raise UsageError(f"{one_line(path)}: must be a file or a folder")
    return _file(path)


def read_text(path: str, *, errors: str = "strict") -> Iterator[str]:
    """The text of a UTF-8 file in pieces, line ends untouched.

    Raises NotTextError, with the place, if it isn't UTF-8 or holds a NUL; UsageError if it can't be read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                if errors == "strict" and b"\0" in chunk:
                    raise NotTextError(
                        f"{one_line(path)}: a binary file (it holds a NUL byte); text in UTF-8 is required"
                    )
                if text := decoder.decode(chunk):
                    yield text
            if text := decoder.decode(b"", final=True):
                yield text
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise NotTextError(
            f"{one_line(path)}: not text (byte 0x{byte:02x}: {error.reason}); text in UTF-8 is required"
        ) from error
    except OSError as error:
        raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}") from error


def one_line(path: str | Path) -> str:
    """A path or name as part of a message of one line."""
    text = str(path)
    return text if text.isprintable() and text else repr(text)


def _standard_library() -> Source:
    root = sysconfig.get_path("stdlib")
    stamps = _scan(root, skips=lambda name: name in NOT_LIBRARY or name.startswith(MACHINE_PREFIXES))
    stamps = tuple(stamp for stamp in stamps if stamp[0].endswith(".py") and stamp[1])
    if not stamps:
        raise UsageError(
            f"{one_line(root)}: this Python has no source files of its library; name a text file or a folder"
        )

    def documents() -> Iterator[Iterator[str]]:
        return (read_text(os.path.join(root, name), errors="replace") for name, _, _ in stamps)

    return Source(name=BUILT_IN, stamps=stamps, documents=documents, is_separated=True)


def _folder(root: str) -> Source:
    stamps = _scan(root, skips=lambda name: name.startswith(".") or name == "__pycache__")
    stamps = tuple(stamp for stamp in stamps if stamp[1])
    if not stamps:
        raise UsageError(f"{one_line(root)}: no text: the folder holds no file that is not empty; {SOURCES}")

    def documents() -> Iterator[Iterator[str]]:
        paths = (os.path.join(root, name) for name, _, _ in stamps)
        return (read_text(path) for path in paths if _is_text(path))

    return Source(name=root, stamps=stamps, documents=documents, is_separated=True)


def _file(path: str) -> Source:
    try:
        status = os.stat(path)
    except OSError as error:
        raise UsageError(f"{one_line(path)}: can't be read: {error.strerror}") from error
    if not status.st_size:
        raise UsageError(f"{one_line(path)}: the file is empty; text in UTF-8 is required")
    stamps = ((os.path.basename(path), status.st_size, status.st_mtime_ns),)
    return Source(name=path, stamps=stamps, documents=lambda: iter([read_text(path)]), is_separated=False)


def _scan(root: str, *, skips: Callable[[str], bool]) -> tuple[Stamp, ...]:
    """Every regular file below a folder, by relative path; folders behind links are left out, they may be circles."""
    stamps: list[Stamp] = []

    def visit(folder: str, prefix: str) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if skips(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    visit(entry.path, f"{prefix}{entry.name}/")
                elif entry.is_file():
                    status = entry.stat()
                    stamps.append((prefix + entry.name, status.st_size, status.st_mtime_ns))

    try:
        visit(root, "")
    except OSError as error:
        raise UsageError(f"{one_line(error.filename or root)}: can't be read: {error.strerror}") from error
    return tuple(sorted(stamps))


def _is_text(path: str) -> bool:
    try:
        for _ in read_text(path):
            pass
    except NotTextError:
        return False
    return True
