"""The map of divergence: worked out by hand, and drawn."""

import math

import pytest

from analysis.figures.diverged import diverged_map_chart
from analysis.figures.frames.diverged_map import diverged_map, divergence_words
from analysis.figures.lr_loss import save_spec
from bench.errors import UsageError
from tests.analysis.synthetic_results import frame, results, row


@pytest.fixture
def cells():
    rows = [
        row("b", 0.1, 0, 1.0),
        row("b", 1.0, 0, math.inf, diverged_step=7),
        row("b", 0.1, 1, None),
        row("b", 1.0, 1, math.inf, diverged_step=None),
        row("a", 1.0, 0, math.inf, diverged_step=40),
        row("a", 0.1, 0, None, trial_id="lost"),
        row("a", 0.1, 0, 2.0, trial_id="again"),
    ]
    return diverged_map(frame(rows))


def test_map_worked_by_hand(cells):
    assert cells.select("method", "lr", "seed", "state", "step").rows() == [
        ("a", 0.1, 0, "completed", None),  # a lost trial gives way to its result
        ("a", 1.0, 0, "diverged", 40),
        ("b", 0.1, 0, "completed", None),
        ("b", 0.1, 1, "lost", None),
        ("b", 1.0, 0, "diverged", 7),
        ("b", 1.0, 1, "diverged", None),  # the step is not known
    ]


def test_other_knobs_have_cells_of_their_own():
    rows = [row("a", 0.1, 0, 1.0, warmup_steps=warmup) for warmup in (0.0, 5.0)]
    assert diverged_map(frame(rows))["knobs"].to_list() == ["warmup_steps=0", "warmup_steps=5"]


def test_two_results_for_one_cell_are_refused():
    with pytest.raises(UsageError, match="several trials"):
        diverged_map(frame([row("a", 0.1, 0, loss, trial_id=str(loss)) for loss in (1.0, 2.0)]))


def test_divergence_in_words(cells):
    assert divergence_words(cells) == (
        "3 of 5 trials diverged, the first at step 7, half of them by step 7, the last at step 40. "
        "1 more were lost (crashed, out of memory or timed out)."
    )
    assert divergence_words(cells.filter(state="completed")) == "None of 2 trials diverged."


def test_a_run_that_ends_far_above_its_loss_at_init_is_told_apart():
    found = diverged_map(frame([row("a", 0.1, 0, 1.0), row("a", 1.0, 0, 5231.0), row("a", 3.0, 0, 4.3)]))
    assert found["state"].to_list() == ["completed", "blown up", "stuck"]
    told = "None of 3 trials diverged. 1 completed, but ended above their loss at init. 1 completed without learning."
    assert divergence_words(found) == told


def test_map_is_drawn_with_all_states(cells, tmp_path):
    chart = diverged_map_chart(cells, title="How trials ended")
    scale = chart.to_dict()["spec"]["layer"][2]["encoding"]["color"]["scale"]
    assert (scale["type"], scale["domain"]) == ("log", [8, 41])
    svg = save_spec(chart.to_dict(), tmp_path, "map", [])[0].read_text(encoding="utf-8")
    assert svg.count('fill="#dfe3e8"') == cells.filter(state="completed").height
    assert [svg.count(f">{method}</text>") for method in "ab"] == [1, 1]
    for what, number in (("completed; step: null", 2), ("diverged; step: 7", 1), ("diverged; step: null", 1)):
        assert svg.count(f"state: {what}") == number


def test_map_without_known_steps_is_drawn(tmp_path):
    lost = diverged_map(frame([row("a", 0.1, 0, None), row("a", 1.0, 0, math.inf, diverged_step=None)]))
    (path,) = save_spec(diverged_map_chart(lost, title="").to_dict(), tmp_path, "map", [])
    assert path.read_text(encoding="utf-8").startswith("<svg")


def test_every_trial_of_a_suite_has_a_cell():
    assert diverged_map(results(num_seeds=2)).height == 7 * 19 * 2
