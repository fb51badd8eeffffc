"""What moved between two sets of results, in words: manifests side by side, one summary, and tables for readers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from analysis.across.difference import VERDICTS, Moved
from analysis.curves import ENTRY
from analysis.labels import NO_LABELS, Names
from analysis.scores.seeds.rank_ranges import rank_text, rank_texts
from analysis.tables.forms.frames import plain_json
from analysis.tables.forms.markdown import table_markdown
from analysis.tables.forms.named import named_table
from analysis.tables.forms.rows import fixed, label, scored, table_of, text
from analysis.tables.forms.table import NOTHING, Table
from analysis.text import counted, escape_markdown

MANIFEST_COLUMNS: dict[str, type[pl.DataType]] = dict.fromkeys(("field", "a", "b"), pl.String)

# Fields of a manifest that differ between any two runs, or say again what others say.
_IDLE = ("manifest_version", "written", "suite.name", "suite.description", "suite_sha256")
_LONGEST = 160
_MAX_ONLY = 10  # entries of one side alone that a terminal shows


def manifest_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> pl.DataFrame:
    """MANIFEST_COLUMNS: the fields of two manifests that are not the same, by their dotted names; null where missing.

    No rows where either manifest is empty: nothing is known then.
    """
    if not a or not b:
        return pl.DataFrame(schema=MANIFEST_COLUMNS)
    rows = [row for row in _unlike(a, b, "") if row[0] not in _IDLE]
    return pl.DataFrame(rows, schema=MANIFEST_COLUMNS, orient="row")


def summary_lines(moved: Moved) -> list[str]:
    """How many scores moved and how many trials are equal, in a sentence each."""
    entries = moved.entries
    counts = {verdict: entries.filter(pl.col("verdict") == verdict).height for verdict in VERDICTS}
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    lines = [
        f"{counted(entries.height, 'entry', '1')} in both: {verdicts}" if entries.height else "no entry is in both"
    ]
    if moved.only.height:
        sides = {side: moved.only.filter(pl.col("side") == side).height for side in ("A", "B")}
        lines.append(f"{counted(sides['A'], 'entry', '1')} only in A, {sides['B']} only in B")
    is_changed = (pl.col("rank_a") != pl.col("rank_b")) | (pl.col("rank_worst_a") != pl.col("rank_worst_b"))
    changed = entries.filter(is_changed).height
    if changed:
        lines.append(f"{counted(changed, 'rank range', '1')} changed")
    partial = entries.filter(pl.col("num_lrs_left_out") > 0)
    if partial.height:
        num_left_out = int(partial["num_lrs_left_out"].sum())
        of = counted(partial.height, "entry")
        lines.append(f"{counted(num_left_out, 'learning rate')} of {of} on one side alone, so left out")
    total, equal, outcomes = (int(entries[name].sum()) for name in ("num_trials", "num_equal", "num_outcomes_differ"))
    if total:
        lines.append(
            f"{counted(total, 'trial', '1')} in both: {equal} end the same (diverged twice, or in bit-equal losses), "
            f"{total - equal} otherwise, of which {outcomes} diverged on one side alone"
        )
    if moved.num_renamed:
        are = "entry is" if moved.num_renamed == 1 else "entries are"
        lines.append(f"{moved.num_renamed} {are} compared although A and B name their knobs otherwise")
    lines += [f"workload {one} of A is compared with {two} of B" for one, two in moved.workloads.items()]
    return lines


def diff_markdown(moved: Moved, manifests: pl.DataFrame, sides: tuple[str, str], names: Names = NO_LABELS.plain) -> str:
    """Tables of entries, of those of one side alone and of manifests, with the summary first.

    names: what tables of entries call methods and workloads.
    """
    parts = [f"A: {escape_markdown(sides[0])}\nB: {escape_markdown(sides[1])}\n"]
    parts += [f"- {escape_markdown(line)}" for line in summary_lines(moved)]
    parts.append("")
    parts += [table_markdown(named_table(table, names)) for table in _tables(moved)]
    parts += [table_markdown(_manifest_table(manifests))] if manifests.height else []
    return "\n".join(parts)


def _tables(moved: Moved) -> Iterator[Table]:
    for (workload,), rows in moved.entries.group_by("workload", maintain_order=True):
        yield table_of(
            str(workload),
            rows,
            ("Entry", label),
            ("A", fixed("score_a", 3)),
            ("B", fixed("score_b", 3)),
            *scored("B - A", "difference", "ci", 3),
            ("p (Holm)", lambda row: NOTHING if row["p_holm"] is None else f"{row['p_holm']:.2g}"),
            ("Verdict", text("verdict")),
            ("Rank in A", lambda row: rank_text(row["rank_a"], row["rank_worst_a"])),
            ("in B", lambda row: rank_text(row["rank_b"], row["rank_worst_b"])),
            ("Compared", lambda row: f"{row['compared'] or ''} at {row['num_lrs']} lr".strip()),
        )
    if moved.only.height:
        sides = ("Side", text("side")), ("Workload", text("workload")), ("Entry", label)
        yield table_of("In one alone", moved.only, *sides, num_names=3)


def _manifest_table(manifests: pl.DataFrame) -> Table:
    fields = (("A", lambda row: shortened(row["a"])), ("B", lambda row: shortened(row["b"])))
    return table_of("Manifests", manifests, ("Field", text("field")), *fields, num_names=3)


def diff_json(moved: Moved, manifests: pl.DataFrame, sides: tuple[str, str]) -> str:
    """All of it as one object, every digit."""
    plain = {
        "a": sides[0],
        "b": sides[1],
        "is_beyond_noise": moved.is_beyond_noise,
        "entries": moved.entries.to_dicts(),
        "only": moved.only.to_dicts(),
        "workloads": dict(moved.workloads),
        "manifests": manifests.to_dicts(),
    }
    return plain_json(plain)


def terminal_frames(moved: Moved, manifests: pl.DataFrame) -> list[pl.DataFrame]:
    """What a terminal shows, a table each: entries, those of one side alone, fields of manifests.

    The column `workload` is each table's heading.
    """
    ranks = {f"rank_{side}": rank_texts(moved.entries, f"rank_{side}", f"rank_worst_{side}") for side in "ab"}
    entries = moved.entries.with_columns(**ranks).drop(
        "rank_worst_a", "rank_worst_b", "p_value", "num_outcomes_differ", "largest_change"
    )
    few = moved.only.head(_MAX_ONLY)
    heading = (
        "in one alone"
        if few.height == moved.only.height
        else (f"in one alone, {few.height} of {moved.only.height} (--format md has all)")
    )
    only = few.select(pl.lit(heading).alias("workload"), "side", pl.col("workload").alias("of"), *ENTRY[1:])
    fields = manifests.with_columns(pl.col("a", "b").map_elements(shortened, pl.String, skip_nulls=False))
    fields = fields.select(pl.lit("manifests").alias("workload"), *MANIFEST_COLUMNS)
    return [frame for frame in (entries, only, fields) if frame.height]


def shortened(text: str | None) -> str:
    """A field of a manifest as a table shows it."""
    if text is None:
        return NOTHING
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _unlike(a: Any, b: Any, name: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Name and texts of what differs; of lists of named entries which there are, and what differs in those of both."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in (*a, *(key for key in b if key not in a)):
            yield from _unlike(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
        return
    named_a, named_b = _by_name(a), _by_name(b)
    if named_a and named_b:
        if list(named_a) != list(named_b):
            yield name, ", ".join(named_a), ", ".join(named_b)
        for key in named_a.keys() & named_b.keys():
            yield from _unlike(named_a[key], named_b[key], f"{name}.{key}")
    elif a != b:
        yield name, _text(a), _text(b)


def _by_name(plain: Any) -> dict[str, Mapping[str, Any]]:
    """The entries of a list by their names; {} of anything else."""
    if not isinstance(plain, list) or not all(isinstance(one, Mapping) and "name" in one for one in plain):
        return {}
    return {str(one["name"]): one for one in plain}


def _text(plain: Any) -> str | None:
    if plain is None or isinstance(plain, str):
        return plain
    if isinstance(plain, list):
        return ", ".join(one if isinstance(one, str) else json.dumps(one) for one in plain)
    return json.dumps(plain, sort_keys=True)
