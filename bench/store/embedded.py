"""EmbeddedReader: reads runs from the embedded store's SQLite database without MLflow, whose import takes seconds.

It reads six of MLflow's tables as SCHEMA has them. A database of another schema, a server and any other database are
read through MLflow's client (bench.store.runs); a test holds the two readers equal.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.store import records
from bench.store.runs import ExperimentRecord, RunRecord, Wanted

SCHEMA = "dc11669786a5"  # alembic's revision of the tables that this file was written for: MLflow 3.17.2

_BUSY_SECONDS = 30.0  # to wait for a process that writes
_WORKSPACES = "MLFLOW_ENABLE_WORKSPACES"  # with it several experiments may have one name
_EXPERIMENTS = (
    "select experiment_id, name, artifact_location, lifecycle_stage from experiments where workspace = 'default'"
)
_CHOSEN = "select run_uuid from runs where experiment_id = :experiment and lifecycle_stage = 'active'"
_TAGGED = "exists (select 1 from tags where tags.run_uuid = runs.run_uuid and key = "


def can_read(schema: str | None) -> bool:
    """Whether a SQLite database of this schema is read here."""
    return schema == SCHEMA and _WORKSPACES not in os.environ


@contextlib.contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """The database for reading, as it stands at one moment; a journal that a killed process left is played back."""
    uri = f"file:{quote(str(database))}?mode=rw"  # opens what can't be written as well, and makes none
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("pragma query_only = on")
        connection.execute("begin")
        yield connection


class EmbeddedReader:
    """Reads experiments and runs, as `Reader` of bench.store.runs says; raises sqlite3.Error."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def experiment(self, name: str) -> ExperimentRecord | None:
        experiments = self._experiments(f"{_EXPERIMENTS} and name = ?", name)
        return experiments[0] if experiments else None

    def experiments(self) -> list[ExperimentRecord]:
        return self._experiments(f"{_EXPERIMENTS} and lifecycle_stage = 'active'")

    def runs(self, experiment_id: str, wanted: Wanted) -> list[RunRecord]:
        chosen, values = _chosen(experiment_id, wanted)
        with opened(self._database) as connection:
            rows = connection.execute(
                "select run_uuid, name, status, start_time, end_time from runs "
                f"where run_uuid in ({chosen}) order by start_time desc, run_uuid",
                values,
            ).fetchall()
            tags = _texts(connection, "tags", chosen, values, wanted.tags)
            params = {} if wanted.tags_only else _texts(connection, "params", chosen, values)
            metrics = {} if wanted.tags_only else _numbers(connection, chosen, values)
        return [
            RunRecord(
                run_id=run_id,
                name=name,
                status=status,
                start_ms=start_ms,
                end_ms=end_ms,
                tags=tags[run_id],
                params=params.get(run_id, {}),
                metrics=metrics.get(run_id, {}),
            )
            for run_id, name, status, start_ms, end_ms in rows
        ]

    def _experiments(self, query: str, *values: str) -> list[ExperimentRecord]:
        with opened(self._database) as connection:
            return [
                ExperimentRecord(
                    experiment_id=str(number),
                    name=name,
                    artifact_location=location,
                    is_active=stage == "active",
                    tags=dict(
                        connection.execute("select key, value from experiment_tags where experiment_id = ?", (number,))
                    ),
                )
                for number, name, location, stage in connection.execute(query, values).fetchall()
            ]


def _chosen(experiment_id: str, wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """A query of the ids of the runs that are asked for, and the values of its parameters."""
    query, values = _CHOSEN, {"experiment": int(experiment_id)}
    if wanted.is_ended:
        query += f" and status not in ({', '.join(map(repr, records.NOT_ENDED))})"
    if wanted.kind is not None:
        query += f" and {_TAGGED} :kind_tag and value = :kind)"
        values |= {"kind_tag": records.KIND, "kind": wanted.kind}
    if wanted.tag is not None:
        query += f" and {_TAGGED} :tag and value != '')"
        values |= {"tag": wanted.tag}
    return query, values


def _texts(
    connection: sqlite3.Connection,
    table: str,
    chosen: str,
    values: dict[str, Any],
    keys: tuple[str, ...] | None = None,
) -> dict[str, dict[str, str]]:
    """Keys and values in the table, by run id; of these keys alone, unless they are None."""
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    names = {f"key{number}": key for number, key in enumerate(keys or ())}
    condition = "" if keys is None else f" and key in ({', '.join(f':{name}' for name in names)})"
    for run_id, key, text in connection.execute(
        f"select run_uuid, key, value from {table} where run_uuid in ({chosen}){condition}", values | names
    ):
        texts[run_id][key] = text
    return texts


def _numbers(connection: sqlite3.Connection, chosen: str, values: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The last value of each metric, by run id."""
    numbers: dict[str, dict[str, float]] = defaultdict(dict)
    for run_id, key, value, is_nan in connection.execute(
        f"select run_uuid, key, value, is_nan from latest_metrics where run_uuid in ({chosen})", values
    ):
        numbers[run_id][key] = math.nan if is_nan else value
    return numbers
