"""What is said of a file whose columns are not known or lack, with the options of `bench import` that would read it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from bench.errors import did_you_mean
from bench.imports.names import (
    ALIASES,
    KNOWN_COLUMNS,
    LOSS_FALLBACKS,
    REQUIRED_COLUMNS,
    SYNONYMS,
    likely_columns,
    plain_name,
    unit_of,
)
from bench.imports.wishes import options_text


def unknown_columns(columns: list[str], unknown: list[str], file_name: str, *, has_initial_loss: bool) -> str:
    """All that is not known of a file's columns, what it lacks, and options that would read it."""
    for place, name in enumerate(columns, 1):
        if (unit := unit_of(name)) and likely_columns([name.replace(unit, "")], SYNONYMS):
            return (
                f"{file_name}: column {place} ({name!r}): its numbers are in units of {unit!r}; required them in full"
            )
    first, *rest = (f"column {columns.index(name) + 1} ({name!r})" for name in unknown)
    hint = did_you_mean(unknown[0].lower(), (*KNOWN_COLUMNS, *ALIASES))
    more = f", nor {', '.join(rest)}" if rest else ""
    parts = [f"{file_name}: {first} is not known{more or hint}"]
    ours = [ALIASES.get(name, name) for name in columns]
    missing = [name for name in REQUIRED_COLUMNS if name not in ours]
    if has_initial_loss and "initial_loss" in missing:
        missing.remove("initial_loss")
    likely = likely_columns(unknown, [*missing, *(name for name in SYNONYMS if name not in (*ours, *missing))])
    others = likely_columns(unknown, LOSS_FALLBACKS)
    if "final_loss" in missing and "final_loss" not in likely and others:
        likely = {name: theirs for name, theirs in likely.items() if theirs not in others.values()}
        likely["final_loss"] = next(iter(others.values()))
    if missing:
        parts.append(f"no column {', '.join(map(repr, missing))}")
    if "lr" in columns and (rate := next((name for name in unknown if plain_name(name) in SYNONYMS["lr"]), None)):
        parts.append(f"'lr' or {rate!r} is the rate that a run was given, and not the last of a schedule")
    if len(columns) == 1 or not (likely or {*ours} & {*KNOWN_COLUMNS}):
        return f"{'; '.join(parts)}; {_required_of_header(columns)}"
    if _is_wide([name for name in unknown if name not in likely.values()], missing):
        parts.append("where each of these columns is a run's loss, required a row a run, as pandas' melt() writes it")
    ways = _options(unknown, missing, likely)
    parts.append(
        f"`bench import` takes {' '.join(filter(None, ways))} (--ignore leaves out what tells no runs apart, --setting "
        f"keeps them apart by it, as in --setting {shlex.quote(unknown[-1])})"
    )
    return f"{'; '.join(parts)}; known: {', '.join(KNOWN_COLUMNS)}"


def _required_of_header(columns: Sequence[str]) -> str:
    """What is right where nothing of a header is known."""
    if len(columns) == 1:
        return "required several columns, with commas, tabs, semicolons or bars between them, and their names above"
    named = f"--map method={columns[0]},lr={columns[1]},..."
    return f"required names of columns in the first line, {', '.join(REQUIRED_COLUMNS)}, or `bench import` with {named}"


def _options(unknown: list[str], missing: list[str], likely: Mapping[str, str]) -> list[str]:
    """Options of `bench import` for columns that are not known, and for ours that lack."""
    left = [name for name in unknown if name not in likely.values()]
    losses = _losses(left)
    lacks_loss = "final_loss" in missing and "final_loss" not in likely
    ways = [options_text(likely, [name for name in left if not (lacks_loss and name in losses)])]
    ways += [f"--set {name}=..." for name in missing if name not in likely and name in ("method", "seed")]
    ways += ["--map lr=COLUMN"] if "lr" in missing and "lr" not in likely else []
    if lacks_loss:
        ways.append(f"--map final_loss={shlex.quote(losses[0]) if losses else 'COLUMN'}")
        ways += [f"(or {', '.join(losses[1:])})"] if losses[1:] else []
    return [*ways, *(["--initial-loss X"] if "initial_loss" in missing and "initial_loss" not in likely else [])]


def missing_columns(columns: Sequence[str], missing: Sequence[str], file_name: str, notes: Sequence[str]) -> str:
    """What a file lacks that is required, and options that say it.

    notes: what was said of the file; which of its columns were left out is said again, as one may be what lacks.
    """
    others = [name for name in missing if name != "initial_loss"]
    ways = ["--initial-loss X for all runs"] if "initial_loss" in missing else []
    ways += [f"--map {others[0]}=COLUMN of the file"] if others else []
    ways += [f"--set {others[0]}=VALUE for all runs"] if others and others[0] != "final_loss" else []
    ways += ["--loss validation, to score its held-out loss"] if others and "val_loss" in columns else []
    left_out = "".join(f"; {note}" for note in notes if note.startswith("columns left out"))
    return (
        f"{file_name}: no column {', '.join(map(repr, missing))} (`bench import` takes {', or '.join(ways)}); required "
        f"{', '.join(REQUIRED_COLUMNS)}, got {', '.join(columns)}{left_out}"
    )


def _is_wide(unknown: Sequence[str], missing: Sequence[str]) -> bool:
    """Whether columns may be runs: several that are not known, none of them a loss by its name, and none there."""
    return "final_loss" in missing and len(unknown) > 1 and not _losses(unknown)


def _losses(names: Sequence[str]) -> list[str]:
    """Columns that may hold a loss, by their names."""
    return [name for name in names if "loss" in plain_name(name)]
