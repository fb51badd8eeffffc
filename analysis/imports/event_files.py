"""Scalars of TensorBoard's event files: of one file, or of a folder with a folder a run.

A file is TFRecords (length, its checksum, an event, its checksum), an event a message of Protocol Buffers. It is read
by hand, as every library for it loads a framework. Source: tensorflow's event.proto, summary.proto and tensor.proto.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import UsageError

PATTERN = "*tfevents*"
MAX_FILES = 10_000
MAX_POINTS = 1_000_000
MAX_BYTES = 512 * 2**20  # of one file

_STEP, _SUMMARY = 2, 5  # of an event
_TAG, _SIMPLE, _TENSOR = 1, 2, 8  # of a value of a summary
_CONTENT, _FLOATS, _DOUBLES = 4, 5, 6  # of a tensor
_DOUBLE = 2  # its type of 64 bits
_MOST_OF_32_BITS = 3e38


def event_files(path: Path) -> list[Path]:
    """The event files that a path names: itself, or those below the folder; [] where it is neither."""
    if path.is_dir():
        return sorted(one for one in path.rglob(PATTERN) if one.is_file())
    return [path] if path.match(PATTERN) and path.is_file() else []


def read_scalars(path: Path, files: Sequence[Path], shown: str) -> tuple[list[str], list[Sequence[str | None]], str]:
    """Columns run, step and one a tag, their cells, and the SHA-256 of all files; a row a run and step.

    A run is the folder of its files below `path`. Raises UsageError for damaged files, ones without a scalar, and more
    than MAX_FILES files or MAX_POINTS points.
    """
    if len(files) > MAX_FILES:
        raise UsageError(f"{shown}: {len(files):,} event files; required at most {MAX_FILES:,}")
    digest = hashlib.sha256()
    table: dict[tuple[str, int], dict[str, float]] = {}
    num_points = 0
    for file in files:
        run = file.parent.relative_to(path).as_posix() if path.is_dir() else file.resolve().parent.name
        content = _content(file, shown)
        digest.update(content)
        try:
            for step, tag, value in _scalars(content):
                table.setdefault((run, step), {})[tag] = value
                num_points += 1
                if num_points > MAX_POINTS:
                    raise UsageError(f"{shown}: over {MAX_POINTS:,} scalars; required at most that")
        except (ValueError, struct.error, IndexError) as error:
            raise UsageError(f"{shown}: {file.name}: damaged, no event file of TensorBoard ({error})") from None
    tags = list(dict.fromkeys(tag for of_row in table.values() for tag in of_row))
    if not tags:
        raise UsageError(f"{shown}: no scalar in {len(files)} event files of TensorBoard")
    names = ["run", "step", *(f"scalar/{tag}" if tag in ("run", "step") else tag for tag in tags)]
    columns: list[Sequence[str | None]] = [[run for run, _ in table], [str(step) for _, step in table]]
    columns += [[_shortest(row[tag]) if tag in row else None for row in table.values()] for tag in tags]
    return names, columns, digest.hexdigest()


def _shortest(value: float) -> str:
    """The shortest text that gives a number back, which was most likely of 32 bits."""
    if abs(value) < _MOST_OF_32_BITS:
        texts = (f"{value:.{digits}g}" for digits in range(6, 10))
        packed = struct.pack("<f", value)
        exact = struct.unpack("<f", packed)[0] == value
        return next((text for text in texts if exact and struct.pack("<f", float(text)) == packed), repr(value))
    return repr(value)


def _content(file: Path, shown: str) -> bytes:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"{shown}: {file.name}: over {MAX_BYTES // 2**20} MiB; required at most that")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{shown}: {file.name}: can't be read: {error.strerror}") from None


def _scalars(content: bytes) -> Iterator[tuple[int, str, float]]:
    """(step, tag, value) of every scalar; what a killed writer left of its last record is left out."""
    start = 0
    while start + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        event, start = content[start + 12 : start + 12 + length], start + 16 + length
        if len(event) < length:
            if start - 16 - length == 0:
                raise ValueError("its first record is longer than it")
            return
        step, values = 0, list[bytes]()
        for field, value in _fields(event):
            if field == _STEP and isinstance(value, int):
                step = value
            elif field == _SUMMARY and isinstance(value, bytes):
                values += [one for _, one in _fields(value) if isinstance(one, bytes)]
        for one in values:
            tag, number = _tag_and_number(one)
            if number is not None and tag.isprintable() and tag.strip():
                yield step, tag.strip(), number


def _tag_and_number(value: bytes) -> tuple[str, float | None]:
    """The tag of a value and its number; None for what is no scalar."""
    tag, number = "", None
    for field, one in _fields(value):
        if field == _TAG and isinstance(one, bytes):
            tag = one.decode(errors="replace")
        elif field == _SIMPLE and isinstance(one, bytes) and len(one) == 4:
            (number,) = struct.unpack("<f", one)
        elif field == _TENSOR and isinstance(one, bytes):
            number = _scalar_of(one)
    return tag, number


def _scalar_of(tensor: bytes) -> float | None:
    """The number of a tensor that holds one alone, of 32 or 64 bits."""
    fields = dict(_fields(tensor))
    for field, form in ((_FLOATS, "<f"), (_DOUBLES, "<d"), (_CONTENT, "<d" if fields.get(1) == _DOUBLE else "<f")):
        found = fields.get(field)
        if isinstance(found, bytes) and len(found) == struct.calcsize(form):
            return struct.unpack(form, found)[0]
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an int for a varint, else its bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == 2:
            size, place = _varint(message, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of wire type {kind}")
        if place + size > len(message):
            raise ValueError("a field beyond its message")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return (value - 2**64 if value >= 2**63 else value), place
        shift += 7
        if shift > 63:
            raise ValueError("a number of over 64 bits")
