"""REGISTRY: what each number of a report is, whatever it is a score of; a leaderboard's columns, sources and units."""

from __future__ import annotations

from analysis.scores.box.numbers import BOX_SCORES
from analysis.scores.definition import Definition
from analysis.scores.generalisation import HELD_OUT_SCORES
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.knobs import KNOB_SCORES

REGISTRY: dict[str, Definition] = {**SCORE_KINDS, **HELD_OUT_SCORES, **KNOB_SCORES, **BOX_SCORES}
