"""At which step the lines of a figure diverged, in words: over a panel, or as a sentence below the title."""

from __future__ import annotations

import polars as pl

from analysis.text import counted

_LINE_LETTERS = 125  # of a figure's subtitle


def diverged_words(rows: pl.DataFrame) -> dict[str, str]:
    """Which seeds of each method diverged and when, in words, by method; empty where none did.

    `rows` has a method and the columns DIVERGED_COLUMNS of analysis.figures.frames.aggregate.
    """
    if not (rows["num_diverged"] > 0).any():
        return {}
    words = {}
    for row in rows.unique("method").sort("method").iter_rows(named=True):
        if not row["num_diverged"]:
            words[row["method"]] = f"none diverged ({counted(row['num_trials'], 'seed', '1')})"
            continue
        first, last = row["first_diverged"], row["last_diverged"]
        when = "" if first is None else f" at step {first:,}" if first == last else f" at steps {first:,}–{last:,}"
        share = "" if row["num_trials"] == 1 else f"{row['num_diverged']} of "
        words[row["method"]] = f"diverged{when} ({share}{counted(row['num_trials'], 'seed', '1')})"
    return words


def diverged_sentence(rows: pl.DataFrame) -> str:
    """`diverged_words` of all methods as lines of a subtitle; empty where none diverged."""
    words = diverged_words(rows.filter(pl.col("num_diverged") > 0))
    parts = [f"{method} {text.removeprefix('diverged ')}" for method, text in words.items()]
    return _wrapped("Diverged: ", parts) if parts else ""


def _wrapped(start: str, parts: list[str]) -> str:
    """The parts with semicolons between, in lines that break between parts; those that go on end with a space."""
    lines = [start]
    for part in parts:
        if len(lines[-1]) + len(part) > _LINE_LETTERS and lines[-1] != start:
            lines.append("")
        lines[-1] += f"{part}; "
    return "\n".join(lines).removesuffix("; ")
