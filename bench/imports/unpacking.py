"""What a file is by its first bytes: what is packed is unpacked within a bound, what can't be read gets its name."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Any

from bench.errors import UsageError
from bench.imports import zip_file
from bench.imports.columns import MAX_BYTES

_MOST_OF_LZMA = 256 * 2**20  # bytes that unpacking may hold
_PIECE = 2**16  # bytes that a stream is given at a time, as it copies what it leaves
_MOST_STREAMS = 2**16  # empty ones take time alone; bgzip makes one of 64 KiB
_ZEROS = re.compile(rb"\0*")
# The first bytes of what is unpacked, with what makes an object that does it, a stream at a time.
_PACKED: dict[bytes, tuple[str, Callable[[], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
    b"\xfd7zXZ\x00": ("xz", lambda: lzma.LZMADecompressor(memlimit=_MOST_OF_LZMA)),
}
# What else is often given, and what to do with it.
_OTHERS: dict[bytes, str] = {
    b"SQLite format 3\x00": "a SQLite database; export its runs as CSV: MLflow's search_runs, Optuna's "
    "trials_dataframe",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it",
    b"ARROW1": "an Arrow or Feather file; write it as Parquet",
    b"\x80": "a pickle, which is never read; write it as CSV or Parquet",
    b"\x89HDF": "an HDF5 file; write its runs as CSV or Parquet",
    b"\x93NUMPY": "an array of NumPy; write it as CSV with a header",
    b"<!DOCTYPE": "a page in HTML, as of a failed download",
    b"<html": "a page in HTML, as of a failed download",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file by `git lfs pull`",
}
_TAR = 257  # where a tar archive says that it is one


def unpacked(content: bytes, file_name: str) -> tuple[bytes, str]:
    """The content that was packed by gzip, bzip2, xz or ZIP, and by which; other content as it is, and "".

    Raises UsageError for damage, for more than MAX_BYTES and for a file of _OTHERS.
    """
    for first, (name, make) in _PACKED.items():
        if content.startswith(first):
            content = _streams(content, make, name, file_name)
            _refuse_others(content, file_name)
            return content, name
    name = ""
    if content.startswith(zip_file.FIRST):
        content, name = zip_file.only_file(content, file_name), "ZIP"
    _refuse_others(content, file_name)
    return content, name


def _streams(content: bytes, make: Callable[[], Any], name: str, file_name: str) -> bytes:
    """All streams of a packed file, one after the other; zeros between them fill blocks."""
    parts, size, place, num_streams = [], 0, 0, 0
    try:
        while place < len(content):
            stream, num_streams = make(), num_streams + 1
            if num_streams > _MOST_STREAMS:
                raise UsageError(
                    f"{file_name}: over {_MOST_STREAMS:,} streams packed by {name}; required one, so pack it again"
                )
            while not stream.eof:
                piece = content[place : place + _PIECE]
                if not piece:
                    raise UsageError(f"{file_name}: packed by {name}, and cut short; fetch or pack it again")
                parts.append(stream.decompress(piece, MAX_BYTES + 1 - size))
                size, place = size + len(parts[-1]), place + len(piece)
                if size > MAX_BYTES:
                    raise UsageError(
                        f"{file_name}: over {MAX_BYTES / 1e6:.0f} MB unpacked from {name}; required at most that"
                    )
            place -= len(stream.unused_data)
            zeros = _ZEROS.match(content, place)
            place = zeros.end() if zeros else place
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
        raise UsageError(f"{file_name}: damaged, can't be unpacked from {name} ({error})") from None
    return b"".join(parts)


def _refuse_others(content: bytes, file_name: str) -> None:
    for first, words in _OTHERS.items():
        if content.startswith(first):
            raise UsageError(f"{file_name}: {words}; required a CSV, JSON or Parquet file, a row a run")
    if content[_TAR : _TAR + 5] == b"ustar":
        raise UsageError(f"{file_name}: a tar archive; unpack it; required a CSV, JSON or Parquet file, a row a run")
