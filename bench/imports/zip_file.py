"""Reads the one file of a ZIP archive, within a bound; says what else an archive holds."""

from __future__ import annotations

import io
import shlex
import struct
import zipfile
import zlib

from bench.errors import UsageError
from bench.imports.columns import MAX_BYTES, printable

FIRST = b"PK\x03\x04"

_END, _END_SIZE, _LONGEST_REMARK = b"PK\x05\x06", 22, 2**16
_MAX_LIST = 2**18  # bytes of the list of files: some thousand
_LARGE = b"PK\x06\x07"  # of archives of over 4 GB, or 65,535 files
_NAMED = 5  # files of an archive that a message names
_HIDDEN = ("__MACOSX/", ".")


def only_file(content: bytes, file_name: str) -> bytes:
    """What the one file in a ZIP archive holds.

    Raises UsageError for a workbook of Excel, several files or none, a password, damage, and more than MAX_BYTES.
    """
    try:
        _check_list(content, file_name)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [one.filename for one in archive.infolist() if not one.filename.endswith("/")]
            if "[Content_Types].xml" in names:
                raise UsageError(f"{file_name}: a workbook of Excel; save the sheet as CSV; {_REQUIRED}")
            seen = [name for name in names if not name.startswith(_HIDDEN)]
            if len(seen) != 1:
                raise UsageError(f"{file_name}: a ZIP archive of {_files(seen, file_name)}; {_REQUIRED}")
            with archive.open(seen[0]) as file:
                unpacked = file.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, ValueError, OSError) as error:
        raise UsageError(f"{file_name}: damaged, can't be unpacked from ZIP ({printable(str(error))})") from None
    except RuntimeError as error:
        raise UsageError(f"{file_name}: a ZIP archive with a password; unpack it ({printable(str(error))})") from None
    if len(unpacked) > MAX_BYTES:
        raise UsageError(f"{file_name}: over {MAX_BYTES / 1e6:.0f} MB unpacked from ZIP; required at most that")
    return unpacked


_REQUIRED = "required a CSV, JSON or Parquet file, a row a run"


def _check_list(content: bytes, file_name: str) -> None:
    """Raises UsageError where the list of files, which is read whole, is long."""
    end = content.rfind(_END, max(0, len(content) - _END_SIZE - _LONGEST_REMARK))
    if end < 0 or len(content) < end + _END_SIZE:
        raise zipfile.BadZipFile("it has no list of files: cut short")
    size = int.from_bytes(content[end + 12 : end + 16], "little")
    if size > _MAX_LIST or content[max(0, end - 20) :].startswith(_LARGE):
        raise UsageError(f"{file_name}: a ZIP archive of thousands of files; unpack it; {_REQUIRED}")


def _files(names: list[str], file_name: str) -> str:
    if not names:
        return "no files"
    listed = ", ".join(printable(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{listed}{more}; `unzip {shlex.quote(file_name)}` unpacks them, to be imported one by one"
