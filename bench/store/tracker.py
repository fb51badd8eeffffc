"""Tracker: the driver's hand on the store. Finished packs go to the outbox at once and to MLflow in the background."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal

from bench.errors import StoreError, is_full
from bench.lazy import polars
from bench.outcome import Result
from bench.store import records
from bench.store.curves import CURVE_POINTS
from bench.store.delivery import MANIFEST_FILE, SUITE_FILE, Writer
from bench.store.failures import failures, one_line
from bench.store.outbox import Entry
from bench.store.records import MethodKey
from bench.store.run_writers import Point
from bench.store.status import Notes
from bench.store.store import Store
from bench.store.views import CHARTS, LEADERBOARD, TRIALS, charts_view, leaderboard_view, trials_view, view_tag
from bench.trial import canonical_json

_WAKE_S = 5.0
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0
_MAX_REFUSALS = 3  # of an entry by a healthy store; the next start tries again


class Tracker:
    """Writes one suite's results; one tracker a suite and store at a time, `close` lets it go.

    curve_points: buckets of a curve in MLflow. Raises UsageError if another process runs the suite.
    """

    def __init__(self, store: Store, suite_name: str, *, curve_points: int = CURVE_POINTS) -> None:
        self._store = store
        self.outbox = store.outbox(suite_name)
        self._start_name = ""
        self._start_files: dict[str, bytes] = {}
        self._writer = Writer(store, suite_name, curve_points)
        self._writing = threading.RLock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._deadline = math.inf  # of deliveries, by the monotonic clock
        self._is_down = False
        self.is_disk_full = False  # why the store took nothing when it last failed
        self._is_finished = False
        self._notes = Notes()
        self._thread: threading.Thread | None = None
        self._refusals: Counter[Path] = Counter()
        self._held = contextlib.ExitStack()
        self._held.enter_context(store.lock(suite_name))
        self.outbox.clean()

    def start(self, manifest: str) -> None:
        """Starts delivery in the background.

        manifest: JSON text, what is run and where. The suite run keeps it as `manifest.json`, and that of every start
        as `starts/<time>.json`.
        """
        self._start_name = time.strftime("starts/%Y%m%dT%H%M%SZ.json", time.gmtime())
        self.amend(manifest)
        self._thread = threading.Thread(target=self._deliver_in_background, name="delivery", daemon=True)
        self._thread.start()

    def amend(self, manifest: str) -> None:
        """Has the suite run keep this manifest as that of this start, whatever `start` was given."""
        with self._writing:
            self._start_files |= {self._start_name: manifest.encode(), MANIFEST_FILE: manifest.encode()}

    def keep_suite(self, text: str) -> None:
        """Has the suite run keep the suite's file, with the manifest or else when the run ends."""
        self._start_files[SUITE_FILE] = text.encode()

    def put(self, results: Sequence[Result], traces: Mapping[str, polars.DataFrame]) -> None:
        """Keeps a finished pack: on return it survives a kill. Raises BudgetError if the disk is full."""
        self.outbox.put(results, traces, name=MethodKey.of(results[0]).method)
        self._wake.set()

    def note(self, counts: Mapping[str, int], numbers: Mapping[str, float] | None = None) -> None:
        """Says on the suite run how far the driver is, in the background and now and then; `read_status` reads it.

        numbers: metrics of the suite run as they are now, finite; their step is the seconds since the start.
        """
        self._notes.note(counts, numbers)

    def finished(self) -> set[str]:
        """Ids of trials with a result, in MLflow or the outbox. Raises StoreError if MLflow can't be reached."""
        with self._writing, self._store.reported():
            held = {trial_id for trial_id, run in self._writer.index.trials.items() if run.is_finished}
            results = [result for entry in self.outbox.load_all() for result in entry.results]
            return held | {result.trial.id for result in results if result.outcome.is_result}

    def deliver(self) -> int:
        """Delivers the outbox; returns how many entries still wait.

        An entry that a healthy store refuses stays, with a warning, and the others go on. Raises StoreError if MLflow
        can't be reached.
        """
        with self._writing:
            if self._thread is not None:
                self._announce()  # an amended manifest is there before it is read
            for entry in self.outbox.load_all():
                if time.monotonic() > self._deadline:
                    break
                if self._refusals[entry.path] < _MAX_REFUSALS:
                    self._deliver_entry(entry)
            return len(self.outbox.entries())

    def log_leaderboard(self, board: polars.DataFrame, *, texts: Mapping[str, Sequence[str]] | None = None) -> None:
        """Puts the numbers of each of `board_lines` on its method run, `flags` and `texts` as tags; stores the VIEWS
        that `view_link` opens. Needs the columns workload, method, optimizer and flags. A number that is no longer
        finite becomes NaN, which the UI sorts last; one that never was is left out, as is a column without any.
        texts: by title a text a row of the board, which the leaderboard's view has before the numbers.
        """
        now_ms = time.time_ns() // 1_000_000
        columns = records.board_metrics_names(board)
        tags_of = records.board_tags(board, texts or {})
        shown_columns = [name for name in columns if board[name].is_not_null().any()]
        with self._writing, self._store.reported():
            lines = [(self._writer.method_run(key), finite) for key, finite in records.board_metrics(board)]
            held = self._writer.method_runs()
            for (run_id, finite), tags in zip(lines, tags_of, strict=True):
                stale = held[run_id].metrics.keys() & set(columns) - finite.keys()
                metrics = finite | dict.fromkeys(stale, math.nan)
                points = [Point(name, value, now_ms, 0) for name, value in metrics.items()]
                self._writer.runs.log(run_id, points=points, tags=tags)
            views = {
                LEADERBOARD: leaderboard_view(shown_columns, list(texts or ())),
                CHARTS: charts_view(),
                TRIALS: trials_view(self._writer.varied_params()),
            }
            for name, text in views.items():
                self._writer.tag_experiment(view_tag(name), text)

    def remove(self, trial_ids: Set[str]) -> None:
        """Deletes trials, and the method runs that none is left of."""
        with self._writing, self._store.reported():
            self._writer.delete_trials(trial_ids)

    def log_import(self, name: str, record: Mapping[str, Any]) -> None:
        """Says on the suite run what was imported under this name; `read_imports` reads it."""
        with self._writing, self._store.reported():
            text = canonical_json(dict(record))
            self._writer.runs.log(self._writer.index.suite, tags={f"{records.IMPORT}{name}": text})

    def forget_import(self, name: str, manifest: str | None) -> None:
        """Takes back what `log_import` said, and the method runs without a trial; keeps this manifest, if any."""
        with self._writing, self._store.reported():
            suite = self._writer.index.suite
            self._writer.delete_idle_methods()
            if manifest is not None:
                self._writer.write_files(suite, {MANIFEST_FILE: manifest.encode()})
            if f"{records.IMPORT}{name}" in self._writer.suite_tags():
                self._writer.runs.remove_tag(suite, f"{records.IMPORT}{name}")

    def remove_empty_suite(self) -> bool:
        """Deletes the suite run, where no trial is left below it; whether that was so. Nothing is written after it."""
        with self._writing, self._store.reported():
            if self._writer.index.trials or self.outbox.entries():
                return False
            self._writer.delete_suite()
            return True

    def tag(self, tags: Mapping[str, str]) -> None:
        """Tags the suite run and its method runs; the suite run says as well which labels its method runs have."""
        with self._writing, self._store.reported():
            labels: dict[str, set[str]] = {name: set() for name in records.LABELS}
            for run_id, run in self._writer.method_runs().items():
                for name in records.LABELS:
                    labels[name].add(run.tags[name])
                self._set_tags(run_id, tags)
            joined = {name: ", ".join(sorted(texts)) for name, texts in labels.items()}
            self._set_tags(self._writer.index.suite, {**tags, **joined})

    def log_page(self, markdown: str, files: Mapping[str, Path | str]) -> None:
        """Shows Markdown on the suite run's page, and links to pages among its files, which it keeps as artifacts.

        A file is a path, or the text itself.
        """
        contents = {
            name: source.read_bytes() if isinstance(source, Path) else source.encode() for name, source in files.items()
        }
        with self._writing, self._store.reported():
            suite = self._writer.index.suite
            self._writer.write_files(suite, contents)
            pages = [f"[{name}]({self._writer.artifact_path(suite, name)})" for name in files if name.endswith(".html")]
            links = f"\n\nPages under Artifacts: {', '.join(pages)}\n" if pages else ""
            self._writer.runs.log(suite, tags={"mlflow.note.content": records.note(markdown, links)})

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Ends the suite run and its method runs, and the runs of trials that a killed driver began and nothing fills.

        Those are KILLED: no results. A trial that is trained again takes its run or replaces it.
        """
        with self._writing, self._store.reported():
            self._announce()  # first, or a background thread that comes late would mark the suite as running
            waiting = {result.trial.id for entry in self.outbox.load_all() for result in entry.results}
            self._writer.end_stale_trials(waiting)
            self._notes.write(self._log_notes, is_last=True)
            index = self._writer.index
            for run_id in (*index.methods.values(), index.suite):
                self._writer.runs.set_status(run_id, status, time.time_ns() // 1_000_000)
            self._is_finished = True

    def close(self, timeout_s: float = 60.0) -> int:
        """Ends the background thread, delivers what is left and lets the suite go; returns how many entries still wait.

        A suite that was started but not finished is FAILED. It is let go when the process ends if a delivery hangs
        beyond `timeout_s`.
        """
        if self._closing.is_set():
            return len(self.outbox.entries())
        self._deadline = time.monotonic() + timeout_s
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._writing.acquire(timeout=max(self._deadline - time.monotonic(), 0.0)):
            try:
                if self._thread is not None:
                    self._announce()
                self.deliver()
                if self._thread is not None and not self._is_finished:
                    self.finish("FAILED")
            except StoreError as error:
                self._warn_down(error)
            finally:
                self._writer.close()
                self._writing.release()
                self._held.close()
        return len(self.outbox.entries())

    def _set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        storable = {name: records.storable(value, records.MAX_TAG) for name, value in tags.items()}
        self._writer.runs.log(run_id, tags=storable)

    def _deliver_in_background(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._closing.is_set():
            try:
                self._announce()
                self._notes.write(self._log_notes)
                self.deliver()
            except StoreError as error:
                self._warn_down(error)
                self._closing.wait(retry_s)
                retry_s = min(2 * retry_s, _LAST_RETRY_S)
            else:
                self._is_down = False
                retry_s = _FIRST_RETRY_S
                self._wake.wait(_WAKE_S)
                self._wake.clear()

    def _deliver_entry(self, entry: Entry) -> None:
        for is_last in (False, True):  # twice, for a store that was down for a moment
            try:
                self._writer.write_entry(entry)
            except (*failures(), StoreError) as error:
                self._writer.forget()
                with self._store.reported():
                    _ = self._writer.index  # raises if the store is down
                if is_last:
                    self._refuse(entry, error)
            else:
                self.outbox.remove(entry.path)
                return

    def _refuse(self, entry: Entry, error: Exception) -> None:
        self._refusals[entry.path] += 1
        self.is_disk_full = is_full(error)
        if self._refusals[entry.path] == 1:
            self._store.warn(f"{entry.path} waits in the outbox, the store refused it: {one_line(error)}")

    def _warn_down(self, error: StoreError) -> None:
        self.is_disk_full = is_full(error)
        if not self._is_down:
            self._is_down = True
            self._store.warn(f"{error}; {len(self.outbox.entries())} finished packs wait in {self.outbox.folder}")

    def _log_notes(self, points: list[Point], tags: Mapping[str, str]) -> None:
        with self._writing, self._store.reported():
            self._writer.runs.log(self._writer.index.suite, points=points, tags=tags)

    def _announce(self) -> None:
        """Marks the suite run as running and keeps what was started, once."""
        if not self._start_files:
            return
        with self._writing, self._store.reported():
            suite = self._writer.index.suite
            self._writer.runs.set_status(suite, "RUNNING")
            self._writer.write_files(suite, self._start_files)
            self._start_files = {}
