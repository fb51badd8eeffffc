"""Subjects are read here of what a store holds: a suite's grid, box or searches, or what was imported."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping

from analysis.labels import NO_LABELS, Labels
from analysis.subject import AnySubject, BoxSubject, SearchSubject, Subject, TraceLots, no_traces
from bench.entry import build
from bench.errors import UsageError
from bench.imports.runs import named_apart
from bench.lazy import polars
from bench.outcome import RESULT_OUTCOMES
from bench.results.answers import answers, asked_results, fronts, search_parameters, trail
from bench.results.attentions import attentions
from bench.results.box import box_knobs, box_words, places_frame, points_frame, space_words, units_frame
from bench.results.controls import controls_named, controls_of
from bench.results.effects import twin_pairs
from bench.results.margins import with_margins
from bench.results.standings import Rows, groups, stand
from bench.results.stored import Stored
from bench.search.importance import EVALUATORS
from bench.store import Store, imported_trials, read_imports, read_manifest, read_results, read_searched, trace_lots
from bench.suite import Suite
from bench.trial import BLOWN_UP_MARGIN, EARLIER
from bench.workloads import WORKLOADS
from bench.workloads.base import Workload, names_of_layers

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
    """The subject that a store holds. score, loss, published: as Subject has them; they say nothing of a search.

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
        origin=in_store(suite.name, store),
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
        raise UsageError(f"{store.shown_uri}: nothing was imported as {name!r}; run bench import first")
    results = read_results(store, name).filter(polars.col("trial_id").is_in(imported.keys()))
    results = named_apart(results, imported)
    return Subject(
        name=name,
        title=f"{name} (imported)",
        origin=in_store(name, store),
        description="Runs of others, imported.",
        results=with_margins(results, imported, store, name, BLOWN_UP_MARGIN),
        imported=imported,
        num_keys=dict.fromkeys(results["workload"], NO_NUM_KEYS),
        labels=NO_LABELS.over(results),
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


def read_box(suite: Suite, store: Store, *, loss: str) -> BoxSubject:
    """The trials of the suite's box. Raises UsageError if the store holds none that ended."""
    assert suite.design is not None
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
        design=suite.design.name,
        loss=loss,
        labels=Labels(of=suite.labels).over(places),
        controls=controls_of(suite),
        evaluators=EVALUATORS,
        read_manifest=functools.partial(read_manifest, store, suite.name),
    )


def _of_search(suite: Suite, store: Store) -> SearchSubject:
    """Where the searches of a suite stand. Raises UsageError if no round of one is finished."""
    rows = read_searched(store, suite.name)
    found = searched_subject(suite, rows, read_manifest=functools.partial(read_manifest, store, suite.name))
    if found.answers.is_empty():
        raise UsageError(f"{store.shown_uri}: no round of suite {suite.name!r} is finished yet; run it first")
    return found


def searched_subject(suite: Suite, rows: Rows, *, read_manifest: Callable[[], str | None]) -> SearchSubject:
    """Where the searches of a suite stand with these results; without answers where no round of one is finished."""
    assert suite.search is not None
    standings = [stand(group, rows) for group in groups(suite)]
    begun = [standing for standing in standings if standing.points]
    decisions = trail(standings, rows)
    num_missing = sum(len(standing.missing) for standing in standings)
    search, space = search_parameters(suite), space_words(suite)
    settings = (f"{name} {value}" for name, value in search.items() if name != "name")
    return SearchSubject(
        name=suite.name,
        title=suite.name,
        description=suite.description,
        facts=_facts(suite, f"{decisions.height - num_missing} of the {decisions.height} asked for are finished")
        | {"search": ", ".join([suite.search.name, *settings]), "space": space},
        question=f"{suite.search.name} search over {standings[0].group.knob}",
        search=search,
        rules=tuple(dict.fromkeys(one.group.rule for one in standings if one.group.rule is not None)),
        space=space,
        results=asked_results(standings, rows),
        answers=answers(begun),
        trail=decisions,
        front=fronts(begun),
        num_missing=num_missing,
        labels=Labels(of=suite.labels).over(decisions),
        read_manifest=read_manifest,
    )


def _finished(results: polars.DataFrame) -> polars.DataFrame:
    return results.filter(polars.col("outcome").is_in(RESULT_OUTCOMES))


def _facts(suite: Suite, trials: str) -> dict[str, str]:
    """What a page says of a suite's run beside its manifest; `trials`: in words how many are finished."""
    return {
        "suite": suite.description or suite.name,
        "trials": trials,
        "seeds": ", ".join(map(str, suite.seeds)),
    }


def in_store(name: str, store: Store) -> str:
    """In words, where a suite of the store is."""
    return f"suite {name} in {store.shown_uri}"
