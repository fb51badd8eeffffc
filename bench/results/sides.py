"""One side of a comparison: the results behind a suite file, a name in the store, a report's folder or a tidy file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.foreign.runs import foreign_results, plain_reading, told_apart
from analysis.foreign.tidy_file import printable, read_tidy
from bench.errors import UsageError
from bench.lazy import polars
from bench.results.board import manifest_with_imports, read_board
from bench.store import Store, imported_trials, read_results, suite_names
from bench.suite import find_suite, load_suite, shipped_suites

CURVES_FILE, MANIFEST_FILE = "curves.csv", "manifest.json"
MAX_MANIFEST_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class Side:
    """Results (RESULT_COLUMNS) and the manifest, {} where there is none; `shown` says what they are, `name` briefly."""

    name: str
    shown: str
    results: polars.DataFrame
    manifest: dict[str, Any]


def read_side(text: str, store: Store, *, allow_code: bool) -> Side:
    """What `text` names: a folder with curves.csv, as reports are, a tidy file, a suite file, or a suite of the store.

    The name of a shipped suite means its trials alone, any other name of the store all that it holds.

    Raises UsageError if it names nothing, or nothing with results.
    """
    path = Path(text)
    if path.is_dir():
        return _of_folder(path)
    is_suite = path.suffix in (".yaml", ".yml") or text in shipped_suites()
    if not is_suite and (path.is_file() or "/" in text or path.suffix in (".csv", ".parquet")):
        file = read_tidy(path)
        results = foreign_results(file, plain_reading(path.stem)).frame
        return Side(name=printable(path.stem), shown=file.shown, results=results, manifest={})
    if is_suite:
        return _of_suite(text, store, allow_code=allow_code)
    return _of_name(text, store)


def read_sides(texts: Sequence[str], store: Store, *, allow_code: bool) -> dict[str, Side]:
    """The side of each text by its name, in their order; by what is shown of it where several have that name.

    Raises UsageError as `read_side` does, and for a side that is given twice.
    """
    sides = [read_side(text, store, allow_code=allow_code) for text in texts]
    for one, count in Counter(side.shown for side in sides).items():
        if count > 1:
            raise UsageError(f"{one} is given {count} times; required each side once")
    names = Counter(side.name for side in sides)
    return {side.name if names[side.name] == 1 else side.shown: side for side in sides}


def _of_folder(folder: Path) -> Side:
    shown = printable(str(folder))
    if not (folder / CURVES_FILE).is_file():
        raise UsageError(f"{shown}: no {CURVES_FILE} in this folder; required that of a report")
    results = foreign_results(read_tidy(folder / CURVES_FILE), plain_reading(folder.name)).frame
    name = printable(folder.resolve().name)
    return Side(name=name, shown=shown, results=results, manifest=_manifest(folder / MANIFEST_FILE))


def _manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    shown = printable(str(path))
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise UsageError(f"{shown}: too large for a manifest; required at most {MAX_MANIFEST_BYTES // 2**20} MiB")
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{shown}: can't be read as JSON: {' '.join(str(error).split())}") from None
    if not isinstance(plain, dict):
        raise UsageError(f"{shown}: required a JSON object, as a report writes it")
    return plain


def _of_suite(text: str, store: Store, *, allow_code: bool) -> Side:
    suite = load_suite(find_suite(text), allow_code=allow_code)
    if suite.search is not None:
        raise UsageError(f"suite {suite.name!r} searches; required one with a leaderboard, which trains its grid")
    board = read_board(suite, store)
    return Side(
        name=suite.name,
        shown=f"suite {suite.name} in {store.shown_uri}",
        results=board.results,
        manifest=json.loads(manifest_with_imports(store, suite.name) or "{}"),
    )


def _of_name(name: str, store: Store) -> Side:
    names = suite_names(store)
    if name not in names:
        raise UsageError(
            f"{printable(name)}: no such file, folder or suite; required a suite file, a report's folder, a tidy file, "
            f"or one of {store.shown_uri}: {', '.join(names) or 'none'}"
        )
    results = told_apart(read_results(store, name), imported_trials(store, name))
    if results.filter(polars.col("outcome").is_in(["completed", "diverged"])).is_empty():
        raise UsageError(f"{store.shown_uri}: no trial of suite {name!r} has a result")
    manifest = json.loads(manifest_with_imports(store, name) or "{}")
    return Side(name=name, shown=f"suite {name} in {store.shown_uri}", results=results, manifest=manifest)
