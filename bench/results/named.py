"""Subjects by what a text names: a suite file, a name in the store, a report's folder or a tidy file."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.labels import labels_in
from analysis.subject import Subject, no_traces
from bench.errors import UsageError
from bench.imports.formats import as_tidy
from bench.imports.runs import imported_runs, named_apart, plain_reading
from bench.imports.tidy_file import printable, read_tidy
from bench.imports.wishes import Wishes
from bench.results.controls import controls_named
from bench.results.margins import margin_of, with_margins
from bench.results.stored import Stored, suite_as_run
from bench.results.subjects import NO_NUM_KEYS, in_store, manifest_with_imports, read_grid
from bench.store import Store, imported_trials, read_manifest, read_results, suite_names
from bench.suite import find_suite, read_document, shipped_names

CURVES_FILE, MANIFEST_FILE = "curves.csv", "manifest.json"  # of a report
MAX_MANIFEST_BYTES = 16 * 2**20


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
        suite = suite_as_run(read_document(find_suite(text)), store, allow_code=allow_code)
        return read_grid(Stored.of(suite), store, score=score, loss=loss)
    return _of_name(text, store, score=score, loss=loss)


def is_outside(text: str) -> bool:
    """Whether `text` names a folder or a tidy file, and nothing that a store holds."""
    path = Path(text)
    is_file = path.is_file() or "/" in text or path.suffix in (".csv", ".parquet")
    return path.is_dir() or (is_file and not _is_suite(text))


def _is_suite(text: str) -> bool:
    return Path(text).suffix in (".yaml", ".yml") or text in shipped_names()


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
        raise UsageError(f"{store.shown_uri}: no trial of suite {name!r} has a result yet; run it first")
    return Subject(
        name=name,
        title=name,
        origin=in_store(name, store),
        results=with_margins(results, imported, store, name, margin_of(manifest)),
        labels=labels_in(manifest).over(results),
        controls=controls_named(results),
        imported=imported,
        score=score,
        loss=loss,
        read_manifest=functools.partial(manifest_with_imports, store, name),
    )


def _of_folder(folder: Path, *, score: str, loss: str) -> Subject:
    file_name = printable(str(folder))
    if not (folder / CURVES_FILE).is_file():
        raise UsageError(f"{file_name}: no {CURVES_FILE} in this folder; required that of a report")
    read = functools.partial(_manifest_text, folder / MANIFEST_FILE)
    name = folder.resolve().name
    return _of_file(
        folder / CURVES_FILE, name, folder.name, origin=file_name, read_manifest=read, score=score, loss=loss
    )


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
        origin=origin or file.file_name,
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
    file_name = printable(str(path))
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise UsageError(
                f"{file_name}: too large for a manifest; required at most {MAX_MANIFEST_BYTES // 2**20} MiB"
            )
        text = path.read_text(encoding="utf-8")
        plain = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file_name}: can't be read as JSON: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict):
        raise UsageError(f"{file_name}: required a JSON object, as a report writes it")
    return text
