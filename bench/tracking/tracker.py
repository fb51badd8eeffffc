"""Tracker: the driver's hand on the store. Finished packs go to the outbox at once and to MLflow in the background."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from bench.errors import StoreError
from bench.lazy import polars
from bench.outbox import Entry
from bench.tracking.delivery import MANIFEST_FILE, Writer
from bench.tracking.records import MAX_TAG, MethodKey, shown
from bench.tracking.store import Store, failures, one_line
from bench.tracking.ui import VIEW_TAG, leaderboard_view
from bench.trial import Result

_WAKE_S = 5.0
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 60.0
_MAX_REFUSALS = 3  # of an entry by a healthy store; the next start tries again


class Tracker:
    """Writes one suite's results; one tracker a suite and store at a time, `close` lets it go.

    Raises UsageError if another process runs the suite.
    """

    def __init__(self, store: Store, suite_name: str) -> None:
        self._store = store
        self.outbox = store.outbox(suite_name)
        self._start_files: dict[str, bytes] = {}
        self._writer = Writer(store, suite_name)
        self._writing = threading.RLock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._deadline = math.inf  # of deliveries, by the monotonic clock
        self._is_down = False
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
        name = time.strftime("starts/%Y%m%dT%H%M%SZ.json", time.gmtime())
        self._start_files = {name: manifest.encode(), MANIFEST_FILE: manifest.encode()}
        self._thread = threading.Thread(target=self._deliver_in_background, name="delivery", daemon=True)
        self._thread.start()

    def put(self, results: Sequence[Result], traces: Mapping[str, polars.DataFrame]) -> None:
        """Keeps a finished pack: on return it survives a kill. Raises BudgetError if the disk is full."""
        self.outbox.put(results, traces, name=MethodKey.of(results[0]).method)
        self._wake.set()

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
            for entry in self.outbox.load_all():
                if time.monotonic() > self._deadline:
                    break
                if self._refusals[entry.path] < _MAX_REFUSALS:
                    self._deliver_entry(entry)
            return len(self.outbox.entries())

    def log_leaderboard(self, board: polars.DataFrame) -> None:
        """Puts each line's numbers on its method run as metrics and `flags` as a tag, and stores the view that
        `leaderboard_link` opens. Needs the columns workload, method, optimizer and flags. A number that is no longer
        finite becomes NaN, which the UI sorts last; one that never was is left out, as is a column without any.
        """
        from mlflow.entities import Metric, RunTag

        now_ms = time.time_ns() // 1_000_000
        columns = [name for name, kind in board.schema.items() if kind.is_numeric()]
        shown_columns = [name for name in columns if board[name].is_not_null().any()]
        with self._writing, self._store.reported():
            for row in board.iter_rows(named=True):
                run_id = self._writer.method_run(MethodKey(**{k: row[k] for k in ("workload", "method", "optimizer")}))
                finite = {name: row[name] for name in columns if row[name] is not None and math.isfinite(row[name])}
                stale = self._writer.client.get_run(run_id).data.metrics.keys() & set(columns) - finite.keys()
                metrics = finite | dict.fromkeys(stale, math.nan)
                self._writer.client.log_batch(
                    run_id,
                    metrics=[Metric(name, value, now_ms, 0) for name, value in metrics.items()],
                    tags=[RunTag("flags", shown(_flags_text(row["flags"]), MAX_TAG))],
                )
            self._writer.tag_experiment(VIEW_TAG, leaderboard_view(shown_columns))

    def log_page(self, markdown: str, files: Mapping[str, Path | str]) -> None:
        """Shows Markdown on the suite run's page and keeps files (a path, or the text itself) as its artifacts."""
        contents = {
            name: source.read_bytes() if isinstance(source, Path) else source.encode() for name, source in files.items()
        }
        with self._writing, self._store.reported():
            suite = self._writer.index.suite
            self._writer.write_files(suite, contents)
            self._writer.client.set_tag(suite, "mlflow.note.content", _note(markdown))

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Ends the suite run and its method runs."""
        with self._writing, self._store.reported():
            self._announce()  # first, or a background thread that comes late would mark the suite as running
            index = self._writer.index
            for run_id in (*index.methods.values(), index.suite):
                self._writer.client.set_terminated(run_id, status)

    def close(self, timeout_s: float = 60.0) -> int:
        """Ends the background thread, delivers what is left and lets the suite go; returns how many entries still wait.

        The suite is let go when the process ends if a delivery hangs beyond `timeout_s`.
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
            except StoreError as error:
                self._warn_down(error)
            finally:
                self._writing.release()
                self._held.close()
        return len(self.outbox.entries())

    def _deliver_in_background(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._closing.is_set():
            try:
                self._announce()
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
        if self._refusals[entry.path] == 1:
            self._store.warn(f"{entry.path} waits in the outbox, the store refused it: {one_line(error)}")

    def _warn_down(self, error: StoreError) -> None:
        if not self._is_down:
            self._is_down = True
            self._store.warn(f"{error}; {len(self.outbox.entries())} finished packs wait in {self.outbox.folder}")

    def _announce(self) -> None:
        """Marks the suite run as running and keeps what was started, once."""
        if not self._start_files:
            return
        with self._writing, self._store.reported():
            suite = self._writer.index.suite
            self._writer.client.update_run(suite, status="RUNNING")
            self._writer.write_files(suite, self._start_files)
            self._start_files = {}


def _note(markdown: str) -> str:
    if len(markdown) <= MAX_TAG:
        return markdown
    whole_lines = markdown[: MAX_TAG - 10].rpartition("\n")[0]
    return f"{whole_lines or markdown[: MAX_TAG - 10]}\n\n…"


def _flags_text(flags: str | Sequence[str] | None) -> str:
    if flags is None or isinstance(flags, str):
        return flags or ""
    return ", ".join(flags)
