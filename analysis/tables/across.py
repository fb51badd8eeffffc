"""Methods over many conditions as text: tables, the verdict in words, and CSV and JSON with every digit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from analysis.across.conditions import RULE
from analysis.across.rank_tests import RankTest
from analysis.across.ranking import REACHES, AcrossBoard
from analysis.curves import label_of
from analysis.losses import SCORED_LOSSES
from analysis.scores.kinds import SCORE_KINDS
from analysis.tables.forms.csv_text import csv_text
from analysis.tables.forms.frames import plain_json
from analysis.tables.forms.latex import NEEDS, ON_PAGE, table_latex
from analysis.tables.forms.markdown import table_markdown
from analysis.tables.forms.named import named_table
from analysis.tables.forms.rows import fixed, table_of, text
from analysis.tables.forms.table import NOTHING, Number, Table, columns, in_parts
from analysis.tables.scores import score_cell, score_decimals
from analysis.text import escape_markdown, number

# Conditions and scores side by side on a terminal, and across a page of two columns.
_WIDE, _PAGE = (4, 9), (3, 4)
_MARKS = {"at_chance": "*", "learned_little": "‡"}
_ROUGH_CONDITIONS, _ROUGH_METHODS = 10, 5  # up to these Friedman's chi-square is rough: Demšar 2006, Sec. 3.2.2


def board_tables(board: AcrossBoard) -> list[Table]:
    """The scores of methods x conditions, what the conditions are, the ranks under each score, how far scores agree."""
    scores, others = _tables(board, *_WIDE)
    return [named_table(table, board.labels.plain) for table in (*scores, _conditions_table(board), *others)]


def verdict(board: AcrossBoard) -> list[str]:
    """Which method ranks best, Friedman's test, which methods are not separated, what was left out; a line each."""
    lines = [_best(board)]
    if board.test is not None:
        test = board.test
        num_methods = test.mean_ranks.height
        num_conditions = board.conditions.height
        blocked = (
            f" independent workloads (ranks averaged over the {num_conditions} conditions, which share data and seeds "
            "within a workload)"
            if num_conditions > test.num_workloads
            else " conditions"
        )
        lines.append(
            f"Friedman's test over {test.num_workloads}{blocked} and {num_methods} methods: chi2 "
            f"{test.statistic:.3g}, p {test.p_value:.2g} ({_kind_of_p(test)}); critical difference of mean "
            f"ranks {test.critical_difference:.2f} (Nemenyi, 5%)"
        )
        lines.append(_separation(board))
    return [line[0].upper() + line[1:] for line in (*lines, *board.notes)]


def reading_note(board: AcrossBoard) -> str:
    """How to read the tables."""
    kind, reach = SCORE_KINDS[board.score], REACHES[SCORE_KINDS[board.score].unit]
    marks = {
        "*": "at chance, or ‡: learned less than half of what the best method did there; ranks last, whatever its score"
        if board.scores["flag"].is_in(list(_MARKS)).any()
        else "",
        "†": "not the best, but no method there is significantly better" if board.scores["is_tied"].any() else "",
        "≥": "censored, stable up to the top of the grid"
        if board.scores["note"].str.starts_with("censored").any()
        else "",
        "≤ and ≥ in brackets": "there the grid ends, and not the interval"
        if (board.scores["ci_censored"] != "").any()
        else "",
    }
    notes = " ".join(f"{mark}: {meaning}." for mark, meaning in marks.items() if meaning)
    better = "higher" if kind.higher_is_better else "lower"
    return (
        f"{RULE} Scores are of the {SCORED_LOSSES[board.loss].title}, {better} is better; brackets: 95% interval over "
        f"seeds. {notes} Mean rank over conditions, 1 best. Profile: share of the conditions within a distance of the "
        f"best score ({reach.words}), its mean height from {reach.start:g} to {reach.end:.3g} (Dolan & Moré 2002; Dahl "
        "et al. 2023), 1 if best everywhere. Spearman: of the ranks under a score and under that of the first table, "
        "over the methods of a condition that learned; mean and least over conditions."
    ).replace("  ", " ")


def board_markdown(board: AcrossBoard) -> str:
    """Pipe tables, then the verdict and how to read them."""
    lines = "".join(f"- {escape_markdown(line)}\n" for line in board.labels.plain.in_texts(verdict(board)))
    tables = map(table_markdown, board_tables(board))
    return "\n".join([*tables, lines, escape_markdown(reading_note(board)), ""])


def board_latex(board: AcrossBoard) -> str:
    """A booktabs `table*` each; needs \\usepackage{booktabs}. The first caption has the verdict and the conditions."""
    names = board.labels.latex
    first, *others = [named_table(table, names) for tables in _tables(board, *_PAGE) for table in tables]
    whole = [*verdict(board), f"Conditions: {_conditions_text(board)}"]
    caption = names.in_text(" ".join(f"{line}." for line in whole)) + f" {reading_note(board)}"
    drawn = [table_latex(first, caption=caption, floating=ON_PAGE)]
    drawn += [table_latex(table, caption="", floating=ON_PAGE) for table in others]
    return NEEDS + "\n".join(drawn)


def board_csv(board: AcrossBoard) -> str:
    """A row a condition and method: what the condition is, the score, and the method's mean rank and profile."""
    return csv_text(tidy_scores(board))


def board_json(board: AcrossBoard) -> str:
    """Everything, every digit."""
    test = board.test
    whole: dict[str, Any] = {
        "score": board.score,
        "loss": board.loss,
        "conditions": board.conditions.to_dicts(),
        "scores": board.scores.to_dicts(),
        "methods": board.methods.to_dicts(),
        "test": None
        if test is None
        else {
            "statistic": test.statistic,
            "p_value": test.p_value,
            "p_is_exact": test.p_is_exact,
            "critical_difference": test.critical_difference,
            "num_independent": test.num_workloads,
        },
        "not_separated": board.groups,
        "profiles": board.profiles.to_dicts(),
        "score_ranks": board.score_ranks.to_dicts(),
        "agreement": board.agreement.to_dicts(),
        "notes": board.notes,
    }
    return plain_json(whole)


def board_frames(board: AcrossBoard) -> dict[str, pl.DataFrame]:
    """Every frame of a comparison, by the name of its file."""
    return {
        "scores": tidy_scores(board),
        "methods": board.methods,
        "conditions": board.conditions,
        "score_ranks": board.score_ranks,
        "agreement": board.agreement,
        "profiles": board.profiles,
    }


def tidy_scores(board: AcrossBoard) -> pl.DataFrame:
    """SCORE_COLUMNS with the columns of the condition before them, and the method's mean_rank and profile behind."""
    places = board.conditions.select("condition", "side", "workload", "optimizer", "knobs")
    scores = board.scores.with_columns(score=pl.lit(board.score), loss=pl.lit(board.loss))
    joined = places.join(scores, on="condition", maintain_order="right")
    return joined.join(
        board.methods.select("method", "mean_rank", "profile"), on="method", how="left", maintain_order="left"
    )


def _best(board: AcrossBoard) -> str:
    ranked = board.methods.filter(pl.col("mean_rank").is_not_null())
    best = ranked.filter(pl.col("mean_rank") == pl.col("mean_rank").min())
    names = ", ".join(best["method"])
    return (
        f"Best mean rank under {SCORE_KINDS[board.score].title}: {names}, {number(best['mean_rank'][0], 2)} of "
        f"{ranked.height}"
    )


def _kind_of_p(test: RankTest) -> str:
    """Whether the p-value is exact, and what makes it doubtful."""
    is_rough = test.num_workloads <= _ROUGH_CONDITIONS or test.mean_ranks.height <= _ROUGH_METHODS
    approximate = f"by the chi-square distribution{', rough with so few' if is_rough else ''}"
    return "exact" if test.p_is_exact else approximate


def _separation(board: AcrossBoard) -> str:
    ranked = board.methods.filter(pl.col("mean_rank").is_not_null())["method"].to_list()
    if [set(group) for group in board.groups] == [set(ranked)]:
        return "no method is separated from another"
    joined = {method for group in board.groups for method in group}
    alone = [method for method in ranked if method not in joined]
    parts = [f"not separated: {'; '.join(', '.join(group) for group in board.groups)}"] if board.groups else []
    parts += [f"separated from all others: {', '.join(alone)}"] if alone else []
    return "; ".join(parts)


def _tables(board: AcrossBoard, num_conditions: int, num_scores: int) -> tuple[list[Table], list[Table]]:
    """Tables of scores, of ranks and of agreement, so many conditions and scores a table."""
    agreement = [_agreement_table(board)] if board.agreement.height else []
    return _score_tables(board, num_conditions), [*_rank_tables(board, num_scores), *agreement]


def _score_tables(board: AcrossBoard, num_conditions: int) -> list[Table]:
    """Methods x conditions, a few conditions a table; mean rank and profile in the first."""
    names = board.conditions["condition"].to_list()
    cells = {name: _cells(board.scores.filter(condition=name)) for name in names}
    tables = []
    for part, continued in in_parts(names, num_conditions):
        means = () if continued else ("mean_rank", "profile")
        rows = tuple(
            (
                row["method"],
                *(Number(value=row[name], decimals=2) for name in means),
                *(cells[name].get(row["method"], NOTHING) for name in part),
            )
            for row in board.methods.iter_rows(named=True)
        )
        heading = f"{SCORE_KINDS[board.score].title} over {len(names)} conditions{continued}"
        titles = columns("Method", *(() if continued else ("Mean rank", "Profile")), *part)
        tables.append(Table(heading=heading, columns=titles, rows=rows))
    return tables


def _cells(rows: pl.DataFrame) -> dict[str, Number]:
    """By method, the score with its interval and marks."""
    places = score_decimals(rows)
    return {
        row["method"]: score_cell(row, places, _MARKS.get(row["flag"], "") + ("†" if row["is_tied"] else ""))
        for row in rows.iter_rows(named=True)
    }


def _conditions_table(board: AcrossBoard) -> Table:
    plain = columns("Condition", "Side", "Workload", "Optimizer", "Knobs", "Methods", "Seeds", num_names=5)
    leave = {"Knobs": 1, "Optimizer": 2, "Side": 3, "Workload": 4}  # the condition's name has most of them
    titles = tuple(replace(column, leaves=leave.get(column.title, 0)) for column in plain)
    rows = tuple(tuple(NOTHING if cell == "" else str(cell) for cell in row) for row in board.conditions.iter_rows())
    return Table(heading="Conditions", columns=titles, rows=rows)


def _conditions_text(board: AcrossBoard) -> str:
    """The conditions in a sentence."""
    return "; ".join(
        f"{row['condition']}: {label_of(row[name] for name in ('workload', 'optimizer', 'knobs'))} of {row['side']}"
        for row in board.conditions.iter_rows(named=True)
    )


def _rank_tables(board: AcrossBoard, num_scores: int) -> list[Table]:
    """The ranked methods x scores, a few scores a table: mean ranks, and over how many conditions each."""
    methods = board.methods.filter(pl.col("mean_rank").is_not_null())["method"].to_list()
    ranks = {(row["score"], row["method"]): row for row in board.score_ranks.iter_rows(named=True)}
    scores = board.score_ranks["score"].unique(maintain_order=True).to_list()
    tables = []
    for part, continued in in_parts(scores, num_scores):
        rows = [
            (method, *(Number(value=ranks[name, method]["mean_rank"], decimals=2) for name in part))
            for method in methods
        ]
        counts = ("over conditions", *(str(ranks[name, methods[0]]["num_conditions"]) for name in part))
        titles = columns("Method", *(SCORE_KINDS[name].title for name in part))
        tables.append(Table(heading=f"Mean rank under each score{continued}", columns=titles, rows=(*rows, counts)))
    return tables


def _agreement_table(board: AcrossBoard) -> Table:
    return table_of(
        f"Rank correlation with {SCORE_KINDS[board.score].title}",
        board.agreement,
        ("Score", lambda row: SCORE_KINDS[row["score"]].title),
        ("Spearman, mean", fixed("spearman", 2)),
        ("Least", fixed("least", 2)),
        ("Conditions", text("num_conditions")),
    )
