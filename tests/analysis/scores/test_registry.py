"""Every score keeps to what its entry says, and a new entry is all that a new score takes."""

import dataclasses

import polars as pl
import pytest

from analysis.report.score_sections import other_scores
from analysis.scores.box.numbers import BOX_SCORES
from analysis.scores.generalisation import HELD_OUT_SCORES
from analysis.scores.joint_maps import STABLE_AREA_COLUMNS
from analysis.scores.kinds import SCORE_KINDS, ScoreKind
from analysis.scores.knobs import KNOB_SCORES, KNOB_SENSITIVITY_COLUMNS, LR_TRANSFER_COLUMNS
from analysis.scores.parts import whole
from analysis.scores.registry import REGISTRY
from analysis.scores.seeds.statistics import smooth
from analysis.scores.table import score_table
from tests.analysis.scored_results import scored_entries
from tests.analysis.synthetic_results import results, traces

NUM_KEYS = 21


@pytest.fixture(scope="module")
def entries():
    found = results()
    return scored_entries(found, traces(found), NUM_KEYS, "train")


def test_no_name_is_of_two_scores():
    assert len(REGISTRY) == len(SCORE_KINDS) + len(HELD_OUT_SCORES) + len(KNOB_SCORES) + len(BOX_SCORES)


def test_values_keep_to_the_bounds_of_their_score(entries):
    for name, score, value in score_table(entries, "train").select("method", "score", "value").drop_nulls().rows():
        least, largest = SCORE_KINDS[score].bounds
        assert least <= value <= largest, (name, score)


def test_an_interval_is_around_the_value_of_the_function(entries):
    for name, kind in SCORE_KINDS.items():
        for grid in (part.grid for part in map(kind.part, entries) if part.grid is not None):
            expected = float(kind.function(*grid.data))
            assert kind.statistic.estimate(grid).value == pytest.approx(expected, rel=1e-14, nan_ok=True), name


def test_scores_of_knobs_are_columns_of_their_frames():
    assert set(KNOB_SCORES) <= {*KNOB_SENSITIVITY_COLUMNS, *LR_TRANSFER_COLUMNS, *STABLE_AREA_COLUMNS}


def test_a_new_score_is_one_entry(entries, monkeypatch):
    def worst_loss(losses_LS, initial_S, lrs_L):
        return losses_LS.mean(-1).clip(max=initial_S.mean()).max(-1)

    kind = ScoreKind(
        title="Worst loss",
        definition="largest over the learning rates of the loss averaged over seeds, clipped at that at init",
        unit="loss",
        bounds=(0.0, 10.0),
        higher_is_better=False,
        part=whole,
        function=worst_loss,
        spread=smooth,
    )
    monkeypatch.setitem(SCORE_KINDS, "worst_loss", kind)
    table = score_table(entries, "train").filter(score="worst_loss")
    assert table["value"].to_list() == [pytest.approx(worst_loss(*_of(entry.grid))) for entry in entries]
    section = other_scores(entries, "train")
    assert section.definitions["worst_loss"] == kind.definition
    assert "Worst loss" in section.html
    assert not kind.needs_traces


def test_units_of_differences(entries):
    assert SCORE_KINDS["best_lr"].difference_unit == "decades"
    assert dataclasses.replace(SCORE_KINDS["best_lr"], unit="steps").difference_unit == "steps"
    assert score_table(entries, "train")["unit"].dtype == pl.String


def _of(grid):
    return grid.data
