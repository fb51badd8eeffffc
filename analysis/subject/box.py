"""BoxSubject: trials over a box of knobs, the same points for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from analysis.losses import choose_loss
from analysis.scores.box.board import ScoredBox, box_board, score_box
from analysis.scores.box.importance import Evaluator, importances
from analysis.scores.box.knobs import BoxKnob
from analysis.scores.box.losses import box_losses
from analysis.scores.box.profiles import profiles
from analysis.subject.run import Run


@dataclass(frozen=True, kw_only=True)
class BoxSubject(Run):
    """Trials over a box of knobs, the same points for every method; fields that a Subject has are as there.

    places: PLACE_COLUMNS of analysis.scores.box.losses. points: one row a point, with its replicate and values. units:
    the same in the unit cube. knobs: those of the box. design: how its points are drawn, qmc or random.
    evaluators: of the importance of knobs.
    """

    results: pl.DataFrame
    places: pl.DataFrame
    points: pl.DataFrame
    units: pl.DataFrame
    knobs: Sequence[BoxKnob]
    design: str
    loss: str = "train"
    controls: Mapping[str, str] = field(default_factory=dict)
    evaluators: Mapping[str, Evaluator] = field(default_factory=dict)

    @cached_property
    def boxes(self) -> list[ScoredBox]:
        """Losses and scores of each workload, optimizer and knobs that are compared apart."""
        scored = choose_loss(self.results, self.loss)
        return [score_box(losses, self.controls) for losses in box_losses(scored, self.places, self.points)]

    @cached_property
    def importance(self) -> pl.DataFrame:
        """IMPORTANCE_COLUMNS, by the evaluators that there are."""
        return importances(self.boxes, self.units, self.knobs, self.evaluators)

    @cached_property
    def profiles(self) -> pl.DataFrame:
        """PROFILE_COLUMNS."""
        return profiles(self.boxes, self.units, self.knobs)

    @property
    def trials(self) -> pl.DataFrame:
        """One row a point and seed of each method: labels, the point and its values, outcome and losses.

        A knob that is named as a label, `optimizer` of a box that draws it, has its value as `optimizer_drawn`.
        """
        ended = self.results.select("trial_id", "seed", "outcome", "initial_loss", "final_loss", "val_loss")
        joined = self.places.join(self.points, on="point", suffix="_drawn").join(ended, on="trial_id")
        return joined.sort("workload", "method", "optimizer", "knobs", "point", "seed")

    @cached_property
    def board(self) -> pl.DataFrame:
        """BOX_COLUMNS."""
        return box_board(self.boxes)
