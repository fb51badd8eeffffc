"""Results that others contribute: a folder that says whose they are, how it is written, checked, and put on boards."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from analysis.paper.files import SUMS_FILE, checksum, read_sums, write_sums
from analysis.report.grid_report import curve_rows
from analysis.subject import Subject
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.leaderboard import FORMATS
from bench.errors import BenchError, UsageError
from bench.files import make_folder, write_file
from bench.imports.tidy_file import printable
from bench.lazy import polars
from bench.results.named import CURVES_FILE, MANIFEST_FILE, compared_subject
from bench.results.verify import RELATIVE_TOLERANCE, Finding
from bench.store import Store
from bench.store.records import MANIFEST_VERSION
from bench.trial import UNNAMED

CONTRIBUTION_FILE, BOARD_FILE = "contribution.json", "leaderboard.csv"
FILES = (CONTRIBUTION_FILE, BOARD_FILE, CURVES_FILE, MANIFEST_FILE)  # and SUMS_FILE over them
TOLD = ("by", "about")  # of CONTRIBUTION_FILE
# What a manifest must have, so that somebody else could train the same.
PROVENANCE = ("manifest_version", "suite", "suite_sha256", "seeds", "bench", "git", "python", "packages", "device",
              "cpu", "system", "precision", "determinism", "written")  # fmt: skip
KEY = ("workload", "method", "optimizer", "knobs")  # of a line of a board
RECOMPUTED = ("lr_sensitivity", "ci_low", "ci_high", "best_loss", "best_lr", "stable_decades", "diverged_share",
              "num_seeds", "num_trials")  # fmt: skip


def write_contribution(subject: Subject, out: Path, *, by: str, about: str) -> list[Path]:
    """Fills a new or empty folder and returns the paths written, CONTRIBUTION_FILE first.

    by: whose results they are. about: what a reader must know of them. Raises UsageError for a folder that holds
    something, and for results without a manifest.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: holds something; required a new or empty folder")
    if subject.manifest is None:
        raise UsageError(f"{subject.name}: no manifest in the store; required how the results came about")
    contribution = json.dumps({"by": by, "about": about, "suite": subject.name}, indent=2, ensure_ascii=False) + "\n"
    texts = {
        CONTRIBUTION_FILE: contribution,
        BOARD_FILE: FORMATS["csv"](subject.board),
        CURVES_FILE: csv_text(curve_rows(subject)),
        MANIFEST_FILE: subject.manifest,
    }
    make_folder(out)
    written = [write_file(out / name, text) for name, text in texts.items()]
    write_sums(out)
    return [*written, out / SUMS_FILE]


def verify_contribution(folder: Path, store: Store) -> list[Finding]:
    """What is wrong with a contribution, or missing; empty if all is well. store: any, which nothing is read of.

    Checked: that the files are those of FILES with the checksums of SUMS_FILE, who contributes and what about, that the
    manifest says all of PROVENANCE, and every number of the board against one computed anew from the curves.
    """
    file_name = printable(str(folder))
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    findings = [
        *(Finding(where=f"{file_name}/{name}", text="not there") for name in (*FILES, SUMS_FILE) if name not in names),
        *(
            Finding(where=f"{file_name}/{name}", text="no part of a contribution")
            for name in names - {*FILES, SUMS_FILE}
        ),
    ]
    if findings:
        return findings
    try:
        findings = [*_wrong_sums(folder), *_wrong_words(folder), *_wrong_manifest(folder)]
        return [*findings, *_wrong_numbers(folder, store)]
    except (OSError, ValueError, polars.exceptions.PolarsError, BenchError) as error:
        return [*findings, Finding(where=file_name, text=f"can't be read: {' '.join(str(error).split())}")]


def with_contributed(subject: Subject, folders: Sequence[Path], store: Store) -> Subject:
    """The subject with the entries of contributions to its workloads beside its own, `softmax(contributed=NAME)`.

    A folder is a contribution, or holds some. Raises UsageError for one that `verify_contribution` finds wrong, and for
    one without an entry on a workload of the subject.
    """
    frames, ids = [subject.results], set(subject.imported)
    for folder in contributions(folders):
        if wrong := [finding for finding in verify_contribution(folder, store) if finding.is_wrong]:
            raise UsageError(f"{wrong[0].where}: {wrong[0].text}; see bench verify --contributed")
        theirs = _like(subject, compared_subject(str(folder), store, allow_code=False, loss=subject.loss))
        if theirs.is_empty():
            raise UsageError(f"{printable(str(folder))}: no entry on a workload of {subject.name}; name another")
        mark = polars.lit(printable(folder.resolve().name))
        frames.append(theirs.with_columns(method=polars.format("{}(contributed={})", "method", mark)))
        ids |= set(theirs["trial_id"])
    results = polars.concat(frames, how="diagonal_relaxed")
    return dataclasses.replace(subject, results=results, imported=ids)


def contributions(folders: Sequence[Path]) -> list[Path]:
    """The folders, in place of one without contributions of its own those below it. Raises UsageError for none."""
    places = []
    for folder in folders:
        inside = [folder] if (folder / CONTRIBUTION_FILE).exists() else sorted(folder.glob(f"*/{CONTRIBUTION_FILE}"))
        if not inside:
            raise UsageError(f"{folder}: required a contribution, a folder with {CONTRIBUTION_FILE}, or one of several")
        places += [path if path.is_dir() else path.parent for path in inside]
    return places


def _like(subject: Subject, other: Subject) -> polars.DataFrame:
    """The other's results on workloads of the subject, with what curves leave out where it follows from both.

    A workload of one label has one number of steps; a schedule is the subject's, if both suites name the same alone.
    """
    steps = dict(subject.results.select("workload", "num_steps").unique().drop_nulls().iter_rows())
    theirs = other.results.filter(polars.col("workload").is_in(subject.results["workload"].unique().to_list()))
    theirs = theirs.with_columns(
        num_steps=polars.coalesce(
            "num_steps",
            polars.col("workload").replace_strict(steps, default=None, return_dtype=theirs.schema["num_steps"]),
        )
    )
    labels = subject.results["schedule"].unique().to_list()
    suites = [one.plain_manifest.get("suite", {}) for one in (subject, other)]
    if len(labels) == 1 and suites[0].get("schedules", 0) == suites[1].get("schedules"):
        known = polars.when(polars.col("schedule") == UNNAMED["schedule"]).then(polars.lit(labels[0]))
        theirs = theirs.with_columns(schedule=known.otherwise("schedule"))
    return theirs


def _wrong_sums(folder: Path) -> Iterator[Finding]:
    sums = read_sums(folder)
    for name in FILES:
        if sums.get(name) != checksum(folder / name):
            yield Finding(where=f"{printable(str(folder))}/{name}", text=f"not as {SUMS_FILE} has it")


def _wrong_words(folder: Path) -> Iterator[Finding]:
    contribution = json.loads((folder / CONTRIBUTION_FILE).read_text(encoding="utf-8"))
    for name in TOLD:
        if not (
            isinstance(contribution, dict) and isinstance(contribution.get(name), str) and contribution[name].strip()
        ):
            yield Finding(where=f"{printable(str(folder))}/{CONTRIBUTION_FILE}", text=f"{name!r}: required words")


def _wrong_manifest(folder: Path) -> Iterator[Finding]:
    where = f"{printable(str(folder))}/{MANIFEST_FILE}"
    manifest: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    for name in PROVENANCE:
        if manifest.get(name) in (None, "", [], {}):
            yield Finding(where=where, text=f"does not say {name!r}")
    version = manifest.get("manifest_version")
    if version is not None and version != MANIFEST_VERSION:
        yield Finding(where=where, text=f"is of version {version}; required {MANIFEST_VERSION}")
    if str(manifest.get("git", "")).endswith("+changes"):
        yield Finding(where=where, text="trained by a program with changes that no commit has", is_wrong=False)


def _wrong_numbers(folder: Path, store: Store) -> Iterator[Finding]:
    """Lines of the board that the curves do not have, and numbers that they do not give."""
    where = f"{printable(str(folder))}/{BOARD_FILE}"
    board = compared_subject(str(folder), store, allow_code=False).board
    stated = polars.read_csv(folder / BOARD_FILE, infer_schema_length=None)
    ours = {_key(row): row for row in board.iter_rows(named=True)}
    theirs = {_key(row): row for row in stated.iter_rows(named=True)}
    for key in ours.keys() ^ theirs.keys():
        missing = "the board" if key in ours else CURVES_FILE
        yield Finding(where=where, text=f"{', '.join(filter(None, key))}: not in {missing}")
    for key in ours.keys() & theirs.keys():
        for name in RECOMPUTED:
            if not _are_equal(ours[key][name], theirs[key].get(name)):
                said, anew = theirs[key].get(name), ours[key][name]
                text = f"{', '.join(filter(None, key))}: {name} is {said}, computed anew {anew}"
                yield Finding(where=where, text=text)


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name] or "") for name in KEY)


def _are_equal(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    return first == second or math.isclose(float(first), float(second), rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
