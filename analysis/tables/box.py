"""Robustness to a box of knobs, as tables."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from analysis.curves import groups_of, label_of
from analysis.scores.box.board import BOX_COLUMNS, DIFFERENCE_COLUMNS
from analysis.scores.box.curves import OVERTAKING_COLUMNS
from analysis.scores.box.importance import IMPORTANCE_COLUMNS
from analysis.scores.box.numbers import BOX_SCORES
from analysis.scores.box.pairs import INTERACTION_COLUMNS, strongest
from analysis.scores.box.profiles import EDGE_COLUMNS
from analysis.scores.box.shares import BUDGET, DELTA, QUANTILES
from analysis.scores.seeds.rank_ranges import rank_text
from analysis.tables.forms.rows import Filled, Row, bracketed, fixed, flags, table_of, text
from analysis.tables.forms.table import NOTHING, Cell, Group, Number

BOARD_NOTE = (
    "The robust share is the share of the runs at settings drawn from the box that keep all but "
    f"{DELTA:.0%} of what the method's best learns, its best being the expected best of {BUDGET} draws; brackets: "
    "95% interval over replicates of the design and seeds. Rank: the ranks that these leave possible, with 95% "
    "confidence for all at once (pairs compared at the same points with the same seeds, Holm's correction). Losses: a "
    "diverged run counts as its loss at init."
)
QUANTILE_NOTE = (
    "The loss that so much of the box does not exceed. Where a cliff lies at that quantile, its interval says too "
    "little."
)
DIFFERENCE_NOTE = "First minus second, at the same points with the same seeds; p corrected by Holm for each score."
IMPORTANCE_NOTE = (
    "Brackets: 95% interval over replicates of the design; fanova is the share that a knob explains alone."
)
MOST_PAIRS = 8
PAIR_NOTE = (
    "The share of the variance of the loss that both knobs explain beyond what each explains alone, the largest first "
    "(mean over methods); brackets: 95% interval over replicates of the design. pairs.csv has all pairs."
)
EDGE_NOTE = (
    "Parts of a knob's range next to its best one that keep half of what the best learns, with all other knobs drawn "
    "(on average) or tuned (by as many draws of 32 as fall there); ≤ and ≥: there the box ends. –: no part does."
)
OVERTAKING_NOTE = (
    "Expected loss of the best of so many random draws: who is behind with one draw, and ahead for good from so many "
    "on. Differences are of the overtaking method minus the other, with one draw and with the most; p corrected by "
    "Holm."
)

_PLACE = ("workload", "optimizer", "knobs")
_DIVERGED: Filled = ("Diverged", fixed("diverged_share", 2))


def board_group(board: pl.DataFrame) -> Group:
    """A table for each workload, optimizer and knobs of a frame of BOX_COLUMNS."""
    assert board.columns == list(BOX_COLUMNS)
    names = ("robust_share", "robust_share_board", f"expected_best_{BUDGET}", "box_sensitivity", "tuning_gap")
    return _ranked("Robust to the box", board, *map(_scored, names), _DIVERGED, ("Flags", flags), note=BOARD_NOTE)


def paper_group(board: pl.DataFrame) -> Group:
    """As `board_group`, without what a page has no room for."""
    assert board.columns == list(BOX_COLUMNS)
    names = ("robust_share", f"expected_best_{BUDGET}", "tuning_gap")
    return _ranked("Robust to the box", board, *map(_scored, names), _DIVERGED, note=BOARD_NOTE)


def quantile_group(board: pl.DataFrame) -> Group:
    """Losses at quantiles of the box, and without tuning."""
    names = (*(f"loss_q{round(100 * quantile)}" for quantile in QUANTILES), "loss_untuned")
    return _ranked("Losses over the box", board, *map(_scored, names), note=QUANTILE_NOTE)


def difference_group(frame: pl.DataFrame, score: str) -> Group:
    """Every pair of methods under a score, of a frame of DIFFERENCE_COLUMNS."""
    assert frame.columns == list(DIFFERENCE_COLUMNS)
    return _placed(
        f"Differences in {BOX_SCORES[score].title.lower()}",
        frame.filter(score=score),
        ("First", text("first")),
        ("Second", text("second")),
        bracketed("Difference", "difference", "ci", 3),
        _p("p", "p_holm"),
        note=DIFFERENCE_NOTE,
    )


def overtaking_group(frame: pl.DataFrame) -> Group:
    """Who overtakes whom, of a frame of OVERTAKING_COLUMNS."""
    assert frame.columns == list(OVERTAKING_COLUMNS)
    return _placed(
        "Who overtakes whom",
        frame,
        ("Ahead with one draw", text("ahead")),
        ("Overtaken by", text("overtaken_by")),
        ("From draws", fixed("num_draws", 0)),
        ("Difference with one", fixed("first_difference", 3)),
        _p("p with one", "first_p_holm"),
        ("Difference with most", fixed("last_difference", 3)),
        _p("p with most", "last_p_holm"),
        note=OVERTAKING_NOTE,
    )


def importance_group(frame: pl.DataFrame) -> Group:
    """A line a knob and a column a method for each evaluator, of a frame of IMPORTANCE_COLUMNS."""
    assert frame.columns == list(IMPORTANCE_COLUMNS)
    tables = []
    for (*key, evaluator), rows in groups_of(frame, *_PLACE, "evaluator"):
        wide, cells = _by_method(rows, ("knob",), ("importance", "ci_low", "ci_high"), _share)
        heading = f"Importance by {evaluator}: {label_of(key)}"
        tables.append(table_of(heading, wide, ("Knob", text("knob")), *cells))
    return Group(tables=tuple(tables), note=IMPORTANCE_NOTE)


def pair_group(frame: pl.DataFrame) -> Group:
    """A line a pair of knobs, MOST_PAIRS at most, and a column a method, of a frame of INTERACTION_COLUMNS."""
    assert frame.columns == list(INTERACTION_COLUMNS)
    tables = []
    for key, rows in groups_of(frame, *_PLACE):
        wide, cells = _by_method(rows, ("first", "second"), ("interaction", "ci_low", "ci_high"), _share)
        largest = strongest(rows).head(MOST_PAIRS).join(wide, on=("first", "second"), maintain_order="left")
        names = (("Knob", text("first")), ("And", text("second")))
        tables.append(table_of(f"Knobs that act together: {label_of(key)}", largest, *names, *cells, num_names=2))
    return Group(tables=tuple(tables), note=PAIR_NOTE)


def edge_group(frame: pl.DataFrame) -> Group:
    """How far each knob can go by method, of a frame of EDGE_COLUMNS."""
    assert frame.columns == list(EDGE_COLUMNS)
    tables = []
    for key, rows in groups_of(frame, *_PLACE):
        wide, cells = _by_method(rows, ("knob", "others"), ("low", "high", "censored"), _range)
        names = (("Knob", text("knob")), ("Others", text("others")))
        tables.append(table_of(f"Stable range of each knob: {label_of(key)}", wide, *names, *cells, num_names=2))
    return Group(tables=tuple(tables), note=EDGE_NOTE)


def _ranked(title: str, board: pl.DataFrame, *filled: Filled, note: str) -> Group:
    """A table of the methods for each workload, optimizer and knobs, with their ranks before them."""
    rank = ("Rank", lambda row: rank_text(row["rank"], row["rank_worst"]))
    return _placed(title, board, rank, ("Method", text("method")), *filled, note=note)


def _placed(title: str, frame: pl.DataFrame, *filled: Filled, note: str) -> Group:
    """A table for each workload, optimizer and knobs, its first two columns names."""
    tables = (
        table_of(f"{title}: {label_of(key)}", rows, *filled, num_names=2) for key, rows in groups_of(frame, *_PLACE)
    )
    return Group(tables=tuple(tables), note=note)


def _by_method(
    rows: pl.DataFrame, index: tuple[str, ...], values: tuple[str, str, str], cell: Callable[..., Cell]
) -> tuple[pl.DataFrame, list[Filled]]:
    """The rows with a line for each value of the index, and a column a method: `cell` of the three values."""

    def of_method(method: str) -> Callable[[Row], Cell]:
        return lambda row: cell(*(row[f"{name}_{method}"] for name in values))

    methods = rows["method"].unique(maintain_order=True).to_list()
    return rows.pivot("method", index=index, values=values), [(method, of_method(method)) for method in methods]


def _share(value: float | None, low: float | None, high: float | None) -> Cell:
    return Number(value=value, low=low, high=high, decimals=2)


def _range(low: float | None, high: float | None, censored: str | None) -> Cell:
    if low is None:
        return NOTHING
    at_most, at_least = (
        ("≤ " if censored in ("low", "both") else ""),
        ("≥ " if censored in ("high", "both") else ""),
    )
    return f"{at_most}{low:.3g} to {at_least}{high:.3g}"


def _scored(name: str) -> Filled:
    return bracketed(BOX_SCORES[name].title, name, f"{name}_ci", 3)


def _p(title: str, name: str) -> Filled:
    return title, lambda row: "< 0.001" if row[name] < 0.001 else f"{row[name]:.3f}"
