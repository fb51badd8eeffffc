"""Delivery: writes finished packs from the outbox to MLflow, so that doing it twice is doing it once.

One experiment a suite; in it one suite run, under it one method run a (workload, method, optimizer), under it one run a
trial. Runs are found again by their tags. Into a database all trials of an entry go in one transaction (bench.store.
new_runs). Through a server a trial's run is created RUNNING and ended last: that is the commit point. A kill before it
leaves a run that is filled again with the same rows (their timestamps come from the outbox entry), a kill after it a
trial that is skipped.
"""

from __future__ import annotations

import dataclasses
import tempfile
import uuid
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode

from bench.store import records
from bench.store.database import WriteAheadLog
from bench.store.new_runs import NewRun, insert_runs, known_runs, new_runs, run_id_of, trash_runs
from bench.store.outbox import Entry, sync_folder, write_durably
from bench.store.records import MethodKey
from bench.store.runs import ExperimentRecord, RunRecord
from bench.store.store import Store
from bench.trial import Outcome, Result

MANIFEST_FILE = "manifest.json"
SUITE_FILE = "suite.yaml"


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
        self._sessions: Callable[..., Any] | None = None  # MLflow's, of a database that runs are inserted into

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
            self._sessions = self._store.sessions()
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
        wanted = [(result, new) for result, new in new_runs(entry) if self._is_wanted(result, new)]
        if self._sessions is None:
            for result, new in wanted:
                self._write_run(result, new)
        elif wanted:
            self._insert(entry, wanted)
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
        """Deletes those trials that there are, and the method runs that no trial is left of."""
        trial_ids = trial_ids & self.index.trials.keys()
        gone = {MethodKey.of_text(self.index.trials[trial_id].text).digest for trial_id in trial_ids}
        self._delete_runs([self.index.trials.pop(trial_id).run_id for trial_id in trial_ids])
        self._delete_methods((gone - self._methods_of_trials()) if gone else set())

    def delete_idle_methods(self) -> None:
        """Deletes the method runs without a trial: those that a leaderboard with other labels made."""
        self._delete_methods(self.index.methods.keys() - self._methods_of_trials())

    def _methods_of_trials(self) -> set[str]:
        return {MethodKey.of_text(run.text).digest for run in self.index.trials.values()}

    def _delete_methods(self, digests: Set[str]) -> None:
        self._delete_runs([self.index.methods.pop(digest) for digest in digests & self.index.methods.keys()])

    def delete_suite(self) -> None:
        """Deletes the suite run and its method runs; the next write would make a new one."""
        self._delete_runs([*self.index.methods.values(), self.index.suite])
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

    def _is_wanted(self, result: Result, new: NewRun) -> bool:
        """Whether MLflow lacks the result: not if a run ended with it, nor if it is lost and a run has another."""
        known = self.index.trials.get(result.trial.id)
        if known is None:
            return True
        is_held = known.is_ended and known.text == records.result_text(new.tags)
        return not is_held and (result.outcome.is_result or not known.is_finished)

    def _insert(self, entry: Entry, wanted: list[tuple[Result, NewRun]]) -> None:
        """Puts all runs into the database, whole and in one transaction, in place of those that it has of the trials.

        Their files are written before it, so that a run that is there has its own.
        """
        assert self._sessions is not None
        trials = {result.trial.id: (result, self._with_parent(result, new)) for result, new in wanted}
        ids = {trial_id: run_id_of(entry, result) for trial_id, (result, _) in trials.items()}
        with self._sessions() as session:
            taken = known_runs(session, ids.values())  # in the trash, where a user put them
        ids = {trial_id: uuid.uuid4().hex if run_id in taken else run_id for trial_id, run_id in ids.items()}
        runs = {ids[trial_id]: new for trial_id, (_, new) in trials.items()}
        for run_id, new in runs.items():
            if new.files:
                self.write_files(run_id, new.files)
        replaced = [self.index.trials[trial_id].run_id for trial_id in trials if trial_id in self.index.trials]
        with self._sessions(read_only=False) as session:
            insert_runs(session, self._experiment, runs, replaced=replaced)
        for trial_id, (result, new) in trials.items():
            self.index.trials[trial_id] = _trial_run(ids[trial_id], result, new)

    def _with_parent(self, result: Result, new: NewRun) -> NewRun:
        return dataclasses.replace(new, tags={**new.tags, records.PARENT: self.method_run(MethodKey.of(result))})

    def _write_run(self, result: Result, new: NewRun) -> None:
        """Begins a run, or takes the one that a kill left of this result, fills it and ends it last."""
        from mlflow.entities import Metric, Param, RunTag

        new = self._with_parent(result, new)
        known = self.index.trials.get(result.trial.id)
        if known is not None and known.text != records.result_text(new.tags):
            self.client.delete_run(known.run_id)  # the newer result replaces it: params and metrics can't be unwritten
            del self.index.trials[result.trial.id]
            known = None
        if known is None:
            run = self.client.create_run(
                self._experiment.experiment_id, start_time=new.start_ms, tags=dict(new.tags), run_name=new.name
            )
            run_id, late_tags = run.info.run_id, []
        else:  # another version may have made the run
            run_id, late_tags = known.run_id, [RunTag(name, value) for name, value in new.tags.items()]
        metrics = [Metric(*point) for point in new.points]
        params = [Param(name, value) for name, value in new.params.items()]
        self.client.log_batch(run_id, metrics=metrics, params=params, tags=late_tags)
        if new.files:
            self.write_files(run_id, new.files)
        self.client.set_terminated(run_id, new.status, end_time=new.end_ms)
        self.index.trials[result.trial.id] = _trial_run(run_id, result, new)

    def _delete_runs(self, run_ids: Collection[str]) -> None:
        """Moves runs to MLflow's trash."""
        if self._sessions is not None:
            with self._sessions(read_only=False) as session:
                trash_runs(session, run_ids)
            return
        for run_id in run_ids:
            self.client.delete_run(run_id)

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


def _trial_run(run_id: str, result: Result, new: NewRun) -> TrialRun:
    return TrialRun(run_id=run_id, text=records.result_text(new.tags), outcome=result.outcome, status=new.status)
