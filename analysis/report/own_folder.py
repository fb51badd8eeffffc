"""Which folder a report may fill: new, empty, or an earlier report's, which loses what the new one has not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.errors import UsageError
from bench.files import refuse_link, write_file

FILES_FILE = "files.txt"  # names every file of the report, a line each
_EARLIER = {"index.html", "report.md"}  # which reports have that were written before FILES_FILE was
_NAMED = 3  # of the files in the way


def refuse_other_folder(out: Path) -> None:
    """Raises UsageError unless `out` is new, empty, or the folder of an earlier report, and no link."""
    refuse_link(out)
    names = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if names and FILES_FILE not in names and not set(names) >= _EARLIER:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        held = ", ".join(names[:_NAMED]) + more
        raise UsageError(f"{out}: holds {held}, which is no report; name a new or empty folder")


def keep_to(out: Path, written: Iterable[Path]) -> list[Path]:
    """Removes the files of an earlier report that are not among those written, and names these; returns what went.

    What others put into the folder stays.
    """
    names = sorted(path.relative_to(out).as_posix() for path in written)
    listed = out / FILES_FILE
    earlier = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    inside = out.resolve()
    stale = [out / name for name in earlier if name not in names and (out / name).resolve().is_relative_to(inside)]
    gone = [path for path in stale if path.is_file()]
    for path in gone:
        path.unlink()
    write_file(listed, "".join(f"{name}\n" for name in names))
    return gone
