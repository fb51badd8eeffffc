"""Files as they are written: whole or not at all, through no link; private ones for their owner alone from the start.

What a store holds is private, whatever the umask says. What a user asked for (reports, figures, exports) is not.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import IO, Any, Literal

from bench.errors import UsageError

_BESIDE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def write_file(path: Path, content: str | bytes) -> Path:
    """Puts text, in UTF-8 with the line ends that it has, or bytes in place of what is at `path`; returns it.

    The new file gets its name once it is whole. A link that stands there is replaced, and what it led to left alone.
    """
    temporary = path.with_name(f".{path.name[:100]}-{secrets.token_hex(8)}")
    try:
        with open(os.open(temporary, _BESIDE, 0o666), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def refuse_link(folder: Path) -> None:
    """Raises UsageError for a folder to write into that is a link: whoever made it would choose what is written."""
    if folder.is_symlink():
        raise UsageError(f"{folder}: a link, which is not followed; name the folder that it leads to, or remove it")


def make_folder(folder: Path) -> Path:
    """Makes the folder, and those above it that are missing; returns it. Raises UsageError for one that is a link."""
    refuse_link(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def private_folder(folder: Path) -> Path:
    """Makes the folder, and those above it that are missing, for their owner alone; returns it."""
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder


def open_private(path: Path, mode: Literal["wb", "a", "a+"]) -> IO[Any]:
    """The file opened to write; one that is made is its owner's alone. Raises OSError for a link."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600))
