"""Delivery: writes finished packs from the outbox to MLflow, so that doing it twice is doing it once.

One experiment a suite; in it one suite run, under it one method run a (workload, method, optimizer), under it one run a
trial. Runs are found again by their tags. A trial's run is created RUNNING and ended last: that is the commit point. A
kill before it leaves a run that is filled again with the same rows (their timestamps come from the outbox entry), a
kill after it a trial that is skipped.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode

from bench.lazy import polars
from bench.store import records
from bench.store.database import WriteAheadLog
from bench.store.outbox import Entry, sync_folder, write_durably
from bench.store.records import MethodKey
from bench.store.runs import ExperimentRecord, RunRecord
from bench.store.store import Store
from bench.trial import Outcome, Result

MANIFEST_FILE = "manifest.json"
SUITE_FILE = "suite.yaml"
TRACE_FILE = "trace.parquet"


@dataclass(kw_only=True)
class TrialRun:
    """What is known of a trial's run in MLflow."""

    run_id: str
    text: str  # JSON of the result
    outcome: Outcome
    status: str  # in MLflow: KILLED is a run that a killed driver began

    @property
    def is_ended(self) -> bool:
        return self.status in records.ENDED

    @property
    def is_finished(self) -> bool:
        return self.is_ended and self.outcome.is_result


@dataclass(kw_only=True)
class Index:
    """The runs of an experiment. The driver is the only writer, so that it is read once a start or failure."""

    suite: str  # run id
    methods: dict[str, str] = field(default_factory=dict)  # digest of the MethodKey -> run id
    trials: dict[str, TrialRun] = field(default_factory=dict)  # trial id -> run


class Writer:
    """Writes one suite's runs. Not safe for threads; every method may raise what `store.failures` lists."""

    def __init__(self, store: Store, suite_name: str) -> None:
        self._store = store
        self._suite_name = suite_name
        self._index: Index | None = None
        self._experiment: ExperimentRecord
        self._log: WriteAheadLog | None = None  # of the embedded store

    def forget(self) -> None:
        """Reads the runs anew before the next write: after a failure nobody knows what was written."""
        self._index = None

    @property
    def client(self) -> Any:
        return self._store.client()

    @property
    def index(self) -> Index:
        if self._index is None:
            self._store.create()
            _ = self.client  # checks the database before anything else opens it
            if self._store.database is not None and self._log is None:
                self._log = WriteAheadLog(self._store.database).__enter__()
            self._find_experiment()
            self._index = self._read_index()
        return self._index

    def close(self) -> None:
        """Leaves the database as one file."""
        if self._log is not None:
            self._log.__exit__()
            self._log = None

    def write_entry(self, entry: Entry) -> None:
        """Writes every trial of an entry that MLflow does not hold; on return all of it survives a power cut."""
        from mlflow.entities import Metric

        numbers: dict[str, list[Metric]] = {result.trial.id: [] for result in entry.results}
        starts = {result.trial.id: (_start_ms(entry, result), result) for result in entry.results}
        for trial_id, quantity, step, value in records.curves(entry.traces).iter_rows():
            start_ms, result = starts[trial_id]
            seconds = result.wall_s * step / max(result.trial.num_steps, 1)
            numbers[trial_id].append(Metric(quantity, value, start_ms + int(1000 * seconds), step))
        traces = entry.traces.partition_by("trial_id", as_dict=True, include_key=False)
        for result in entry.results:
            trial_id = result.trial.id
            self._write_trial(entry, result, numbers[trial_id], traces.get((trial_id,)))
        if self._log is not None:
            self._log.sync()

    def method_run(self, key: MethodKey) -> str:
        """Run id of a method run, created if missing."""
        if key.digest not in self.index.methods:
            tags = {**key.tags(), records.PARENT: self.index.suite}
            run = self.client.create_run(self._experiment.experiment_id, tags=tags, run_name=key.name)
            self.index.methods[key.digest] = run.info.run_id
        return self.index.methods[key.digest]

    def end_stale_trials(self, waiting: Set[str]) -> None:
        """Ends as KILLED the runs of trials that were begun and that no entry will fill. waiting: their trial ids."""
        for trial_id, run in self.index.trials.items():
            if run.status == "RUNNING" and trial_id not in waiting:
                self.client.set_terminated(run.run_id, "KILLED")
                run.status = "KILLED"

    def delete_trials(self, trial_ids: Set[str]) -> None:
        """Deletes trials, and the method runs that no trial is left of."""
        gone = {MethodKey.of_text(self.index.trials[trial_id].text).digest for trial_id in trial_ids}
        for trial_id in trial_ids:
            self.client.delete_run(self.index.trials.pop(trial_id).run_id)
        self._delete_methods((gone - self._methods_of_trials()) if gone else set())

    def delete_idle_methods(self) -> None:
        """Deletes the method runs without a trial: those that a leaderboard with other labels made."""
        self._delete_methods(self.index.methods.keys() - self._methods_of_trials())

    def _methods_of_trials(self) -> set[str]:
        return {MethodKey.of_text(run.text).digest for run in self.index.trials.values()}

    def _delete_methods(self, digests: Set[str]) -> None:
        for digest in digests & self.index.methods.keys():
            self.client.delete_run(self.index.methods.pop(digest))

    def delete_suite(self) -> None:
        """Deletes the suite run and its method runs; the next write would make a new one."""
        for run_id in (*self.index.methods.values(), self.index.suite):
            self.client.delete_run(run_id)
        self.forget()

    def tag_experiment(self, name: str, value: str) -> None:
        _ = self.index  # finds the experiment
        self.client.set_experiment_tag(self._experiment.experiment_id, name, value)

    def artifact_path(self, run_id: str, name: str) -> str:
        """Where MLflow's UI shows an artifact of a run, from its own root."""
        place = f"experiments/{self._experiment.experiment_id}/runs/{run_id}/artifacts/{quote(name)}"
        return f"#/{place}?{urlencode(records.CLASSIC)}"

    def write_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Keeps files as artifacts of a run, by their path below the run's artifacts."""
        for name in files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"artifact {name!r}: required a path below the run's artifacts")
        folder = self._store.run_folder(self._experiment, run_id)
        if folder is not None:
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write_durably(folder / name, content)
            for made in (folder, folder.parent, folder.parent.parent):
                sync_folder(made)
            return
        with tempfile.TemporaryDirectory() as temporary:
            for name, content in files.items():
                path = Path(temporary, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                parent = PurePosixPath(run_id, "artifacts", name).parent
                self._store.artifact_repository(self._experiment).log_artifact(str(path), str(parent))

    def _write_trial(self, entry: Entry, result: Result, points: list[Any], trace: polars.DataFrame | None) -> None:
        from mlflow.entities import Metric, Param, RunTag

        tags = records.trial_tags(result)
        run = self._run_to_fill(result, records.result_text(tags))
        if run is None:
            return
        files = {} if trace is None else {TRACE_FILE: _parquet(trace)}
        for name, content in files.items():
            tags |= {records.TRACE: name, records.TRACE_SHA256: hashlib.sha256(content).hexdigest()}
        late_tags = []
        if run.run_id:  # another version may have made the run
            late_tags = [RunTag(name, value) for name, value in tags.items()]
        else:
            tags[records.PARENT] = self.method_run(MethodKey.of(result))
            run.run_id = self._create_run(result, tags, _start_ms(entry, result))
        singles = [
            Metric(name, value, entry.created_ms, result.trial.num_steps or 0)  # imported: maybe unknown
            for name, value in records.trial_metrics(result).items()
        ]
        params = [Param(name, value) for name, value in records.trial_params(result).items()]
        exact = {(single.key, single.step) for single in singles}  # a curve's last point is the same, but rounded
        metrics = [point for point in points if (point.key, point.step) not in exact] + singles
        self.client.log_batch(run.run_id, metrics=metrics, params=params, tags=late_tags)
        if files:
            self.write_files(run.run_id, files)
        status = "FINISHED" if result.outcome.is_result else "FAILED"
        self.client.set_terminated(run.run_id, status, end_time=entry.created_ms)
        run.status = status
        self.index.trials[result.trial.id] = run

    def _run_to_fill(self, result: Result, text: str) -> TrialRun | None:
        """The run that a kill left open, or one without id that is to be created, or None if nothing is to be done."""
        known = self.index.trials.get(result.trial.id)
        if known is not None:
            if known.is_ended and known.text == text:
                return None
            if known.is_finished and not result.outcome.is_result:
                return None  # a lost trial never replaces a result
            if known.text == text:
                return known
            self.client.delete_run(known.run_id)  # the newer result replaces it: params and metrics can't be unwritten
            del self.index.trials[result.trial.id]
        return TrialRun(run_id="", text=text, outcome=result.outcome, status="RUNNING")

    def _create_run(self, result: Result, tags: dict[str, str], start_ms: int) -> str:
        name = records.trial_name(result)
        run = self.client.create_run(self._experiment.experiment_id, start_time=start_ms, tags=tags, run_name=name)
        return run.info.run_id

    def _find_experiment(self) -> None:
        version = str(records.SCHEMA_VERSION)
        found = self._store.experiment(self._suite_name)
        if found is None:
            self.client.create_experiment(
                self._suite_name, artifact_location=self._store.artifact_root, tags={records.SCHEMA: version}
            )
            found = self._store.experiment(self._suite_name)
        elif records.SCHEMA not in found.tags or found.tags[records.SCHEMA] != version:
            self.client.set_experiment_tag(found.experiment_id, records.SCHEMA, version)
        assert found is not None
        self._experiment = found

    def _read_index(self) -> Index:
        index = Index(suite="")
        for run in self._store.runs(self._experiment):
            tags = run.tags
            records.check_schema(tags, f"{self._store.shown_uri}: run {run.run_id}")
            match tags.get(records.KIND):
                case "suite":
                    index.suite = index.suite or run.run_id
                case "method" if records.METHOD_KEY in tags:
                    index.methods.setdefault(tags[records.METHOD_KEY], run.run_id)
                case "trial" if {records.TRIAL_ID, records.OUTCOME, records.RESULT} <= tags.keys():
                    self._add_trial(index.trials, tags[records.TRIAL_ID], run)
        if not index.suite:
            run = self.client.create_run(
                self._experiment.experiment_id,
                tags={records.KIND: "suite", records.SCHEMA: str(records.SCHEMA_VERSION)},
                run_name=records.shown(self._suite_name, 250),
            )
            index.suite = run.info.run_id
        return index

    def _add_trial(self, trials: dict[str, TrialRun], trial_id: str, run: RunRecord) -> None:
        """Of two runs of a trial (an answer of the server was lost) the better is kept, the other deleted."""
        added = TrialRun(
            run_id=run.run_id,
            text=records.result_text(run.tags),
            outcome=Outcome(run.tags[records.OUTCOME]),
            status=run.status,
        )
        known = trials.get(trial_id)
        if known is None:
            trials[trial_id] = added
            return
        worse, better = sorted((added, known), key=lambda trial: (trial.is_finished, trial.is_ended))
        self.client.delete_run(worse.run_id)
        trials[trial_id] = better


def _start_ms(entry: Entry, result: Result) -> int:
    return entry.created_ms - int(1000 * result.wall_s)


def _parquet(trace: polars.DataFrame) -> bytes:
    buffer = io.BytesIO()
    trace.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()
