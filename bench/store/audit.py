"""Every run of a suite as MLflow holds it, for those who check it: nothing is skipped, replaced or repaired."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bench.errors import StoreError
from bench.store.failures import failures, one_line
from bench.store.runs import RunRecord
from bench.store.store import Store

Found = TypeVar("Found")

_AT_ONCE = 8  # downloads


def read_runs(store: Store, suite_name: str) -> list[RunRecord]:
    """All runs of a suite but deleted ones. Raises StoreError if there is no such suite."""
    experiment = store.experiment(suite_name)
    if experiment is None:
        raise StoreError(f"{store.shown_uri}: no results of suite {suite_name!r} yet; run it first")
    return store.runs(experiment)


def examine_artifacts(
    store: Store, suite_name: str, names: Sequence[tuple[str, str]], examine: Callable[[bytes], Found]
) -> Iterator[Found | str]:
    """What `examine` finds in each artifact, named by run id and path; or why one can't be read, in a line.

    Reads what the store holds, not what was downloaded before.
    """
    experiment = store.experiment(suite_name)
    assert experiment is not None

    def read(name: tuple[str, str]) -> Found | str:
        run_id, path = name
        folder = store.run_folder(experiment, run_id)
        try:
            if folder is not None:
                return examine((folder / path).read_bytes())
            with tempfile.TemporaryDirectory() as temporary:
                local = Path(temporary, "artifact")
                store.artifact_repository(experiment)._download_file(f"{run_id}/artifacts/{path}", str(local))
                return examine(local.read_bytes())
        except failures() as error:
            return f"can't be read: {one_line(error)}"

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        yield from pool.map(read, names)
