"""The sections of the page of a box: board, curves, who overtakes whom, which knob matters. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from analysis.curves import groups_of, label_of
from analysis.figures.box import budget_plot, cell_plot, importance_plot, parallel_plot, profile_plot, share_plot
from analysis.figures.of_a_suite import Drawn, each_drawn
from analysis.losses import SCORED_LOSSES
from analysis.report.search_kinds import DESIGNS
from analysis.report.section import Section
from analysis.report.summary import listed
from analysis.scores.box.board import RANKED_BY, box_differences
from analysis.scores.box.curves import budget_curves, overtakings, share_curves
from analysis.scores.box.importance import EVALUATORS
from analysis.scores.box.numbers import BOX_SCORES
from analysis.scores.box.pairs import CELL_COLUMNS, cells, interactions, strongest
from analysis.scores.box.profiles import MOST_POINTS, edges, point_regrets
from analysis.scores.box.shares import BUDGET, DELTA
from analysis.scores.controls import floor_sentences
from analysis.scores.seeds.rank_ranges import rank_text
from analysis.subject import BoxSubject
from analysis.tables.box import (
    board_group,
    difference_group,
    edge_group,
    importance_group,
    overtaking_group,
    pair_group,
    quantile_group,
)

_IMPORTANCE_NOTE = "Bars: 95% interval over replicates of the design"
_PROFILE_NOTE = "Solid: all other knobs drawn (mean); dashed: tuned (expected best of the draws of 32 that fall there)"
_POINT_NOTE = f"A line a point, of {MOST_POINTS} at most; a diverged run loses all"
_CELL_NOTE = (
    f"Share of the runs that keep all but {DELTA:.0%} of what the method's best learns, all other knobs drawn; the "
    "pair that acts together most"
)
_PLACE = ("workload", "optimizer", "knobs")
_BAND = "Band: 95% interval over replicates of the design and seeds"
_BESTS = {"own": "the method's own best", "board": "the least best of all methods"}


def box_sections(subject: BoxSubject) -> list[Section]:
    """The sections that the subject has something for."""
    board, boxes = subject.board, subject.boxes
    shares, budgets, behind, differences = (
        share_curves(boxes), budget_curves(boxes), overtakings(boxes), box_differences(boxes)
    )  # fmt: skip
    definitions = {name: one.definition for name, one in BOX_SCORES.items()}
    definitions |= {subject.design: DESIGNS[subject.design].definition("design")}
    sections = (
        Section(title="Board", groups=(board_group(board),), data={}, definitions=definitions),
        Section(
            title="Robust share over delta",
            groups=(difference_group(differences, RANKED_BY),),
            data={"robust_share.csv": shares, "box_differences.csv": differences},
            figures=tuple(_share_figures(shares)),
        ),
        Section(
            title="Best of so many draws",
            groups=(overtaking_group(behind), difference_group(differences, f"expected_best_{BUDGET}")),
            data={"expected_best.csv": budgets, "overtaking.csv": behind},
            figures=tuple(_budget_figures(budgets, subject.loss)),
        ),
        _importance(subject),
        _pairs(subject),
        _profiles(subject),
        Section(
            title="Losses over the box",
            groups=(quantile_group(board),),
            data={},
            figures=tuple(_parallel_figures(subject)),
        ),
    )
    return [section for section in sections if not section.is_empty or section.figures]


def _importance(subject: BoxSubject) -> Section:
    """Which knob matters for which method."""
    importance, words = subject.importance, {"title": "Which knob matters", "note": _IMPORTANCE_NOTE}
    figures = each_drawn(importance_plot, importance, *_PLACE, kind="importance", **words)
    return Section(
        title="Which knob matters",
        groups=(importance_group(importance),),
        data={"importance.csv": importance},
        figures=tuple(figures),
        definitions=EVALUATORS if importance.height else {},
    )


def _pairs(subject: BoxSubject) -> Section:
    """Which knobs act together, and a map of what is kept over the pair that does most."""
    pairs = interactions(subject.boxes, subject.units, subject.knobs)
    knobs, frames, figures = {knob.name: knob for knob in subject.knobs}, [pl.DataFrame(schema=CELL_COLUMNS)], []
    for box in subject.boxes if pairs.height else ():
        group = box.losses.group
        first, second = strongest(pairs.filter(**group)).row(0)
        rows = cells(box, subject.units, knobs[first], knobs[second])
        title, place = f"What is kept over {first} and {second}", label_of(group.values())
        figures.append(Drawn.of(cell_plot, rows, kind="pairs", title=title, place=place, note=_CELL_NOTE))
        frames.append(rows)
    return Section(
        title="Which knobs act together",
        groups=(pair_group(pairs),),
        data={"pairs.csv": pairs, "pair_cells.csv": pl.concat(frames)},
        figures=tuple(figures),
    )


def _profiles(subject: BoxSubject) -> Section:
    """Losses along each knob, and how far one can go."""
    profiles, loss = subject.profiles, SCORED_LOSSES[subject.loss].title
    words = {"title": "Loss along each knob", "note": _PROFILE_NOTE, "loss": loss}
    figures, reach = each_drawn(profile_plot, profiles, *_PLACE, kind="profiles", **words), edges(profiles)
    return Section(
        title="How far each knob can go",
        groups=(edge_group(reach),),
        data={"profiles.csv": profiles, "edges.csv": reach},
        figures=tuple(figures),
    )


def _parallel_figures(subject: BoxSubject) -> list[Drawn]:
    """The points of the box and what each loses, a figure a method."""
    regrets, words = point_regrets(subject.boxes, subject.units), {"title": "What the points of the box lose"}
    names = ("workload", "method", "optimizer", "knobs")
    return each_drawn(parallel_plot, regrets, *names, kind="points", note=_POINT_NOTE, **words)


def box_sentences(subject: BoxSubject) -> list[str]:
    """What was drawn, who is most robust on each workload, and how far its A/A controls lie from their methods."""
    board = subject.board
    parts = groups_of(board, *_PLACE)
    sentences = [(f"On {label_of(key)}: " if len(parts) > 1 else "") + _best(rows) for key, rows in parts]
    return [*sentences, *floor_sentences(board, over="designs and seeds")]


def _best(rows: pl.DataFrame) -> str:
    ranked = rows.filter(pl.col("rank").is_not_null())
    if ranked.is_empty():
        return "No method learned enough to be called robust."
    first = ranked.row(0, named=True)
    share = f"{first['robust_share']:.0%}"
    if first["robust_share_ci_low"] is not None:
        share += f" (95% interval {first['robust_share_ci_low']:.0%} to {first['robust_share_ci_high']:.0%})"
    sentence = f"{first['method']} keeps {1 - DELTA:.0%} of what its best learns in {share} of the runs over the box"
    if first["rank_worst"] == 1:
        return f"{sentence}, more than any other method that is compared."
    if ranked.height == 1:
        return f"{sentence}."
    tied = ranked.filter(pl.col("rank") == 1)["method"].to_list()[1:]
    among = f", not told apart from {listed(tied)}" if tied else ""
    return f"{sentence}, the largest share; its rank is {rank_text(first['rank'], first['rank_worst'])}{among}."


def _share_figures(shares: pl.DataFrame) -> Iterator[Drawn]:
    title = "How much of the box is within delta of the best"
    for (*key, best), rows in groups_of(shares, *_PLACE, "best"):
        place = label_of(key)
        draw = partial(share_plot, rows, title=title, subtitle=f"{place}\nBest: {_BESTS[best]}. {_BAND}")
        full = f"{title} ({_BESTS[best]})"
        yield Drawn(kind=f"robust_share_{best}", title=full, place=place, draw=draw, summary=rows)


def _budget_figures(budgets: pl.DataFrame, loss: str) -> list[Drawn]:
    words = {"title": "Expected loss of the best of so many random draws", "note": _BAND}
    return each_drawn(budget_plot, budgets, *_PLACE, kind="expected_best", loss=SCORED_LOSSES[loss].title, **words)
