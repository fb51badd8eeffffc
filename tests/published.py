"""What suites/results/ says, computed anew from the files committed there."""

import csv
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from ruamel.yaml import YAML

from analysis.scores.table import measured_entries, score_differences
from bench.imports.runs import imported_runs, plain_reading
from bench.imports.tidy_file import read_tidy

RESULTS = Path(__file__).parents[1] / "suites/results"
README = (RESULTS / "README.md").read_text(encoding="utf-8")
TABLE_1 = Path(__file__).parents[1] / "analysis/references/hong_lee_2025_table1.csv"


def claims() -> list[tuple[str, str, str, str]]:
    """Suite, score, better and other entry of every line of claims.yaml."""
    lines = YAML(typ="safe").load((RESULTS / "claims.yaml").read_text(encoding="utf-8"))
    return [(suite, *line) for suite, of_suite in lines.items() for line in of_suite]


@functools.cache
def differences(suite: str, score: str) -> pl.DataFrame:
    """All pairs of a suite's entries, from its curves.csv."""
    frame = imported_runs(read_tidy(RESULTS / suite / "curves.csv"), plain_reading(suite)).frame
    return score_differences(measured_entries(frame, None, "train"), score)


@functools.cache
def precision_differences(score: str) -> pl.DataFrame:
    """Of each method, lm_small's score in bfloat16 minus that in float32, paired by seed, under decay of matrices."""
    return _differences_by_method({"lm_small": "bfloat16", "lm_small_float32": "float32"}, "adamw(beta2=0.95)", score)


def fused_differences(score: str) -> pl.DataFrame:
    """Of each method, paper_table1's score by the fused program minus that by the traced step, paired by seed."""
    return _differences_by_method({"paper_table1_fused": "fused", "paper_table1": "traced"}, "sgd", score)


def _differences_by_method(ways: Mapping[str, str], optimizer: str, score: str) -> pl.DataFrame:
    """ways: what two folders of results are told apart by; the second's score is taken from the first's."""
    frames = [
        imported_runs(read_tidy(RESULTS / suite / "curves.csv"), plain_reading(suite))
        .frame.filter(pl.col("optimizer") == optimizer)
        .with_columns(optimizer=pl.lit(way), workload=pl.lit("both"))
        for suite, way in ways.items()
    ]
    pairs = score_differences(measured_entries(pl.concat(frames, how="diagonal"), None, "train"), score)
    method = pl.col("first").str.split(", ").list.first()
    return pairs.filter(method == pl.col("second").str.split(", ").list.first()).with_columns(method=method)


def comparison(suite: str, score: str, better: str, other: str) -> dict[str, Any]:
    """The row of a pair, its difference that of the better entry minus the other."""
    pairs = differences(suite, score)
    for first, second, sign in ((better, other, 1), (other, better, -1)):
        rows = pairs.filter(first=first, second=second)
        if rows.height:
            (row,) = rows.iter_rows(named=True)
            ends = sorted(sign * row[end] for end in ("ci_low", "ci_high"))
            return row | {"difference": sign * row["difference"], "ci_low": ends[0], "ci_high": ends[1]}
    raise ValueError(f"{suite} has no entries {better!r} and {other!r}")


def board(suite: str, name: str = "leaderboard.csv") -> list[dict[str, str]]:
    """The rows of a committed leaderboard."""
    with (RESULTS / suite / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table_1() -> dict[str, float]:
    """The paper's LR sensitivities by the names that methods have here."""
    with TABLE_1.open(encoding="utf-8") as file:
        return {row["method"]: float(row["lr_sensitivity"]) for row in csv.DictReader(file)}


def stated(pattern: str) -> list[float]:
    """The numbers of the one sentence that matches."""
    match = re.search(pattern, " ".join(README.split()))
    assert match is not None, pattern
    return [float(number) for number in match.groups()]
