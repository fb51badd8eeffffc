"""The page of a suite's adaptive searches: what each answers, which trials it asked for and why. Writes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.curves import label_of, require_columns, short_labels
from analysis.figures.knobs import edge_plot
from analysis.figures.of_a_suite import Drawn
from analysis.figures.search import COMPLETED, DIVERGED, NO_RESULT, PRUNED, asked_chart
from analysis.report.report import Chapter
from analysis.report.search_kinds import PRUNERS, SAMPLERS, search_kind
from analysis.report.searched_box import box_drawn, box_rounds, pruned_words
from analysis.report.summary import listed
from analysis.scores.pruning import Rule
from analysis.tables.forms.html import part
from analysis.tables.forms.markdown import table_markdown
from analysis.tables.forms.rows import Row, fixed, table_of, text
from analysis.tables.forms.table import NOTHING, Cell, Column, Group, Table, interval_text
from analysis.text import counted, escape_markdown, interval_decimals, lr_text, number

_GROUP = ("workload", "method", "optimizer", "knobs")
_ANSWER_COLUMNS = (*_GROUP, "search", "knob", "value", "ci_low", "ci_high", "best_value", "best_setting", "num_trials",
                   "num_trials_to_target", "num_rounds", "flags", "note")  # fmt: skip
_TRAIL_COLUMNS = (*_GROUP, "round", "value", "setting", "seed", "final_loss", "initial_loss", "pruned_step", "why")
_UNFINISHED = "unfinished"
FRONT = "Front of mean and worst loss"
_FRONT_NOTE = (
    "Of the settings with a result of every seed, none diverged: those that no other one of the method betters in both "
    "losses, the mean over seeds and the worst seed's; the least mean first."
)
_ANSWERS_NOTE = "–: none. An interval that ends at 0 or ∞ is open there: what was tried does not bound it."
_ROUNDS_NOTE = (
    "Of every trial: value, seed, and final loss or how else it ended. A trial without a result is not asked for again."
)


@dataclass(frozen=True, kw_only=True)
class SearchChapter:
    """One search: its title, its answer as a sentence, its rounds, and the figure of what it asked for."""

    title: str
    answer: str
    rounds: Table
    drawn: Drawn


def search_sentences(answers: pl.DataFrame) -> list[str]:
    """Who is best, a sentence a workload, and how many trials it took. `answers` has the best first."""
    require_columns(answers, _ANSWER_COLUMNS, "the frame of answers")
    parts = answers.partition_by("workload", maintain_order=True)
    sentences = [(f"On {part['workload'][0]}: " if len(parts) > 1 else "") + _best(part) for part in parts]
    num_open = answers.filter(flags=_UNFINISHED).height
    waiting = f" {num_open} of them are not finished." if num_open else ""
    spent = counted(int(answers["num_trials"].sum()), "trial")
    searches = "one search" if answers.height == 1 else f"{answers.height} searches"
    return [*sentences, f"{spent[0].upper()}{spent[1:]}, in {searches}.{waiting}"]


def answer_tables(answers: pl.DataFrame) -> list[Table]:
    """The answers, a table a workload, the best first."""
    require_columns(answers, _ANSWER_COLUMNS, "the frame of answers")
    return [_answer_table(part, answers) for part in answers.partition_by("workload", maintain_order=True)]


def edge_figures(answers: pl.DataFrame) -> Iterator[Drawn]:
    """The edges of all methods with their intervals, by workload, optimizer and knobs; of other searches nothing."""
    edges = answers.filter(pl.col("value").is_finite(), search="edge").select(
        *(*_GROUP, "knob", "value"),
        low=pl.when(pl.col("ci_low") > 0).then("ci_low"),
        high=pl.when(~pl.col("ci_high").is_nan()).then("ci_high"),
    )
    for key, rows in edges.group_by("workload", "optimizer", "knobs", maintain_order=True):
        title = f"Largest stable {rows['knob'][0]} of each method, with 95% intervals"
        place = label_of(key)
        yield Drawn.of(edge_plot, rows, kind="edges", title=title, place=place, note="", knob=rows["knob"][0])


def search_chapters(answers: pl.DataFrame, trail: pl.DataFrame) -> list[SearchChapter]:
    """A chapter a search, in the order of the answers. `trail` has one row a trial that was asked for, in order."""
    require_columns(answers, _ANSWER_COLUMNS, "the frame of answers")
    require_columns(trail, _TRAIL_COLUMNS, "the trail")
    by_group = trail.partition_by(*_GROUP, as_dict=True, maintain_order=True)
    several = answers["workload"].n_unique() > 1
    return [
        _chapter(row, by_group[tuple(row[name] for name in _GROUP)], f"{row['workload']}: {name}" if several else name)
        for row, name in zip(answers.iter_rows(named=True), short_labels(answers), strict=True)
    ]


def asked_trials(trail: pl.DataFrame) -> pl.DataFrame:
    """ASKED_COLUMNS of analysis.figures.search, from the trail of one search."""
    final = pl.col("final_loss")
    state = (
        pl.when(pl.col("pruned_step").is_not_null())
        .then(pl.lit(PRUNED))
        .when(final.is_null())
        .then(pl.lit(NO_RESULT))
        .when(final.is_infinite())
        .then(pl.lit(DIVERGED))
    )
    clipped = pl.min_horizontal("final_loss", "initial_loss")
    return trail.with_row_index("trial", 1).select(
        pl.col("trial").cast(pl.Int64),
        *("round", "value", "seed"),
        state=state.otherwise(pl.lit(COMPLETED)),
        loss=pl.when(final.is_finite()).then(clipped),
    )


def search_definitions(answers: pl.DataFrame, sampler: str = "", rules: Sequence[Rule] = ()) -> dict[str, str]:
    """What the answers are, whose sampler asked and whose rule ended settings early, and the flag if it occurs."""
    words = {}
    for search, knob in answers.select("search", "knob").unique(maintain_order=True).iter_rows():
        kind = search_kind(search)
        words[kind.title.format(knob=knob)] = kind.definition.format(knob=knob)
    if sampler:
        words[sampler] = SAMPLERS[sampler].definition("sampler")
    words |= {name: PRUNERS[name].definition("rule") for name in dict.fromkeys(one.worse_than for one in rules)}
    if (answers["flags"] == _UNFINISHED).any():
        words[_UNFINISHED] = "the search waits for trials of its last round; its answer is of the rounds before it"
    return words


def answers_group(answers: pl.DataFrame) -> Group:
    """The tables of answers, and how to read an interval that is open or none, where there is one."""
    intervals = map(_interval, answers.iter_rows(named=True))
    is_odd = any(text == NOTHING or "(" in text or ")" in text for text in intervals)
    return Group(tables=tuple(answer_tables(answers)), note=_ANSWERS_NOTE if is_odd else "")


def front_group(front: pl.DataFrame) -> Group:
    """A table a workload: of each search the settings that no other betters in both losses."""
    tables = (
        table_of(
            f"{FRONT} on {part['workload'][0]}",
            part.with_columns(name=pl.Series(short_labels(part), dtype=pl.String)),
            ("Method", text("name")),
            ("Setting", text("setting")),
            ("Mean loss", fixed("mean_loss", 3)),
            ("Worst seed's loss", fixed("worst_loss", 3)),
            num_names=2,
        )
        for part in front.partition_by("workload", maintain_order=True)
    )
    return Group(tables=tuple(tables), note=_FRONT_NOTE)


def chapter_of(search: SearchChapter) -> Chapter:
    """The answer of one search, its figure, and its rounds."""
    return Chapter(
        title=search.title,
        html=part("paragraphs", [search.answer]),
        after=part("rounds", search.rounds, _ROUNDS_NOTE),
        markdown=f"{escape_markdown(search.answer)}\n\n{table_markdown(search.rounds)}\n{_ROUNDS_NOTE}",
    )


def _best(part: pl.DataFrame) -> str:
    """Within a workload, whose answer is best, and whose intervals reach into its own."""
    kind, first = search_kind(part["search"][0]), part.row(0, named=True)
    title = kind.title.format(knob=first["knob"])
    if not math.isfinite(first["value"]):
        return f"No search found an answer: {title}."
    name, *others = short_labels(part)
    sentence = f"{name} {kind.best.format(knob=first['knob'])}, {_answer_words(first)}"
    reaches = ((pl.col("ci_low") <= first["ci_high"]) & (pl.col("ci_high") >= first["ci_low"])).fill_null(False)
    near = [other for other, does in zip(others, part.slice(1).select(reaches).to_series(), strict=True) if does]
    those = "that" if len(near) == 1 else "those"
    return f"{sentence}{f'; its interval overlaps with {those} of {listed(near)}' if near else ''}."


def _answer_table(part: pl.DataFrame, answers: pl.DataFrame) -> Table:
    first = part.row(0, named=True)
    title, knob = search_kind(first["search"]).title.format(knob=first["knob"]), first["knob"]
    columns: list[tuple[str, str | None, Callable[[Row], Cell]]] = [  # title, what it needs, cell
        ("Method", None, text("name")),
        (title, None, _value),
        ("95% interval", None, _interval),
        (f"At {knob}", "best_value", fixed("best_value", None)),
        ("At", "best_setting", text("best_setting")),
        ("Trials", None, text("num_trials")),
        ("Trials to target", "num_trials_to_target", fixed("num_trials_to_target", 0)),
        ("Rounds", None, text("num_rounds")),
        ("Flags", "flags", text("flags")),
    ]
    given = answers.with_columns(pl.col("flags").replace("", None))
    used = [(name, cell) for name, needed, cell in columns if needed is None or given[needed].is_not_null().any()]
    named = part.with_columns(name=pl.Series(short_labels(part), dtype=pl.String))
    return table_of(f"{title} on {first['workload']}", named, *used)


def _chapter(row: Mapping[str, Any], trail: pl.DataFrame, name: str) -> SearchChapter:
    is_box, place = trail["value"].is_null().all(), label_of(row[name] for name in _GROUP)
    return SearchChapter(
        title=f"Search: {name}",
        answer=_answer_sentence(row),
        rounds=box_rounds(trail) if is_box else _rounds_table(trail, row["knob"]),
        drawn=box_drawn(trail, place) if is_box else _drawn(row, asked_trials(trail), place),
    )


def _answer_sentence(row: Mapping[str, Any]) -> str:
    """The answer, how many trials it took, and why the search stopped."""
    is_open = row["flags"] == _UNFINISHED
    sentence = (
        f"{'So far' if is_open else 'Answer'}: {search_kind(row['search']).title.format(knob=row['knob']).lower()} "
    )
    sentence += f"{_answer_words(row)}, from {counted(row['num_trials'], 'trial')} in "
    sentence += f"{counted(row['num_rounds'], 'round')}. "
    return sentence + (f"{row['note'].capitalize()}." if is_open else f"It stopped because: {row['note']}.")


def _drawn(row: Mapping[str, Any], asked: pl.DataFrame, place: str) -> Drawn:
    """The figure of a search over one knob."""
    is_there = search_kind(row["search"]).is_value and math.isfinite(row["value"])
    answer = row["value"] if is_there else row["best_value"]
    answer = answer if answer is not None and math.isfinite(answer) else None
    interval = (row["ci_low"], row["ci_high"]) if is_there and not math.isnan(row["ci_low"] + row["ci_high"]) else None
    note = "Shaded: every other round; ×: diverged; ring: no result"
    note += "; triangle: pruned" if (asked["state"] == PRUNED).any() else ""
    note += "; dashed: the answer, in the band of its 95% interval" if interval else "; dashed: the best value"
    words = {"title": "Trials that the search asked for", "place": place, "note": note, "knob": row["knob"]}
    return Drawn.of(asked_chart, asked, kind="asked", answer=answer, interval=interval, **words)


def _rounds_table(trail: pl.DataFrame, knob: str) -> Table:
    rows, trail = [], trail.with_columns(asked_trials(trail)["state"])
    for asked in trail.partition_by("round", maintain_order=True):
        came = [
            f"{lr_text(row['value'])}\u00a0(seed\u00a0{row['seed']}):\u00a0"  # lines break between trials
            + (f"{row['final_loss']:.4g}" if row["state"] == COMPLETED else pruned_words(row) or row["state"])
            for row in asked.iter_rows(named=True)
        ]
        rows.append((str(asked["round"][0]), asked["why"][0], "; ".join(came)))
    titles = tuple(Column(title=title, is_name=True) for title in ("Round", "Why", f"{knob}, seed: what came"))
    return Table(heading="Rounds", columns=titles, rows=tuple(rows), kind="rounds")


def _value(row: Mapping[str, Any]) -> str:
    if not math.isfinite(row["value"]):
        return NOTHING
    return lr_text(row["value"]) if search_kind(row["search"]).is_value else _loss_text(row, "value")


def _interval(row: Mapping[str, Any]) -> str:
    """In brackets, round where an end is open; a dash where nothing is known of either."""
    low, high = row["ci_low"], row["ci_high"]
    if math.isnan(low) or math.isnan(high) or (low == -math.inf and high == math.inf):
        return NOTHING
    is_open = low <= 0 if search_kind(row["search"]).is_value else math.isinf(low)
    if not search_kind(row["search"]).is_value and math.isfinite(low) and math.isfinite(high):
        return interval_text(_loss_text(row, "ci_low"), _loss_text(row, "ci_high"))
    start = ("0" if low == 0 else "−∞") if is_open else lr_text(low)
    end = "∞" if math.isinf(high) else lr_text(high)
    return interval_text(start, end, is_open=(is_open, math.isinf(high)))


def _loss_text(row: Mapping[str, Any], name: str) -> str:
    """A loss, or an end of its interval, whose width decides the digits; four significant ones without."""
    places = interval_decimals(row["ci_low"], row["ci_high"], -1) if math.isfinite(row["ci_low"]) else -1
    return f"{row[name]:.4g}" if places < 0 else number(row[name], places)


def _answer_words(row: Mapping[str, Any]) -> str:
    """The answer, its interval if anything is known of it, and where the least loss is, if that is not the answer."""
    interval = _interval(row)
    words = _value(row) + ("" if interval == NOTHING else f" (95% interval {interval})")
    if row["best_setting"]:
        return f"{words}, at {row['best_setting']}"
    return words if row["best_value"] is None else f"{words}, at {row['knob']} = {lr_text(row['best_value'])}"
