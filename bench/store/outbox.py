"""Outbox: finished packs wait here, whole and checked, until the store of record holds them.

An entry is a folder with `entry.json` and `traces.parquet`. It is written under a temporary name, synced and renamed,
so a kill at any moment leaves a whole entry or none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import FULL_DISK, BenchError, BudgetError, StoreError
from bench.files import open_private, private_folder
from bench.lazy import polars
from bench.outcome import Result
from bench.trace import TRACE_COLUMNS
from bench.trial import canonical_json

ENTRY_VERSION = 1

_TEMPORARY = ".writing-"
_CORRUPT = "corrupt"


class CorruptEntryError(BenchError):
    """An entry of the outbox can't be read: it is damaged."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A finished pack. `traces` has the column trial_id and TRACE_COLUMNS; a trial without rows has no trace."""

    path: Path
    created_ms: int  # since 1970, when the pack was put
    results: tuple[Result, ...]
    traces: polars.DataFrame


class Outbox:
    """A folder of finished packs, oldest first. One process puts and removes; any may read."""

    def __init__(self, folder: Path, *, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._warn = warn

    def put(self, results: Sequence[Result], traces: Mapping[str, polars.DataFrame], name: str) -> Path:
        """Path of the new entry, once it is on the disk. `traces` is keyed by trial id; `name` helps people only.

        Raises BudgetError if the disk is full, ValueError for a trace without its trial or with other columns.
        """
        files = _encode(results, traces)
        stem = f"{time.time_ns():020d}-{os.getpid()}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:60]}"
        temporary, path = self.folder / f"{_TEMPORARY}{stem}", self.folder / stem
        try:
            private_folder(temporary)
            for file_name, content in files.items():
                write_durably(temporary / file_name, content)
            sync_folder(temporary)
            temporary.rename(path)
            sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno in FULL_DISK:
                raise BudgetError(f"{self.folder}: no space left to keep {len(results)} finished trials") from error
            raise
        return path

    def entries(self) -> list[Path]:
        """Paths of the whole entries, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path for path in self.folder.iterdir() if not path.name.startswith(_TEMPORARY) and path.name != _CORRUPT
        )

    def load(self, path: Path) -> Entry:
        """The entry at `path`.

        Raises CorruptEntryError if it is damaged, StoreError if a later program wrote it, FileNotFoundError if it is
        gone (delivered meanwhile).
        """
        try:
            return _decode(path)
        except (OSError, ValueError, KeyError, TypeError, polars.exceptions.PolarsError) as error:
            if not path.exists():
                raise FileNotFoundError(path) from error
            raise CorruptEntryError(f"{path}: damaged or foreign entry ({_one_line(error)})") from error

    def load_all(self) -> Iterator[Entry]:
        """Every entry, oldest first; a damaged one is moved to `corrupt/` with a warning.

        Raises StoreError at one that a later program wrote: it is whole, and this program must not touch it.
        """
        for path in self.entries():
            try:
                yield self.load(path)
            except FileNotFoundError:
                continue
            except CorruptEntryError as error:
                aside = self.set_aside(path)
                self._warn(f"{error}; moved to {aside}, its trials will run again")

    def set_aside(self, path: Path) -> Path:
        """Moves an entry to `corrupt/`, where nothing reads it; returns its new path."""
        aside = self.folder / _CORRUPT / path.name
        private_folder(aside.parent)
        path.rename(aside)
        return aside

    def remove(self, path: Path) -> None:
        """Removes an entry at once: a kill leaves a leftover, never half an entry."""
        leftover = self.folder / f"{_TEMPORARY}{path.name}"
        path.rename(leftover)
        shutil.rmtree(leftover, ignore_errors=True)

    def clean(self) -> None:
        """Removes what killed processes left half written. Only for the one process that puts."""
        for leftover in self.folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file that is its owner's alone, and waits until it is on the disk."""
    with open_private(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def empty_traces() -> polars.DataFrame:
    """No rows of trial_id and TRACE_COLUMNS."""
    return polars.DataFrame(schema={"trial_id": polars.String} | trace_schema())


def trace_schema() -> dict[str, Any]:
    """TRACE_COLUMNS as Polars types."""
    return {column: getattr(polars, kind) for column, kind in TRACE_COLUMNS.items()}


def _encode(results: Sequence[Result], traces: Mapping[str, polars.DataFrame]) -> dict[str, bytes]:
    trial_ids = {result.trial.id for result in results}
    frames = [empty_traces()]
    for trial_id, trace in traces.items():
        if trial_id not in trial_ids:
            raise ValueError(f"a trace of trial {trial_id}, of which there is no result")
        if dict(trace.schema) != trace_schema():
            raise ValueError(f"trial {trial_id}: trace columns {dict(trace.schema)}, required {trace_schema()}")
        frames.append(trace.select(polars.lit(trial_id).alias("trial_id"), *TRACE_COLUMNS))
    buffer = io.BytesIO()
    polars.concat(frames).write_parquet(buffer, compression="zstd", statistics=False)
    parquet = buffer.getvalue()
    plain = [result.to_dict() for result in results]
    entry = {
        "version": ENTRY_VERSION,
        "created_ms": time.time_ns() // 1_000_000,
        "results": plain,
        "results_sha256": _sha256(canonical_json(plain).encode()),
        "traces_sha256": _sha256(parquet),
    }
    return {"traces.parquet": parquet, "entry.json": canonical_json(entry).encode()}


def _decode(path: Path) -> Entry:
    entry = json.loads((path / "entry.json").read_bytes())
    if entry["version"] > ENTRY_VERSION:
        version = entry["version"]
        raise StoreError(
            f"{path}: outbox entry of version {version}, this program reads up to {ENTRY_VERSION}; update bench"
        )
    if entry["version"] < 1:
        raise ValueError(f"entry version {entry['version']}")
    if _sha256(canonical_json(entry["results"]).encode()) != entry["results_sha256"]:
        raise ValueError("the checksum of entry.json is wrong")
    parquet = (path / "traces.parquet").read_bytes()
    if _sha256(parquet) != entry["traces_sha256"]:
        raise ValueError("the checksum of traces.parquet is wrong")
    return Entry(
        path=path,
        created_ms=entry["created_ms"],
        results=tuple(Result.from_dict(plain) for plain in entry["results"]),
        traces=polars.read_parquet(io.BytesIO(parquet)),
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _one_line(error: Exception) -> str:
    line, _, _ = str(error).strip().partition("\n")
    return f"{type(error).__name__}: {line}"
