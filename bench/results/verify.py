"""Verify a suite's results: every trial is read again and checked against what was recorded when it was delivered."""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bench.errors import StoreError, UsageError
from bench.lazy import polars
from bench.outcome import Result
from bench.results.standings import asked_trials
from bench.results.stored import Stored
from bench.results.subjects import read_subject
from bench.store import (
    RunRecord,
    Store,
    examine_artifacts,
    imported_trials,
    read_imports,
    read_runs,
    read_searched,
    records,
)
from bench.store.outbox import trace_schema

RELATIVE_TOLERANCE = 1e-9  # of a leaderboard's number that is computed again, in another order of trials


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be. is_wrong: what is kept contradicts itself; else something is not there."""

    where: str
    text: str
    is_wrong: bool = True


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was checked, and what was found."""

    findings: tuple[Finding, ...]
    num_trials: int  # that the suite asks for so far
    num_results: int  # of the suite's trials that have one
    num_runs: int  # of trials, checked
    num_traces: int  # checked
    num_unsigned: int  # of those, without a recorded checksum: delivered before there were any
    num_waiting: int  # trials in the outbox


def verify(stored: Stored, store: Store) -> Verification:
    """Read and check all that the store holds of a suite, or of imports; nothing is changed, and nothing written.

    Of imports alone beside what is checked of every run: that each import has as many runs as were recorded with it.

    Raises UsageError while the suite is being run, StoreError if the store can't be read.
    """
    suite_name = stored.name
    if not store.is_made() or store.experiment(suite_name) is None:
        return _nothing_yet(stored, store)
    with store.shared_lock(suite_name):
        runs = read_runs(store, suite_name)
        trials = [run for run in runs if records.is_kind(run.tags, "trial")]
        ended = [run for run in trials if run.status in records.ENDED]
        findings = list(_open_runs(runs))
        for run in ended:
            findings += _wrong_record(run)
        findings += _duplicates(ended)
        traces, num_unsigned = _check_traces(store, suite_name, ended)
        findings += traces
        rows = read_searched(store, suite_name)
        wanted = _wanted(stored, rows)
        ends = ("completed", "diverged", *(("pruned",) if stored.suite is not None and stored.suite.stop else ()))
        has_result = {name for name, row in rows.items() if row["outcome"] in ends}
        for trial_id, name in wanted.items():
            if trial_id not in has_result:
                text = f"no result ({rows[trial_id]['outcome']})" if trial_id in rows else "never trained"
                findings.append(Finding(where=f"trial {trial_id} ({name})", text=text, is_wrong=False))
        findings += _wrong_board(lambda: read_subject(stored, store).board, runs)
        waiting = [entry.results for entry in store.outbox(suite_name).load_all()]
        if stored.suite is None:
            findings += _wrong_imports(suite_name, store)
    return Verification(
        findings=tuple(findings),
        num_trials=len(wanted),
        num_results=len(has_result & wanted.keys()),
        num_runs=len(ended),
        num_traces=sum(records.TRACE in run.tags for run in ended),
        num_unsigned=num_unsigned,
        num_waiting=sum(map(len, waiting)),
    )


def _nothing_yet(stored: Stored, store: Store) -> Verification:
    """The verification of a suite without runs in the store: none of its trials has a result that was delivered."""
    waiting = [result for entry in store.outbox(stored.name).load_all() for result in entry.results]
    text = f"no results of suite {stored.name!r} yet"
    return Verification(
        findings=(Finding(where=store.shown_uri, text=text, is_wrong=False),),
        num_trials=len(_wanted(stored, {})),
        num_results=0,
        num_runs=0,
        num_traces=0,
        num_unsigned=0,
        num_waiting=len(waiting),
    )


def _wanted(stored: Stored, rows: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Ids and names of the trials that the suite asks for, of searches with these results; of imports, of all rows."""
    if stored.suite is None:
        return {name: f"{row['method']}, lr={row['lr']:g}, seed={row['seed']}" for name, row in rows.items()}
    return {
        trial.id: f"{trial.workload.label}, {trial.method.label}, {trial.optimizer.label}, lr={trial.knobs.lr:g}, "
        f"seed={trial.seed}"
        for trial in asked_trials(stored.suite, rows)
    }


def _wrong_imports(suite_name: str, store: Store) -> Iterator[Finding]:
    """Imports that lost runs, and those that are half done."""
    held = Counter(imported_trials(store, suite_name).values())
    numbers = {name: record["num_runs"] for name, record in read_imports(store, suite_name).items()}
    for name in sorted(numbers):
        if held[name] != numbers[name]:
            yield Finding(where=f"import {name}", text=f"{held[name]} runs, but {numbers[name]} were imported")
    for name in sorted(held.keys() - numbers.keys()):
        text = "half done; importing its file again ends it"
        yield Finding(where=f"import {name}", text=text, is_wrong=False)


def _open_runs(runs: Iterable[RunRecord]) -> Iterator[Finding]:
    for run in runs:
        if run.status == "RUNNING":
            kind = run.tags.get(records.KIND)
            yield Finding(
                where=f"run {run.run_id}",
                text=f"{kind} run begun by a driver that was killed; running the suite again ends it",
                is_wrong=False,
            )


def _wrong_record(run: RunRecord) -> Iterator[Finding]:
    """What the result of a trial's run and its other records say against each other."""
    where = f"run {run.run_id}"
    try:
        records.check_schema(run.tags, where)
        result = records.result_from_tags(run.tags)
    except (StoreError, ValueError, KeyError, TypeError) as error:
        yield Finding(where=where, text=f"its result can't be read ({type(error).__name__}: {error})")
        return
    recorded = run.tags.get(records.TRIAL_ID)
    if result.trial.id != recorded:
        yield Finding(where=where, text=f"trial id {recorded}, but the hash of its trial is {result.trial.id}")
    yield from (Finding(where=f"{where}, trial {recorded}", text=text) for text in _contradictions(run, result))


def _contradictions(run: RunRecord, result: Result) -> Iterator[str]:
    if run.tags.get(records.OUTCOME) != result.outcome:
        yield f"outcome {run.tags.get(records.OUTCOME)}, but its result says {result.outcome}"
    if (run.status == "FINISHED") != result.outcome.is_result:
        yield f"status {run.status}, but its result says {result.outcome}"
    for name, value in records.trial_metrics(result).items():
        if run.metrics.get(name) != value:
            yield f"metric {name} {run.metrics.get(name)}, but its result says {value}"
    for name, text in records.trial_params(result).items():
        if run.params.get(name) != text:
            yield f"param {name} {run.params.get(name)}, but its result says {text}"


def _duplicates(ended: Iterable[RunRecord]) -> Iterator[Finding]:
    by_trial: dict[str, list[str]] = defaultdict(list)
    for run in ended:
        by_trial[run.tags.get(records.TRIAL_ID, "")].append(run.run_id)
    for trial_id, run_ids in by_trial.items():
        if len(run_ids) > 1:
            yield Finding(where=f"trial {trial_id}", text=f"{len(run_ids)} ended runs: {', '.join(run_ids)}")


def _check_traces(store: Store, suite_name: str, ended: Iterable[RunRecord]) -> tuple[list[Finding], int]:
    """What is wrong with traces, and how many have no checksum."""
    with_trace = [run for run in ended if records.TRACE in run.tags]
    names = [(run.run_id, run.tags[records.TRACE]) for run in with_trace]
    findings, num_unsigned = [], 0
    for run, of_run in zip(with_trace, examine_artifacts(store, suite_name, names, _examine_trace), strict=True):
        where = f"run {run.run_id}, {run.tags[records.TRACE]}"
        if isinstance(of_run, str):
            findings.append(Finding(where=where, text=of_run))
            continue
        digest, text = of_run
        expected = run.tags.get(records.TRACE_SHA256)
        num_unsigned += expected is None
        if expected not in (None, digest):
            findings.append(Finding(where=where, text=f"SHA-256 {digest[:12]}, {expected[:12]} when it was delivered"))
        elif text:
            findings.append(Finding(where=where, text=text))
    return findings, num_unsigned


def _examine_trace(content: bytes) -> tuple[str, str]:
    """SHA-256 of a trace's file, and what is wrong with its columns."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        schema = dict(polars.read_parquet(io.BytesIO(content)).schema)
    except polars.exceptions.PolarsError as error:
        return digest, f"no Parquet file ({str(error).splitlines()[0]})"
    return digest, "" if schema == trace_schema() else f"columns {schema}, required {trace_schema()}"


def _wrong_board(read: Callable[[], polars.DataFrame], runs: Iterable[RunRecord]) -> Iterator[Finding]:
    """Where the numbers on the method runs are not those that the results give."""
    try:
        board = read()
    except UsageError as error:  # no result at all
        yield Finding(where="leaderboard", text=str(error), is_wrong=False)
        return
    published = {run.tags[records.METHOD_KEY]: run for run in runs if records.is_kind(run.tags, "method")}
    names = set(records.board_metrics_names(board))
    known = {name for run in published.values() for name in run.metrics}
    new = sorted({name for _, numbers in records.board_metrics(board) for name in numbers} - known)
    if new and names & known:
        text = f"published by another version, whose board lacks {', '.join(new)}; running the suite again does it anew"
        yield Finding(where="leaderboard", text=text, is_wrong=False)
        return
    for key, numbers in records.board_metrics(board):
        where = f"leaderboard, {key.name}"
        run = published.get(key.digest)
        metrics = {} if run is None else {name: run.metrics[name] for name in names & run.metrics.keys()}
        if not metrics:
            yield Finding(where=where, text="not published; running the suite again does it", is_wrong=False)
            continue
        for name in sorted(names):
            kept, now = metrics.get(name, math.nan), numbers.get(name, math.nan)
            same = math.isclose(kept, now, rel_tol=RELATIVE_TOLERANCE) or (math.isnan(kept) and math.isnan(now))
            if not same:
                yield Finding(where=where, text=f"{name} {kept:.6g}, but the results give {now:.6g}")
