"""Scalars of TensorBoard's event files: of one file, or of a folder with a folder a run.

A file is TFRecords (length, its checksum, an event, its checksum), an event a message of Protocol Buffers. Of the
messages those fields are declared that scalars need: the libraries for event files load a framework. Source:
tensorflow's event.proto, summary.proto and tensor.proto.
"""

from __future__ import annotations

import functools
import hashlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from analysis.text import counted
from bench.errors import UsageError
from bench.imports.columns import MAX_NAME, Table, check_size

PATTERN = "*tfevents*"
MAX_FILES = 10_000
MAX_POINTS = 1_000_000
MAX_BYTES = 512 * 2**20  # of one file
MAX_RECORD = 2**20  # bytes of a record that may hold scalars

# Field by name: number, and type or message.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Event": {"step": (2, "INT64"), "summary": (5, "Summary")},
    "Summary": {"value": (1, "Value")},
    "Value": {"tag": (1, "BYTES"), "simple_value": (2, "FLOAT"), "tensor": (8, "Tensor")},
    "Tensor": {"dtype": (1, "INT64"), "content": (4, "BYTES"), "floats": (5, "FLOAT"), "doubles": (6, "DOUBLE")},
}
_REPEATED = ("value", "floats", "doubles")
_DOUBLE = 2  # a tensor's dtype of 64 bits
_MOST_OF_32_BITS = 3e38


def event_files(path: Path) -> list[Path]:
    """The event files that a path names: itself, or those below the folder; [] where it is neither."""
    if path.is_dir():
        return sorted(one for one in path.rglob(PATTERN) if one.is_file())
    return [path] if path.match(PATTERN) and path.is_file() else []


def read_scalars(path: Path, files: Sequence[Path], file_name: str) -> tuple[Table, str]:
    """Columns run, step and one a tag, a row a run and step; the SHA-256 of all files; notes count what was left out.

    A run is the folder of its files below `path`. Raises UsageError for damaged files, ones without a scalar, and more
    than MAX_FILES files or MAX_POINTS points.
    """
    from google.protobuf.message import DecodeError

    if len(files) > MAX_FILES:
        raise UsageError(f"{file_name}: {len(files):,} event files; required at most {MAX_FILES:,}")
    digest = hashlib.sha256()
    table: dict[tuple[str, int], dict[str, float]] = {}
    num_points = num_long = 0
    for file in files:
        run = file.parent.relative_to(path).as_posix() if path.is_dir() else file.resolve().parent.name
        try:
            for event in _events(file, digest, file_name):
                num_long += event is None
                for step, tag, value in () if event is None else _of_event(event):
                    table.setdefault((run, step), {})[tag] = value
                    num_points += 1
                if num_points > MAX_POINTS:
                    raise UsageError(f"{file_name}: over {MAX_POINTS:,} scalars; required at most that")
        except (ValueError, DecodeError) as error:
            raise UsageError(f"{file_name}: {file.name}: damaged, no event file of TensorBoard ({error})") from None
    tags = list(dict.fromkeys(tag for of_row in table.values() for tag in of_row))
    if not tags:
        where = counted(len(files), "event file")
        raise UsageError("; ".join([f"{file_name}: no scalar in {where} of TensorBoard", *_left_out(num_long)]))
    check_size(len(table), len(tags), file_name)
    names = ["run", "step", *(f"scalar/{tag}" if tag in ("run", "step") else tag for tag in tags)]
    columns: list[Sequence[str | None]] = [[run for run, _ in table], [str(step) for _, step in table]]
    columns += [[_shortest(row[tag]) if tag in row else None for row in table.values()] for tag in tags]
    return Table(names=names, columns=columns, notes=tuple(_left_out(num_long))), digest.hexdigest()


def _left_out(num_long: int) -> list[str]:
    """How many records were too long, if any."""
    words = f"{counted(num_long, 'record')} of over {MAX_RECORD // 2**20} MiB left out unread"
    return [f"{words} (images, graphs, histograms)"] if num_long else []


def _shortest(value: float) -> str:
    """The shortest text that gives a number back, which was most likely of 32 bits."""
    if abs(value) < _MOST_OF_32_BITS:
        texts = (f"{value:.{digits}g}" for digits in range(6, 10))
        packed = struct.pack("<f", value)
        exact = struct.unpack("<f", packed)[0] == value
        return next((text for text in texts if exact and struct.pack("<f", float(text)) == packed), repr(value))
    return repr(value)


def _events(file: Path, digest: hashlib._Hash, file_name: str) -> Iterator[bytes | None]:
    """Every event of a file, None for one of more than MAX_RECORD; what a killed writer left of its last is left out.

    `digest` gets all of the file.
    """
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            if size > MAX_BYTES:
                raise UsageError(f"{file_name}: {file.name}: over {MAX_BYTES // 2**20} MiB; required at most that")
            yield from _records(opened, size, digest)
    except OSError as error:
        raise UsageError(f"{file_name}: {file.name}: can't be read: {error.strerror}") from None


def _records(opened: BinaryIO, size: int, digest: hashlib._Hash) -> Iterator[bytes | None]:
    """Events of a file, None for one of more than MAX_RECORD. Raises ValueError if the first is cut short."""
    start = 0
    while start + 12 <= size:
        head = opened.read(12)
        digest.update(head)
        (length,) = struct.unpack_from("<Q", head)
        if length > size - start - 12 and start == 0:
            raise ValueError("its first record is longer than it")
        is_whole = length <= size - start - 12
        event = opened.read(length) if is_whole and length <= MAX_RECORD else b""
        digest.update(event)
        left = min(length - len(event) + 4, size - start - 12)
        while left > 0 and (part := opened.read(min(left, MAX_RECORD))):
            digest.update(part)
            left -= len(part)
        if is_whole:
            yield event if length <= MAX_RECORD else None
        start += 16 + length
    digest.update(opened.read(12))


def _of_event(content: bytes) -> Iterator[tuple[int, str, float]]:
    """(step, tag, value) of the scalars of an event."""
    message = _event().FromString(content)
    for one in message.summary.value:
        tag, number = one.tag.decode(errors="replace"), _number(one)
        if number is not None and tag.isprintable() and tag.strip() and len(tag) <= MAX_NAME:
            yield message.step, tag.strip(), number


def _number(value: Any) -> float | None:
    """The number in a value of a summary, or in a tensor that holds one alone; None for what is no scalar."""
    if value.HasField("simple_value"):
        return value.simple_value
    tensor = value.tensor
    form = "<d" if tensor.dtype == _DOUBLE else "<f"
    content = struct.unpack(form, tensor.content) if len(tensor.content) == struct.calcsize(form) else ()
    numbers = [*tensor.floats, *tensor.doubles, *content]
    return numbers[0] if len(numbers) == 1 else None


@functools.cache
def _event() -> Any:
    """The class of the message `Event`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="bench/event.proto", package="bench")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (place, kind) in fields.items():
            message.field.add(
                name=field,
                number=place,
                label=kinds.LABEL_REPEATED if field in _REPEATED else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if kind in _MESSAGES else getattr(kinds, f"TYPE_{kind}"),
                type_name=f".bench.{kind}" if kind in _MESSAGES else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.Event"))
