"""Reading: results and traces of a suite as Polars frames, from MLflow and what still waits in the outbox."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.errors import StoreError
from bench.files import private_folder
from bench.lazy import polars
from bench.outcome import RESULT_COLUMNS, Result
from bench.store import records
from bench.store.delivery import MANIFEST_FILE, SUITE_FILE
from bench.store.outbox import Entry, empty_traces
from bench.store.records import MANIFEST_VERSION
from bench.store.runs import ExperimentRecord, RunRecord
from bench.store.store import Store
from bench.trace import TRACE_COLUMNS
from bench.trial import Choice, import_name

_TRIALS_A_LOT = 1000  # about 0.2 GB of traces of a few thousand rows each


def read_searched(store: Store, suite_name: str) -> dict[str, dict[str, Any]]:
    """A row of SEARCH_COLUMNS by trial id; the rest as `read_results`."""
    return {result.trial.id: result.search_row() for result in _newest(store, suite_name, undelivered=True)}


def read_results(store: Store, suite_name: str, *, undelivered: bool = True) -> polars.DataFrame:
    """One row of RESULT_COLUMNS a trial, its newest result; lost trials only if they have no result.

    undelivered: include what waits in the outbox; with it an unreachable store is an error all the same.

    Raises StoreError if there is no store or it can't be reached. A suite that has no results gives no rows.
    """
    rows = [result.row() for result in _newest(store, suite_name, undelivered=undelivered)]
    return polars.DataFrame(rows, schema=_schema(RESULT_COLUMNS))


def _newest(store: Store, suite_name: str, *, undelivered: bool) -> list[Result]:
    """The newest result of each trial; lost trials only if they have no result."""
    waiting = _waiting(store, suite_name) if undelivered else []  # first, so that a delivery meanwhile loses nothing
    newest: dict[str, Result] = {}
    unreadable = []
    for run in _trial_runs(store, store.experiment(suite_name)).values():
        records.check_schema(run.tags, f"{store.shown_uri}: run {run.run_id}")
        try:
            result = records.result_from_tags(run.tags)
        except (ValueError, KeyError, TypeError) as error:
            unreadable.append(f"run {run.run_id}: {error}")
        else:
            newest[result.trial.id] = result
    if unreadable:
        store.warn(f"{store.shown_uri}: {len(unreadable)} results left out that can't be read ({unreadable[0]})")
    for entry in waiting:
        for result in entry.results:
            known = newest.get(result.trial.id)
            if known is None or result.outcome.is_result or not known.outcome.is_result:
                newest[result.trial.id] = result
    return list(newest.values())


def imported_trials(store: Store, suite_name: str) -> dict[str, str]:
    """The name of its import by the id of each imported trial of a suite."""
    imports = _imports_of_trials(store, suite_name, tag=records.IMPORTED)
    return {trial_id: name for trial_id, name in imports.items() if name is not None}


def own_trials(store: Store, suite_name: str) -> set[str]:
    """Ids of the trials of a suite that were trained here and ended, with a result or lost."""
    return {trial_id for trial_id, name in _imports_of_trials(store, suite_name).items() if name is None}


def _imports_of_trials(store: Store, suite_name: str, tag: str | None = None) -> dict[str, str | None]:
    """The name of its import by the id of each trial that ended, None for our own. tag: of those that have it alone."""
    experiment = store.experiment(suite_name)
    needed = {"is_ended": True, "tag": tag, "tags_only": True, "tags": (records.TRIAL_ID, records.IMPORTED)}
    runs = [] if experiment is None else store.runs(experiment, "trial", **needed)
    waiting = [result.trial for entry in _waiting(store, suite_name) for result in entry.results]
    names = {run.tags[records.TRIAL_ID]: run.tags.get(records.IMPORTED) for run in runs}
    return names | {trial.id: import_name(trial.method.name) for trial in waiting}


def read_workloads(store: Store, suite_name: str) -> list[Choice]:
    """The workloads of a suite's trials that were trained here, those of its newest result last."""
    runs = [
        run for run in _trial_runs(store, store.experiment(suite_name)).values() if records.IMPORTED not in run.tags
    ]
    held = (records.result_from_tags(run.tags) for run in runs)
    waiting = (result for entry in _waiting(store, suite_name) for result in entry.results)
    return list(dict.fromkeys(result.trial.workload for result in itertools.chain(held, waiting)))


def read_import(store: Store, suite_name: str, name: str) -> dict[str, str]:
    """Results of an import that MLflow holds, as JSON text by trial id."""
    runs = _trial_runs(store, store.experiment(suite_name), tag=records.IMPORTED)
    tags = {trial_id: run.tags for trial_id, run in runs.items() if run.tags[records.IMPORTED] == name}
    return {trial_id: records.result_text(of_run) for trial_id, of_run in tags.items()}


def read_imports(store: Store, suite_name: str) -> dict[str, dict[str, Any]]:
    """What was imported into a suite, by the name of each import: file, checksum, sources, and what it leaves open."""
    experiment = store.experiment(suite_name)
    if experiment is None:
        return {}
    suites = store.runs(experiment, "suite", tags_only=True)
    tags = {name: text for run in reversed(suites) for name, text in run.tags.items()}
    return {
        name.removeprefix(records.IMPORT): json.loads(text)
        for name, text in sorted(tags.items())
        if name.startswith(records.IMPORT)
    }


def read_traces(
    store: Store, suite_name: str, trial_ids: Collection[str], quantities: Collection[str] | None = None
) -> polars.DataFrame:
    """Traces of the given trials: trial_id and TRACE_COLUMNS; those that wait in the outbox are included.

    A trial that is unknown or left no trace has no rows; nor has one whose file is gone or broken, with a warning.
    """
    return polars.concat([empty_traces(), *trace_lots(store, suite_name, trial_ids, quantities)])


def trace_lots(
    store: Store, suite_name: str, trial_ids: Collection[str], quantities: Collection[str] | None = None
) -> Iterator[polars.DataFrame]:
    """What `read_traces` reads, in frames of whole trials, _TRIALS_A_LOT or what one pack left at a time."""
    wanted = set(trial_ids)
    kept = polars.lit(True) if quantities is None else polars.col("quantity").is_in(list(quantities))
    for entry in reversed(_waiting(store, suite_name)):
        traces = entry.traces.filter(polars.col("trial_id").is_in(wanted))
        yield traces.filter(kept)
        wanted -= set(traces["trial_id"])
    experiment = store.experiment(suite_name)
    if experiment is not None:
        runs = {trial_id: run for trial_id, run in _trial_runs(store, experiment).items() if trial_id in wanted}
        paths = list(_trace_paths(store, experiment, runs).items())
        for start in range(0, len(paths), _TRIALS_A_LOT):
            yield _read_files(dict(paths[start : start + _TRIALS_A_LOT]), kept, store.warn)


def read_manifest(store: Store, suite_name: str) -> str | None:
    """JSON text of the manifest of the suite's newest start, None if there is none."""
    text = _read_file(store, suite_name, MANIFEST_FILE)
    if text is not None:
        _check_manifest(text, f"{store.shown_uri}: manifest of suite {suite_name!r}")
    return text


def read_suite_text(store: Store, suite_name: str) -> str | None:
    """The suite file of the newest run, None if there is none: before stores kept it, and of imports alone."""
    return _read_file(store, suite_name, SUITE_FILE)


def _read_file(store: Store, suite_name: str, name: str) -> str | None:
    """Text of an artifact of the suite run, None if there is none."""
    experiment = store.experiment(suite_name)
    if experiment is None:
        return None
    for run in store.runs(experiment, "suite", tags_only=True):
        with tempfile.TemporaryDirectory() as temporary, store.reported():
            folder = store.run_folder(experiment, run.run_id)
            if folder is None:
                files = store.client().list_artifacts(run.run_id)
                if not any(file.path == name for file in files):
                    continue
                folder = Path(temporary)
                store.client().download_artifacts(run.run_id, name, temporary)
            if (folder / name).exists():
                return (folder / name).read_text(encoding="utf-8")
    return None


def _check_manifest(text: str, what: str) -> None:
    plain = json.loads(text)
    if "manifest_version" in plain and plain["manifest_version"] > MANIFEST_VERSION:
        version = plain["manifest_version"]
        raise StoreError(f"{what} is of version {version}, this program reads up to {MANIFEST_VERSION}; update bench")


def suite_names(store: Store) -> list[str]:
    """Names of all suites that the store holds."""
    return sorted(
        experiment.name for experiment in store.experiments() if store.runs(experiment, "suite", tags_only=True)
    )


def _waiting(store: Store, suite_name: str) -> list[Entry]:
    return list(store.outbox(suite_name).load_all())


def _trial_runs(store: Store, experiment: ExperimentRecord | None, tag: str | None = None) -> Mapping[str, RunRecord]:
    """The run of each trial that ended, of those with the tag: the newest with a result, or else the newest."""
    if experiment is None:
        return {}
    runs = store.runs(experiment, "trial", is_ended=True, tag=tag, tags_only=True)
    runs.sort(key=lambda run: (run.status == "FINISHED", run.end_ms))
    return {run.tags[records.TRIAL_ID]: run for run in runs}


def _trace_paths(store: Store, experiment: ExperimentRecord, runs: Mapping[str, RunRecord]) -> dict[str, Path]:
    """Local paths of trace files by trial id; what a server keeps is downloaded once and kept in the home."""
    paths: dict[str, Path] = {}
    downloads: dict[str, Future[Path]] = {}
    with ThreadPoolExecutor(max_workers=8) as pool, store.reported():
        for trial_id, run in runs.items():
            if records.TRACE not in run.tags:
                continue
            folder = store.run_folder(experiment, run.run_id)
            if folder is None:
                downloads[trial_id] = pool.submit(_download, store, experiment, run)
            else:
                paths[trial_id] = folder / run.tags[records.TRACE]
        return paths | {trial_id: download.result() for trial_id, download in downloads.items()}


def _download(store: Store, experiment: ExperimentRecord, run: RunRecord) -> Path:
    path = store.home / "cache" / f"{run.run_id}.parquet"  # a run that ended never changes
    if not path.exists():
        private_folder(path.parent)
        with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
            # `download_artifacts` asks for a listing first, which takes the server longer than the file.
            repository = store.artifact_repository(experiment)
            repository._download_file(f"{run.run_id}/artifacts/{run.tags[records.TRACE]}", f"{temporary}/trace")
            Path(temporary, "trace").chmod(0o600)
            Path(temporary, "trace").rename(path)
    return path


def _read_files(paths: Mapping[str, Path], kept: polars.Expr, warn: Callable[[str], None]) -> polars.DataFrame:
    """The rows of all files that can be read; what can't is said."""
    try:
        return _rows(paths, kept)
    except (polars.exceptions.PolarsError, OSError):
        frames, unreadable = [empty_traces()], list[str]()
        for trial_id, path in paths.items():
            try:
                frames.append(_rows({trial_id: path}, kept))
            except (polars.exceptions.PolarsError, OSError) as error:
                unreadable.append(f"trial {trial_id}: {(str(error) or type(error).__name__).splitlines()[0]}")
        left_out = f"{len(unreadable)} of {len(paths)} traces left out that can't be read ({unreadable[0]})"
        warn(f"{left_out}; see bench verify")
        return polars.concat(frames)


def _rows(paths: Mapping[str, Path], kept: polars.Expr) -> polars.DataFrame:
    names = polars.DataFrame({"path": [str(path) for path in paths.values()], "trial_id": list(paths)})
    rows = polars.scan_parquet(list(paths.values()), include_file_paths="path").filter(kept).collect()
    return rows.join(names, on="path", how="left").select("trial_id", *TRACE_COLUMNS)


def _schema(columns: Mapping[str, str]) -> dict[str, Any]:
    return {column: getattr(polars, kind) for column, kind in columns.items()}
