"""A store whose home was moved: MLflow keeps absolute places of artifacts, which its pages would look for in vain."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bench.store.embedded import can_read
from bench.store.store import Store


def follow_artifacts(store: Store) -> int:
    """Has the experiments and runs of an embedded store name its own folder of artifacts, where the one they name is
    gone; returns how many experiments were so. Results are read either way: this is for MLflow's pages.

    Raises StoreError if the database can't be written.
    """
    if store.database is None or not store.artifacts.is_dir() or not can_read(store.schema()):
        return 0
    here = store.artifacts.as_uri()
    with store.reported(), contextlib.closing(sqlite3.connect(store.database, timeout=30)) as connection, connection:
        places = connection.execute("select experiment_id, artifact_location from experiments").fetchall()
        moved = [(number, place) for number, place in places if place != here and _is_gone(place)]
        for number, place in moved:
            values = {"number": number, "place": place, "here": here, "length": len(place)}
            connection.execute("update experiments set artifact_location = :here where experiment_id = :number", values)
            connection.execute(
                "update runs set artifact_uri = :here || substr(artifact_uri, :length + 1) "
                "where experiment_id = :number and substr(artifact_uri, 1, :length) = :place",
                values,
            )
    return len(moved)


def _is_gone(location: str) -> bool:
    """Whether it is a folder of artifacts of a store on a disk, and is not there."""
    parts = urlsplit(location)
    path = Path(unquote(parts.path))
    return parts.scheme in ("", "file") and path.name == "artifacts" and not path.exists()
