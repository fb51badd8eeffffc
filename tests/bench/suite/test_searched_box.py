"""A suite that searches its box: what is trained, what is refused, with its place."""

import pytest

from bench.errors import UsageError
from bench.suite import Suite, parse_suite

GOOD = """\
name: b
workloads: [{name: in_context_regression, num_steps: 50}]
methods: [softmax, relu_kernel]
optimizers: [adamw, lion]
box:
  lr: {log: [1e-4, 1]}
  warmup_steps: {int: [0, 50]}
  optimizer: [adamw, lion]
  beta2: {linear: [0.9, 0.999], when: {optimizer: [adamw]}}
search: {name: tune_box, budget: 60, startup: 8}
seeds: 2
probe_every: 10
"""


def parsed(text: str = GOOD) -> Suite:
    return parse_suite(text, file_name="b.yaml")


def test_each_method_has_its_budget_and_starts_from_the_same_settings():
    suite = parsed()
    assert suite.num_trials == suite.most_trials == 2 * 60
    trials = suite.expand()
    assert len(trials) == 2 * 8 * 2
    settings = {"softmax": [], "relu_kernel": []}
    for one in trials:
        settings[one.method.name].append((one.knobs, one.optimizer.label, tuple(one.settings.items())))
    assert settings["softmax"] == settings["relu_kernel"]


def test_it_survives_its_own_text_and_another_budget():
    suite = parsed()
    assert Suite.model_validate(suite.model_dump(mode="json")) == suite
    assert suite.with_budget(40).searcher.budget == 40


# What replaces what in GOOD, where the error stands, and what it says.
EDITS = {
    "a budget below the first round": ("budget: 60", "budget: 15", "10:34", "8 settings x 2 seeds = 16 trials, got 15"),
    "a default budget too small": ("budget: 60, startup: 8", "startup: 200", "10:16", "= 400 trials, got 240"),
    "a search over one knob": ("{name: tune_box, budget: 60, startup: 8}", "edge", "10:9", "required tune_box"),
    "a knob of its own": ("budget: 60", "knob: lr", "10:32", "all knobs of the box are searched; remove knob"),
    "its space": ("budget: 60", "space: 1", "10:33", "space comes from the suite's box"),
    "unknown sampler": (
        "startup: 8",
        "sampler: tpee",
        "10:47",
        "must be 'tpe', 'gp', 'cmaes', 'nsga2', 'random' or 'q",
    ),
    "no worst seed of one": (
        "seeds: 2",
        "seeds: 1",
        "10:47",
        "weighs the mean over seeds against the worst; required two",
    ),
    "no box": (GOOD[GOOD.index("box:") : GOOD.index("search:")], "knobs: {lr: [0.1, 1]}\n", "6:16", "is over a box"),
    "too many trials": ("budget: 60", "budget: 1000000", "10:34", "a suite must have at most"),
    "1e9 combinations": (
        "  optimizer: [adam",
        "  batch_size: {int: [1, 1000]}\n  num_steps: {int: [51, 1000]}\n  depth: {int: [1, 1000]}\n  optimizer: [adam",
        "8:15",
        "1,900,000,000 kinds of packs; they must make at most 10,000",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_broken_search_says_where_and_what_was_required(name):
    old, new, place, words = EDITS[name]
    good = GOOD.replace("startup: 8", "sampler: nsga2, startup: 8") if name == "no worst seed of one" else GOOD
    assert old in good, name
    with pytest.raises(UsageError) as caught:
        parsed(good.replace(old, new, 1))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"b.yaml:{place}: "), line
    assert words in line
