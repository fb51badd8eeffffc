"""Stores that hold imports, trials of ours, or both, as the tests of imports make them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from analysis.subject import Subject
from bench.imports.tidy_file import read_tidy
from bench.outcome import Outcome, Result
from bench.results.imports import Imported, import_runs
from bench.results.publish import publish
from bench.results.stored import Stored
from bench.results.subjects import read_grid
from bench.store import (
    Store,
    Tracker,
)
from bench.suite import Suite

PLAIN_SUITE = {
    "name": "ours",
    "workloads": [{"name": "in_context_regression", "num_steps": 200}],
    "methods": ["softmax", "relu_kernel"],
    "optimizers": ["sgd"],
    "knobs": {"lr": [1e-3, 0.1], "weight_decay": 0.1},
    "seeds": 2,
    "probe_every": 20,
}


def runs(folder: Path, losses: dict[tuple[str, float, int], float], *, name: str = "theirs", extra: str = "") -> Path:
    path = folder / f"{name}.csv"
    lines = [f"{method},{lr},{seed},{loss},4.0{extra and ',x 2025'}" for (method, lr, seed), loss in losses.items()]
    path.write_text("\n".join([f"method,lr,seed,loss,initial_loss{extra and ',source'}", *lines]) + "\n")
    return path


def sweep(method: str = "softmax", bump: float = 0.0) -> dict[tuple[str, float, int], float]:
    return {(method, lr, seed): 1.0 + lr + seed / 10 + bump for lr in (1e-3, 0.1) for seed in (0, 1)}


def stored(suite: Suite | str) -> Stored:
    return Stored.of(suite) if isinstance(suite, Suite) else Stored(name=suite, suite=None)


def imported_into(store: Store, path: Path, suite: Suite | str | None = None, **options) -> Imported:
    return import_runs(read_tidy(path), store, beside=None if suite is None else stored(suite), **options)


def read(suite: Suite | str, store: Store) -> Subject:
    return read_grid(stored(suite), store)


def train(store: Store, suite: Suite) -> None:
    """As a run of the suite would leave it."""
    tracker = Tracker(store, suite.name)
    results = [
        Result(trial=one, outcome=Outcome.COMPLETED, initial_loss=4.0, final_loss=0.5 + number / 7, wall_s=0.5)
        for number, one in enumerate(suite.expand())
    ]
    tracker.put(results, {})
    tracker.deliver()
    publish(read(suite, store), store, tracker)
    tracker.finish("FINISHED")
    tracker.close()


def rows_of_database(store: Store) -> list[tuple]:
    with closing(sqlite3.connect(store.database or "")) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return [(table, *row) for table in sorted(tables) for row in connection.execute(f"select * from {table}")]
