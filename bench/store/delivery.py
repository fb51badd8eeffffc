"""Delivery: writes finished packs from the outbox to MLflow, so that doing it twice is doing it once.

One experiment a suite; in it one suite run, under it one method run a (workload, method, optimizer), under it one run a
trial. Runs are found again by their tags. Into a database all trials of an entry go in one transaction (bench.store.
table_writer). Through a server a trial's run is created RUNNING and ended last: that is the commit point. A kill before
it leaves a run that is filled again with the same rows (their timestamps come from the outbox entry), a kill after it a
trial that is skipped.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
import uuid
from collections.abc import Mapping, Set
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlencode

from bench.files import private_folder
from bench.outcome import Result
from bench.store import records
from bench.store.database import WriteAheadLog
from bench.store.index import Index, TrialRun
from bench.store.new_runs import NewRun, new_runs, run_id_of
from bench.store.outbox import Entry, sync_folder, write_durably
from bench.store.records import MethodKey
from bench.store.run_writers import RunWriter
from bench.store.runs import ExperimentRecord, RunRecord
from bench.store.store import Store
from bench.store.table_writer import TableWriter
from bench.store.views import KIND_TAG

MANIFEST_FILE = "manifest.json"
SUITE_FILE = "suite.yaml"


class Writer:
    """Writes one suite's runs. Not safe for threads; every method may raise what `store.failures` lists."""

    def __init__(self, store: Store, suite_name: str, curve_points: int) -> None:
        self._store = store
        self._curve_points = curve_points
        self._suite_name = suite_name
        self._index: Index | None = None
        self._experiment: ExperimentRecord
        self._log: WriteAheadLog | None = None  # of a SQLite database
        self._writer: RunWriter | None = None

    def forget(self) -> None:
        """Opens the store and reads the runs anew before the next write: after a failure nobody knows what is there."""
        self._index = None
        self.close()

    @property
    def runs(self) -> RunWriter:
        """What writes into the store, which is made if there is none."""
        if self._writer is None:
            self._store.create()
            self._store.schema()  # checks the database before anything else opens it
            if self._store.database is not None:
                self._log = WriteAheadLog(self._store.database)
            self._writer = self._store.writer(self._log)
        return self._writer

    @property
    def index(self) -> Index:
        if self._index is None:
            self._find_experiment()
            self._index = self._read_index()
        return self._index

    def close(self) -> None:
        """Leaves the database as one file."""
        self._writer = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def write_entry(self, entry: Entry) -> None:
        """Writes every trial of an entry that MLflow does not hold; on return all of it survives a power cut."""
        wanted = [(result, new) for result, new in new_runs(entry, self._curve_points) if self._is_wanted(result, new)]
        if not isinstance(self.runs, TableWriter):
            for result, new in wanted:
                self._write_run(result, new)
        elif wanted:
            self._insert(self.runs, entry, wanted)
        if self._log is not None:
            self._log.sync()

    def method_run(self, key: MethodKey) -> str:
        """Run id of a method run, created if missing."""
        if key.digest not in self.index.methods:
            tags = {**key.tags(), records.PARENT: self.index.suite}
            self.index.methods[key.digest] = self._create_run(key.name, tags)
        return self.index.methods[key.digest]

    def method_runs(self) -> dict[str, RunRecord]:
        """The method runs as the store holds them, by run id."""
        methods = set(self.index.methods.values())
        return {run.run_id: run for run in self._store.runs(self._experiment, "method") if run.run_id in methods}

    def varied_params(self) -> list[str]:
        """The params that differ between trials, and the method; in the order of `records.trial_params`."""
        by_param: dict[str, set[str]] = {}
        for trial in self.index.trials.values():
            for name, text in records.params_of_text(trial.text).items():
                by_param.setdefault(name, set()).add(text)
        return [name for name, texts in by_param.items() if len(texts) > 1 or name == "method"]

    def suite_tags(self) -> Mapping[str, str]:
        """Tags of the suite run as the store holds them."""
        suite = self.index.suite
        runs = self._store.runs(self._experiment, "suite", tags_only=True)
        return next((run.tags for run in runs if run.run_id == suite), {})

    def end_stale_trials(self, waiting: Set[str]) -> None:
        """Ends as KILLED the runs of trials that were begun and that no entry will fill. waiting: their trial ids."""
        for trial_id, run in self.index.trials.items():
            if run.status == "RUNNING" and trial_id not in waiting:
                self.runs.set_status(run.run_id, "KILLED", _now_ms())
                run.status = "KILLED"

    def delete_trials(self, trial_ids: Set[str]) -> None:
        """Deletes those trials that there are, and the method runs that no trial is left of."""
        trial_ids = trial_ids & self.index.trials.keys()
        gone = {MethodKey.of_text(self.index.trials[trial_id].text).digest for trial_id in trial_ids}
        self.runs.delete_runs([self.index.trials.pop(trial_id).run_id for trial_id in trial_ids])
        self._delete_methods((gone - self._methods_of_trials()) if gone else set())

    def delete_idle_methods(self) -> None:
        """Deletes the method runs without a trial: those that a leaderboard with other labels made."""
        self._delete_methods(self.index.methods.keys() - self._methods_of_trials())

    def _methods_of_trials(self) -> set[str]:
        return {MethodKey.of_text(run.text).digest for run in self.index.trials.values()}

    def _delete_methods(self, digests: Set[str]) -> None:
        self.runs.delete_runs([self.index.methods.pop(digest) for digest in digests & self.index.methods.keys()])

    def delete_suite(self) -> None:
        """Deletes the suite run and its method runs; the next write would make a new one."""
        self.runs.delete_runs([*self.index.methods.values(), self.index.suite])
        self.forget()

    def tag_experiment(self, name: str, value: str) -> None:
        _ = self.index  # finds the experiment
        self.runs.tag_experiment(self._experiment.experiment_id, name, value)

    def artifact_path(self, run_id: str, name: str) -> str:
        """Where MLflow's UI shows an artifact of a run, from its own root."""
        place = f"experiments/{self._experiment.experiment_id}/runs/{run_id}/artifacts/{quote(name)}"
        return f"#/{place}?{urlencode(records.CLASSIC)}"

    def write_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Keeps files as artifacts of a run, by their path below the run's artifacts."""
        for name in files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"artifact {name!r}: required a path below the run's artifacts")
        if not files:
            return
        folder = self._store.run_folder(self._experiment, run_id)
        if folder is not None:
            for name, content in files.items():
                private_folder((folder / name).parent)
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

    def _is_wanted(self, result: Result, new: NewRun) -> bool:
        """Whether MLflow lacks the result: not if a run ended with it, nor if it is lost and a run has another."""
        known = self.index.trials.get(result.trial.id)
        if known is None:
            return True
        is_held = known.is_ended and known.text == records.result_text(new.tags)
        return not is_held and (result.outcome.is_result or not known.is_finished)

    def _insert(self, tables: TableWriter, entry: Entry, wanted: list[tuple[Result, NewRun]]) -> None:
        """Puts all runs into the database, whole and in one transaction, in place of those that it has of the trials.

        Their files are written before it, so that a run that is there has its own.
        """
        trials = {result.trial.id: (result, self._with_parent(result, new)) for result, new in wanted}
        ids = {trial_id: run_id_of(entry, result) for trial_id, (result, _) in trials.items()}
        taken = tables.known_runs(ids.values())  # in the trash, where a user put them
        ids = {trial_id: uuid.uuid4().hex if run_id in taken else run_id for trial_id, run_id in ids.items()}
        runs = {ids[trial_id]: new for trial_id, (_, new) in trials.items()}
        for run_id, new in runs.items():
            if new.files:
                self.write_files(run_id, new.files)
        replaced = [self.index.trials[trial_id].run_id for trial_id in trials if trial_id in self.index.trials]
        tables.insert_runs(self._experiment, runs, replaced=replaced)
        for trial_id, (result, new) in trials.items():
            self.index.trials[trial_id] = TrialRun.written(ids[trial_id], result, new)

    def _with_parent(self, result: Result, new: NewRun) -> NewRun:
        return dataclasses.replace(new, tags={**new.tags, records.PARENT: self.method_run(MethodKey.of(result))})

    def _write_run(self, result: Result, new: NewRun) -> None:
        """Begins a run, or takes the one that a kill left of this result, fills it and ends it last."""
        new = self._with_parent(result, new)
        known = self.index.trials.get(result.trial.id)
        if known is not None and known.text != records.result_text(new.tags):
            self.runs.delete_runs([known.run_id])  # the newer result replaces it: params and metrics can't be unwritten
            del self.index.trials[result.trial.id]
            known = None
        if known is None:
            run_id, late_tags = self._create_run(new.name, new.tags, new.start_ms), {}
        else:  # another version may have made the run
            run_id, late_tags = known.run_id, new.tags
        self.runs.log(run_id, points=new.points, params=new.params, tags=late_tags)
        if new.files:
            self.write_files(run_id, new.files)
        self.runs.set_status(run_id, new.status, new.end_ms)
        self.index.trials[result.trial.id] = TrialRun.written(run_id, result, new)

    def _create_run(self, name: str, tags: Mapping[str, str], start_ms: int | None = None) -> str:
        """Id of a new run, which starts now unless start_ms says when."""
        start_ms = _now_ms() if start_ms is None else start_ms
        return self.runs.create_run(self._experiment, name=name, tags=tags, start_ms=start_ms)

    def _find_experiment(self) -> None:
        version, runs = str(records.SCHEMA_VERSION), self.runs  # made before it is read
        experiment = self._store.experiment(self._suite_name)
        if experiment is None:
            tags = {records.SCHEMA: version, **KIND_TAG}
            runs.create_experiment(self._suite_name, self._store.artifact_root, tags)
            experiment = self._store.experiment(self._suite_name)
        elif records.SCHEMA not in experiment.tags or experiment.tags[records.SCHEMA] != version:
            runs.tag_experiment(experiment.experiment_id, records.SCHEMA, version)
        assert experiment is not None
        self._experiment = experiment

    def _read_index(self) -> Index:
        index = Index(suite="")
        for run in self._store.runs(self._experiment, tags_only=True):
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
            tags = {records.KIND: "suite", records.SCHEMA: str(records.SCHEMA_VERSION)}
            index.suite = self._create_run(records.storable(self._suite_name, records.MAX_NAME), tags)
        return index

    def _add_trial(self, trials: dict[str, TrialRun], trial_id: str, run: RunRecord) -> None:
        """Of two runs of a trial (an answer of the server was lost) the better is kept, the other deleted."""
        added = TrialRun.read(run)
        known = trials.get(trial_id)
        if known is None:
            trials[trial_id] = added
            return
        worse, better = sorted((added, known), key=lambda trial: (trial.is_finished, trial.is_ended))
        self.runs.delete_runs([worse.run_id])
        trials[trial_id] = better


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
