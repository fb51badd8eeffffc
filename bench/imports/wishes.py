"""What a user says of a file's columns, as the options of `bench import` give it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from bench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the columns of a file mean.

    columns: theirs by ours (`--map`). constants: a value for all runs by our column (`--set`). ignored: columns to
    leave out. settings: columns that keep runs apart. run_names: a pattern for what the name of a run says, such as
    '{method}-lr{lr}-s{seed}'. without_loss: what a finished run without a final loss is, where its file can't tell;
    None: left out, and said. last_of: the column that tells runs apart where each has several rows, the last final.
    loss: the one of SCORED_LOSSES that the runs are to be scored by.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    ignored: Collection[str] = ()
    settings: Collection[str] = ()
    run_names: str | None = None
    without_loss: Literal["diverged", "lost"] | None = None
    last_of: str | None = None
    loss: str = "train"


def pairs_of(texts: Sequence[str], option: str) -> dict[str, str]:
    """{'lr': 'learning_rate', 'method': 'attention'} of ['lr=learning_rate,method=attention'].

    Raises UsageError for text without '=' and for a name that is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            name, sign, value = (piece.strip() for piece in part.partition("="))
            if not (name and sign and value):
                raise UsageError(f"{option} {text!r}: required NAME=VALUE, several with commas between, got {part!r}")
            if name in pairs:
                raise UsageError(f"{option}: {name!r} is given twice; give it once")
            pairs[name] = value
    return pairs


def names_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Column names, given one by one or several with commas between."""
    return tuple(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))


def with_wishes(cells: pl.DataFrame, wishes: Wishes, file_name: str, known: Collection[str]) -> pl.DataFrame:
    """The cells with columns renamed, constants added and ignored ones left out.

    Raises UsageError for a column that is not there, for one of ours that is there already, and for a name that is none
    of `known`, our columns.
    """
    there = ", ".join(cells.columns)
    for option, names in (("--map", wishes.columns), ("--set", wishes.constants)):
        for ours in names:
            if ours not in known:
                raise UsageError(f"{option} {ours}=...: required one of {', '.join(known)}")
            if ours in cells.columns and wishes.columns.get(ours) != ours and ours not in wishes.ignored:
                raise UsageError(f"{file_name}: column {ours!r} is there already; required it or {option}, not both")
    for ours, theirs in wishes.columns.items():
        if theirs not in cells.columns:
            raise UsageError(f"{file_name}: no column {theirs!r} to read as {ours!r}; it has {there}")
        if theirs in wishes.ignored:
            raise UsageError(
                f"{file_name}: column {theirs!r} is both read as {ours!r} and ignored; required one of them"
            )
    kept = cells.drop([name for name in wishes.ignored if name in cells.columns])
    renamed = kept.rename({theirs: ours for ours, theirs in wishes.columns.items()})
    return renamed.with_columns(pl.lit(value, pl.String).alias(ours) for ours, value in wishes.constants.items())


def options_text(columns: Mapping[str, str], ignored: Collection[str]) -> str:
    """`--map` and `--ignore` as one types them; empty if there is nothing to say."""
    parts = []
    if columns:
        parts.append("--map " + shlex.quote(",".join(f"{ours}={theirs}" for ours, theirs in columns.items())))
    if ignored:
        parts.append("--ignore " + shlex.quote(",".join(ignored)))
    return " ".join(parts)
