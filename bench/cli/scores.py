"""`bench scores` and `bench power`: every score of a suite with its interval, and how many seeds a difference takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import AllowCode, FormatOption, LossOption, StoredArgument, StoreOption, UriOption, WideOption
from bench.cli.shared import DEFAULT_STORE, find, open_store, say, say_missing

if TYPE_CHECKING:
    import polars

    from analysis.labels import Names
    from analysis.scores.parts import ScoredEntry
    from analysis.subject import Subject
    from analysis.tables.forms.table import Table

DifferencesOption = Annotated[
    str | None,
    typer.Option("--differences", metavar="SCORE", help="instead: every pair of methods under this score, by seed"),
]
AT_CHANCE = "at chance: nothing was learned"  # the note of an entry without a rank
_HIDDEN = ("higher_is_better", "at_chance", "loss")  # in a table for people; csv and json have them


def add_scores_commands(app: typer.Typer) -> None:
    for command in (scores, power):
        app.command()(command)


def scores(
    suite: StoredArgument,
    format: FormatOption = "table",
    wide: WideOption = False,
    differences: DifferencesOption = None,
    loss: LossOption = "train",
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
    allow_code: AllowCode = False,
) -> None:
    """Print every score of every method, with its 95% interval over seeds, and how far scores agree."""
    from analysis.report.fates import fates
    from analysis.scores.table import score_kind
    from bench.results.subjects import read_grid

    opened = open_store(store, tracking_uri)
    stored = find(suite, opened, allow_code)
    if differences is not None:
        score_kind(differences)  # before anything is read
    why_not = "{name} asks for a search, which has no whole grid to score; see bench leaderboard"
    subject = read_grid(stored, opened, why_not=why_not, loss=loss)
    say_missing(subject)
    _print_scores(subject, format, differences, is_wide=wide)
    for sentence in subject.labels.plain.in_texts(fates(subject.scored, subject.board)):
        say(sentence)


def _print_scores(subject: Subject, format: str, differences: str | None, *, is_wide: bool) -> None:
    from analysis.scores.table import score_differences, score_table
    from bench.cli.terminal import table_text

    entries, names = subject.entries, subject.labels.plain
    if differences is not None:
        print(_forms(score_differences(entries, differences), names, is_wide=is_wide)[format](), end="")
        return
    table = score_table(entries, subject.loss)
    if format == "md":
        print(_markdown(table, entries, names), end="")
        return
    print(_forms(table, names, is_wide=is_wide)[format](), end="")
    for agreement in _agreement(table, entries, names) if format == "table" else ():
        print("\n" + table_text(agreement, numbers="left", is_wide=is_wide), file=sys.stderr, flush=True)


def power(
    difference: Annotated[float, typer.Argument(help="of two methods' scores, the least that matters to you")],
    spread: Annotated[float, typer.Argument(help="standard deviation over seeds of that difference, as of a pilot")],
    pairs: Annotated[int, typer.Option("--pairs", help="pairs of methods that are compared at once")] = 1,
) -> None:
    """Say how many seeds would tell two methods apart, before anything is run (80% power, paired t-test at 5%)."""
    from analysis.scores.seeds.separation import MAX_SEEDS, seeds_for

    needed = seeds_for(difference, spread, pairs)
    print(f"more than {MAX_SEEDS}" if needed is None else needed)


def _forms(frame: polars.DataFrame, names: Names, *, is_wide: bool) -> dict[str, Callable[[], str]]:
    """A frame of scores or of differences as text, by --format; `names` is what tables call methods and workloads."""
    from analysis.tables.forms.csv_text import csv_text

    return {
        "table": lambda: _terminal(names.in_frame(frame), is_wide=is_wide),
        "csv": lambda: csv_text(frame),
        "json": lambda: json.dumps(frame.to_dicts(), indent=1, allow_nan=False) + "\n",
        "md": lambda: _markdown_of_differences(names.in_frame(frame)),
    }


def _terminal(frame: polars.DataFrame, *, is_wide: bool) -> str:
    """For people: sorted by score, names once."""
    from bench.cli.terminal import frame_text
    from bench.lazy import polars

    if frame.is_empty():
        return "no pair to compare\n"
    order = polars.col("score").rank("dense")
    if "value" in frame.columns:
        from analysis.scores.kinds import SCORE_KINDS

        order = polars.col("score").replace_strict({name: place for place, name in enumerate(SCORE_KINDS)})
    if "at_chance" in frame.columns:
        said = polars.concat_str(
            [polars.lit(AT_CHANCE), polars.col("note").replace("", None)], separator="; ", ignore_nulls=True
        )
        frame = frame.with_columns(note=polars.when("at_chance").then(said).otherwise("note"))
    constant = [name for name in ("optimizer", "knobs") if name in frame.columns and frame[name].n_unique() == 1]
    printed = frame.drop(*constant, *(name for name in _HIDDEN if name in frame.columns)).sort(
        "workload", order, maintain_order=True
    )
    columns = ["workload", "score", *(name for name in printed.columns if name not in ("workload", "score"))]
    is_repeated = polars.col("score") == polars.col("score").shift(1).over("workload")
    once = polars.when(is_repeated).then(polars.lit("")).otherwise(polars.col("score")).alias("score")
    several = printed["score"].n_unique() > 1  # one alone is said below the table
    return frame_text(printed.select(columns).with_columns(once if several else "score"), is_wide=is_wide)


def _markdown_of_differences(frame: polars.DataFrame) -> str:
    from analysis.tables.forms.frames import plain_table
    from analysis.tables.forms.markdown import table_markdown
    from analysis.tables.forms.table import NOTHING

    return table_markdown(plain_table("Differences", frame, nothing=NOTHING))


def _markdown(table: polars.DataFrame, entries: Sequence[ScoredEntry], names: Names) -> str:
    from analysis.tables.forms.markdown import table_markdown
    from analysis.tables.scores import scores_tables

    scored = scores_tables(names.in_frame(table))
    return "\n".join(map(table_markdown, [*scored, *_agreement(table, entries, names)]))


def _agreement(table: polars.DataFrame, entries: Sequence[ScoredEntry], names: Names) -> list[Table]:
    """Ranks under each score, where scores disagree, and ranks over workloads."""
    from analysis.across.disagreement import score_correlations
    from analysis.across.learned import ranking_table
    from analysis.tables.forms.named import named_table
    from analysis.tables.scores import aggregate_tables, correlation_tables, rank_tables

    ranking = ranking_table(table, entries)
    tables = [*rank_tables(ranking), *correlation_tables(score_correlations(ranking)), *aggregate_tables(ranking)]
    return [named_table(one, names) for one in tables]
