"""The folder of a store belongs to one user, and nobody else looks into what the store keeps there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from bench.errors import UsageError
from bench.files import private_folder

_FOLDERS = {"artifacts", "cache", "checkpoints", "jobs", "locks", "login", "outbox"}
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def claim(home: Path, database: str, warn: Callable[[str], None]) -> None:
    """Makes the folder of a store; takes from others what they may do with an earlier one, and warns of it once.

    `database` is the name of its SQLite file. What else is in the folder is left as it is, and so then is the folder.
    Raises UsageError if it, or what the store has in it, is another user's. A folder of root's is taken: a cluster
    mounts disks so.
    """
    private_folder(home)
    names = os.listdir(home)
    kept = [name for name in names if name in _FOLDERS or name.startswith(database)]
    wide = [path for path in map(home.joinpath, kept) if _is_wide(path)]
    if _is_wide(home) and len(kept) == len(names):
        wide.append(home)
    for path in wide:
        path.chmod(path.stat().st_mode & ~_OF_OTHERS)
    if wide:
        warn(f"{home}: other users of this machine could look into it; from now on it is yours alone")


def _is_wide(path: Path) -> bool:
    """Whether others may do anything with it and it is ours to change. Raises UsageError if it is another user's."""
    try:
        status = path.stat()
    except FileNotFoundError:  # SQLite removed its log, or it is a link to nothing
        return False
    if status.st_uid not in (os.geteuid(), 0):
        raise UsageError(
            f"{path}: belongs to another user (uid {status.st_uid}), who could change results; name a --store of yours"
        )
    return status.st_uid == os.geteuid() and bool(stat.S_IMODE(status.st_mode) & _OF_OTHERS)
