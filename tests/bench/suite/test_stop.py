"""`stop:` of a suite: what it reads as, and what is refused, with its place."""

import pytest

from bench.errors import UsageError
from bench.suite import Suite, parse_suite

BOX = """\
name: b
workloads: [{name: in_context_regression, num_steps: 90}]
methods: [softmax]
optimizers: [adamw]
box: {lr: {log: [1e-4, 1]}, weight_decay: {log: [1e-5, 1]}}
search: {name: tune_box, budget: 60, startup: 8}
stop: halving
seeds: 4
probe_every: 10
"""
GRID = """\
name: b
workloads: [{name: in_context_regression, num_steps: 90}]
methods: [softmax]
optimizers: [adamw]
knobs: {lr: [1e-4, 1]}
search: tune
stop: {worse_than: median, first_step: 20, reduction_factor: 2}
seeds: 4
probe_every: 10
"""


def test_a_name_alone_stands_for_a_rule_from_a_ninth_of_the_steps_on():
    suite = parse_suite(BOX, file_name="b.yaml")
    assert suite.stop is not None
    assert suite.stop.rule(90).rungs == (10, 30)
    assert parse_suite(GRID, file_name="b.yaml").stop.rule(90).rungs == (20, 40, 80)


@pytest.mark.parametrize("text", [BOX, GRID])
def test_it_survives_its_own_text_and_another_budget(text):
    suite = parse_suite(text, file_name="b.yaml")
    assert Suite.model_validate(suite.model_dump(mode="json")) == suite
    assert suite.with_budget(50).stop == suite.stop
    assert "stop" not in parse_suite(text.replace("stop:", "# "), file_name="b.yaml").model_dump()


# Which suite, what replaces what in it, where the error stands, and what it says.
EDITS = {
    "an unknown rule": (BOX, "halving", "halvings", "7:7", "must be 'median', 'halving', 'hyperband' or 'wilcoxon'"),
    "a rung beyond the last step": (GRID, "first_step: 20", "first_step: 90", "7:40", "below num_steps of every work"),
    "a factor of one": (
        GRID,
        "reduction_factor: 2",
        "reduction_factor: 1",
        "7:62",
        "greater than or equal to 2",
    ),
    "an unknown key": (GRID, "first_step", "first_stop", "7:28", "did you mean 'first_step'"),
    "a p-value of another rule": (GRID, "first_step: 20", "p_threshold: 0.2", "7:28", "p_threshold is wilcoxon's"),
    "seeds one at a time": (GRID, "worse_than: median", "worse_than: wilcoxon", "7:20", "asks for one seed at a time"),
    "too few seeds": (
        BOX.replace("seeds: 4", "seeds: 3"),
        "halving",
        "wilcoxon",
        "7:7",
        "needs at least 4 seeds",
    ),
    "a grid": (
        GRID,
        "search: tune",
        "# grid",
        "7:1",
        "the leaderboard needs the final loss",
    ),
    "a design": (
        BOX,
        "search: {name: tune_box, budget: 60, startup: 8}",
        "design: {num_points: 64}",
        "7:1",
        "of a box",
    ),
    "a worst seed": (BOX, "{name: tune_box, ", "{name: tune_box, sampler: nsga2, ", "7:1", "nsga2 weighs final losses"),
    "an edge": (GRID, "search: tune", "search: edge", "7:1", "edge needs the final loss of every trial"),
    "steps that are drawn": (
        BOX,
        "weight_decay: {log: [1e-5, 1]",
        "num_steps: {int: [80, 90]",
        "7:1",
        "num_steps",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_cannot_be_stopped_is_refused_in_one_line(edit):
    text, old, new, place, told = EDITS[edit]
    assert text.count(old) == 1
    with pytest.raises(UsageError) as caught:
        parse_suite(text.replace(old, new), file_name="b.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"b.yaml:{place}:")
    assert told in line
