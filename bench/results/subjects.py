"""Subjects are read here: from a store, a report's folder or a tidy file."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from analysis.labels import Labels, labels_in
from analysis.subject import AnySubject, BoxSubject, SearchSubject, Subject, TraceLots, no_traces
from bench.entry import build
from bench.errors import UsageError
from bench.imports.formats import as_tidy
from bench.imports.runs import imported_runs, named_apart, plain_reading
from bench.imports.tidy_file import printable, read_tidy
from bench.imports.wishes import Wishes
from bench.lazy import polars
from bench.results.attentions import attentions
from bench.results.box import box_knobs, box_words, places_frame, points_frame, units_frame
from bench.results.controls import controls_named, controls_of
from bench.results.effects import twin_pairs
from bench.results.margins import margin_of, with_margins
from bench.results.standings import answers, groups, stand, trail
from bench.results.stored import Stored
from bench.search.importance import EVALUATORS
from bench.store import Store, imported_trials, read_imports, read_manifest, read_results, suite_names, trace_lots
from bench.suite import Suite, find_suite, load_suite, shipped_names
from bench.trial import BLOWN_UP_MARGIN, EARLIER
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload, names_of_layers

CURVES_FILE, MANIFEST_FILE = "curves.csv", "manifest.json"  # of a report
MAX_MANIFEST_BYTES = 16 * 2**20
NO_NUM_KEYS = 1  # of figures from traces, which runs of others have not
NO_BOARD = "suite {name!r} draws a box of knobs; required one with a grid of learning rates"
NO_GRID = "suite {name!r} searches; required one with a leaderboard, which trains its grid"


def read_subject(
    stored: Stored,
    store: Store,
    *,
    score: str = "lr_sensitivity",
    loss: str = "train",
    published: polars.DataFrame | None = None,
) -> AnySubject:
    """What the store holds of it. score, loss, published: as Subject has them; they say nothing of a search.

    Of a box the loss alone counts. Raises UsageError if it holds no trial that ended.
    """
    if stored.suite is not None and stored.suite.search is not None:
        return _of_search(stored.suite, store)
    if stored.suite is not None and stored.suite.box is not None:
        return read_box(stored.suite, store, loss=loss)
    return read_grid(stored, store, score=score, loss=loss, published=published)


def read_grid(
    stored: Stored,
    store: Store,
    *,
    why_not: str = NO_GRID,
    score: str = "lr_sensitivity",
    loss: str = "train",
    published: polars.DataFrame | None = None,
) -> Subject:
    """`read_subject`; a suite that searches raises UsageError with `why_not`, in which {name} stands for its name."""
    if stored.suite is None:
        return _of_imports(stored.name, store, score=score, loss=loss, published=published)
    if stored.suite.search is not None:
        raise UsageError(why_not.format(name=stored.name))
    if stored.suite.box is not None:
        raise UsageError(NO_BOARD.format(name=stored.name))
    return _of_grid(stored.suite, store, score=score, loss=loss, published=published)


def compared_subjects(texts: Sequence[str], store: Store, *, loss: str, allow_code: bool) -> dict[str, Subject]:
    """The subject of each text by its name, in their order; by its origin where several have that name.

    Raises UsageError as `compared_subject` does, and for a subject that is given twice.
    """
    subjects = [compared_subject(text, store, loss=loss, allow_code=allow_code) for text in texts]
    for origin, count in Counter(one.origin for one in subjects).items():
        if count > 1:
            raise UsageError(f"{origin} is given {count} times; required each side once")
    names = Counter(one.name for one in subjects)
    return {one.name if names[one.name] == 1 else one.origin: one for one in subjects}


def compared_subject(
    text: str, store: Store, *, allow_code: bool, score: str = "lr_sensitivity", loss: str = "train"
) -> Subject:
    """What `text` names: a folder with curves.csv, as reports are, a tidy file, a suite file, or a suite of the store.

    The name of a shipped suite means its trials alone, any other name of the store all that it holds.

    Raises UsageError if it names nothing, or nothing with results.
    """
    path = Path(text)
    if path.is_dir():
        return _of_folder(path, score=score, loss=loss)
    if is_outside(text):
        return _of_file(path, path.stem, score=score, loss=loss)
    if _is_suite(text):
        suite = load_suite(find_suite(text), allow_code=allow_code)
        return read_grid(Stored.of(suite), store, score=score, loss=loss)
    return _of_name(text, store, score=score, loss=loss)


def is_outside(text: str) -> bool:
    """Whether `text` names a folder or a tidy file, and nothing that a store holds."""
    path = Path(text)
    is_file = path.is_file() or "/" in text or path.suffix in (".csv", ".parquet")
    return path.is_dir() or (is_file and not _is_suite(text))


def _is_suite(text: str) -> bool:
    return Path(text).suffix in (".yaml", ".yml") or text in shipped_names()


def manifest_with_imports(store: Store, suite_name: str) -> str | None:
    """JSON text of the suite's manifest, and under `imports` what was imported beside its trials; None without both."""
    text, imports = read_manifest(store, suite_name), read_imports(store, suite_name)
    return json.dumps({**json.loads(text or "{}"), "imports": imports}, indent=2) if imports else text


def _of_grid(suite: Suite, store: Store, *, score: str, loss: str, published: polars.DataFrame | None) -> Subject:
    """The trials of this suite and those imported beside them, whatever else its experiment holds."""
    wanted = {trial.id: trial.labels for trial in suite.expand()}
    workloads: dict[str, Workload] = {choice.label: build(WORKLOADS, choice) for choice in suite.entries["workloads"]}
    num_keys = {label: workload.num_keys for label, workload in workloads.items()}
    imported = imported_trials(store, suite.name)
    is_beside = polars.col("trial_id").is_in(imported.keys()) & polars.col("workload").is_in(num_keys.keys())
    results = read_results(store, suite.name).filter(polars.col("trial_id").is_in(wanted.keys()) | is_beside)
    results = _labelled(results, wanted)
    finished = _finished(results)
    pairs = twin_pairs(suite)
    is_intervened = polars.col("trial_id").is_in(pairs["trial_id"].to_list())
    intervened, results = results.filter(is_intervened), results.filter(~is_intervened)
    if results.is_empty():
        why = f"{store.shown_uri}: no trial of suite {suite.name!r} has a result yet; run it first"
        raise UsageError(why + _of_earlier_version(suite, store))
    num_missing = len(wanted.keys() - set(finished["trial_id"]))
    return Subject(
        name=suite.name,
        title=suite.name,
        origin=_in_store(suite.name, store),
        description=suite.description,
        facts=_facts(suite, f"{len(wanted) - num_missing} of {len(wanted)} finished"),
        results=with_margins(named_apart(results, imported), imported, store, suite.name, suite.blown_up_margin),
        imported=imported,
        num_trials=len(wanted),
        num_missing=num_missing,
        num_keys=num_keys,
        layer_names={label: names for label, one in workloads.items() if (names := names_of_layers(one))},
        score=score,
        loss=loss,
        published=published,
        labels=Labels(of=suite.labels).over(results),
        controls=controls_of(suite),
        intervened=intervened if suite.interventions else None,
        pairs=pairs,
        attentions=attentions(suite),
        read_manifest=functools.partial(manifest_with_imports, store, suite.name),
        trace_lots=functools.partial(trace_lots, store, suite.name),
    )


def _labelled(results: polars.DataFrame, labels: Mapping[str, Mapping[str, str]]) -> polars.DataFrame:
    """Results with the labels of the suite's entries by trial id: those of an earlier version had other ones."""
    rows = [{"trial_id": trial_id, **labels[trial_id]} for trial_id in results["trial_id"] if trial_id in labels]
    return results.update(polars.DataFrame(rows), on="trial_id", how="left") if rows else results


def _of_earlier_version(suite: Suite, store: Store) -> str:
    """In words, how to read what an earlier version trained of a suite; empty if it trained none of its trials."""
    held = set(_finished(read_results(store, suite.name))["trial_id"])
    number = sum(trial.as_earlier.id in held for trial in suite.expand())
    params = [choice.params for entries in suite.entries.values() for choice in entries]
    new = {name for one in params for name in one.keys() & EARLIER.keys() if one[name] != EARLIER[name]}
    settings = ", ".join(f"{name}: {value}" for name, value in EARLIER.items() if name in new)
    return f" ({number} were trained by an earlier version: `{settings}` in its entries reads them)" if number else ""


def _of_imports(name: str, store: Store, *, score: str, loss: str, published: polars.DataFrame | None) -> Subject:
    """All that was imported under a name."""
    imported = imported_trials(store, name)
    if not imported:
        raise UsageError(f"{store.shown_uri}: nothing was imported as {name!r}")
    results = read_results(store, name).filter(polars.col("trial_id").is_in(imported.keys()))
    return Subject(
        name=name,
        title=f"{name} (imported)",
        origin=_in_store(name, store),
        description="Runs of others, imported.",
        results=with_margins(named_apart(results, imported), imported, store, name, BLOWN_UP_MARGIN),
        imported=imported,
        num_keys=dict.fromkeys(results["workload"], NO_NUM_KEYS),
        controls=controls_named(results),
        score=score,
        loss=loss,
        published=published,
        read_manifest=functools.partial(manifest_with_imports, store, name),
        trace_lots=_lots_of_imports(store, name),
    )


def _lots_of_imports(store: Store, name: str) -> TraceLots:
    """What reads the traces of imports; none where no file had values by step."""
    has_traces = any("traces" in record for record in read_imports(store, name).values())
    return functools.partial(trace_lots, store, name) if has_traces else no_traces


def _of_name(name: str, store: Store, *, score: str, loss: str) -> Subject:
    """All trials that the store holds under a name."""
    names = suite_names(store)
    if name not in names:
        raise UsageError(
            f"{printable(name)}: no such file, folder or suite; required a suite file, a report's folder, a tidy file, "
            f"or one of {store.shown_uri}: {', '.join(names) or 'none'}"
        )
    imported = imported_trials(store, name)
    results, manifest = named_apart(read_results(store, name), imported), read_manifest(store, name)
    if results.is_empty():
        raise UsageError(f"{store.shown_uri}: no trial of suite {name!r} has a result")
    return Subject(
        name=name,
        title=name,
        origin=_in_store(name, store),
        results=with_margins(results, imported, store, name, margin_of(manifest)),
        labels=labels_in(manifest).over(results),
        controls=controls_named(results),
        imported=imported,
        score=score,
        loss=loss,
        read_manifest=functools.partial(manifest_with_imports, store, name),
    )


def read_box(suite: Suite, store: Store, *, loss: str) -> BoxSubject:
    """The trials of the suite's box. Raises UsageError if the store holds none that ended."""
    places = places_frame(suite)
    wanted = set(places["trial_id"])
    results = read_results(store, suite.name).filter(polars.col("trial_id").is_in(wanted))
    finished = _finished(results)
    if finished.is_empty():
        raise UsageError(f"{store.shown_uri}: no trial of suite {suite.name!r} has a result yet; run it first")
    num_finished = finished["trial_id"].n_unique()
    return BoxSubject(
        name=suite.name,
        title=suite.name,
        description=suite.description,
        facts=_facts(suite, f"{num_finished} of {len(wanted)} finished") | {"box": box_words(suite)},
        results=results,
        num_trials=len(wanted),
        num_missing=len(wanted) - num_finished,
        places=places,
        points=points_frame(suite),
        units=units_frame(suite),
        knobs=box_knobs(suite),
        loss=loss,
        labels=Labels(of=suite.labels).over(places),
        controls=controls_of(suite),
        evaluators=EVALUATORS,
        read_manifest=functools.partial(read_manifest, store, suite.name),
    )


def _of_search(suite: Suite, store: Store) -> SearchSubject:
    """Where the searches of a suite stand."""
    assert suite.search is not None
    rows = {row["trial_id"]: row for row in read_results(store, suite.name).iter_rows(named=True)}
    standings = [stand(group, rows) for group in groups(suite)]
    begun = [standing for standing in standings if standing.points]
    if not begun:
        raise UsageError(f"{store.shown_uri}: no round of suite {suite.name!r} is finished yet; run it first")
    decisions = trail(standings, rows)
    num_missing = sum(trial.id not in rows for standing in standings for trial in standing.missing)
    return SearchSubject(
        name=suite.name,
        title=suite.name,
        description=suite.description,
        facts=_facts(suite, f"{decisions.height - num_missing} of the {decisions.height} asked for are finished"),
        question=f"{suite.search.name} search over {standings[0].group.knob}",
        answers=answers(begun),
        trail=decisions,
        num_missing=num_missing,
        labels=Labels(of=suite.labels).over(decisions),
        read_manifest=functools.partial(read_manifest, store, suite.name),
    )


def _of_folder(folder: Path, *, score: str, loss: str) -> Subject:
    shown = printable(str(folder))
    if not (folder / CURVES_FILE).is_file():
        raise UsageError(f"{shown}: no {CURVES_FILE} in this folder; required that of a report")
    read = functools.partial(_manifest_text, folder / MANIFEST_FILE)
    name = folder.resolve().name
    return _of_file(folder / CURVES_FILE, name, folder.name, origin=shown, read_manifest=read, score=score, loss=loss)


def _of_file(
    path: Path,
    name: str,
    import_name: str | None = None,
    *,
    origin: str | None = None,
    read_manifest: Callable[[], str | None] = lambda: None,
    score: str,
    loss: str,
) -> Subject:
    file = as_tidy(read_tidy(path), Wishes())
    runs = imported_runs(file, plain_reading(name if import_name is None else import_name))
    results = runs.frame
    return Subject(
        name=printable(name),
        title=printable(name),
        origin=origin or file.shown,
        results=results,
        num_keys=dict.fromkeys(results["workload"], NO_NUM_KEYS),
        controls=controls_named(results),
        score=score,
        loss=loss,
        blown_up_margin=margin_of(read_manifest()),
        labels=labels_in(read_manifest()).over(results),
        read_manifest=read_manifest,
        trace_lots=runs.trace_lots if runs.traces else no_traces,
    )


def _manifest_text(path: Path) -> str | None:
    """The manifest beside a report's curves. Raises UsageError if it is none."""
    if not path.exists():
        return None
    shown = printable(str(path))
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise UsageError(f"{shown}: too large for a manifest; required at most {MAX_MANIFEST_BYTES // 2**20} MiB")
        text = path.read_text(encoding="utf-8")
        plain = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{shown}: can't be read as JSON: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict):
        raise UsageError(f"{shown}: required a JSON object, as a report writes it")
    return text


def _finished(results: polars.DataFrame) -> polars.DataFrame:
    return results.filter(polars.col("outcome").is_in(["completed", "diverged"]))


def _facts(suite: Suite, trials: str) -> dict[str, str]:
    """What a page says of a suite's run beside its manifest; `trials`: in words how many are finished."""
    return {
        "suite": suite.description or suite.name,
        "trials": trials,
        "seeds": ", ".join(map(str, suite.seeds)),
    }


def _in_store(name: str, store: Store) -> str:
    return f"suite {name} in {store.shown_uri}"
