"""The box of a suite: its points and measure, its trials, and what is refused, with its place."""

import math

import numpy as np
import pytest
from scipy import stats

from bench.errors import UsageError
from bench.suite import Suite, parse_suite
from bench.suite.box import KnobRange
from bench.training.pack import make_packs

GOOD = """\
name: b
workloads: [{name: in_context_regression, num_steps: 50}]
methods: [softmax, relu_kernel]
optimizers: [adamw, lion]
box:
  lr: {log: [1e-4, 1]}
  weight_decay: {log: [1e-5, 1], zero: 0.1}
  warmup_steps: {int: [0, 50]}
  grad_clip: {log: [0.1, 10], off: 0.25}
  optimizer: [adamw, lion]
  beta2: {linear: [0.9, 0.999], when: {optimizer: [adamw]}}
design: {name: qmc, num_points: 64, num_replicates: 4}
seeds: 2
probe_every: 10
"""


def parsed(text: str = GOOD) -> Suite:
    return parse_suite(text, file_name="b.yaml")


@pytest.fixture(scope="module")
def suite() -> Suite:
    return parsed()


def test_every_method_has_every_point_with_every_seed(suite):
    trials = suite.expand()
    assert len(trials) == suite.num_trials == 2 * 64 * 2 == len({trial.id for trial in trials})
    settings = {}
    for trial in trials:
        point = (trial.knobs, trial.optimizer.label, tuple(trial.settings.items()))
        settings.setdefault(trial.method.label, {}).setdefault(point, []).append(trial.seed)
    assert settings["softmax"] == settings["relu_kernel"], "the same points, the same seeds"
    assert set(map(tuple, settings["softmax"].values())) == {(0, 1)}


def test_points_are_those_of_scipys_sobol_engine(suite):
    points = np.array([point.unit for point in suite.box_points])
    seeds = np.random.SeedSequence(0).generate_state(4)
    direct = [stats.qmc.Sobol(6, scramble=True, seed=int(seed)).random(16) for seed in seeds]
    np.testing.assert_array_equal(points, np.concatenate(direct))


def test_points_stay_what_they_were(suite):
    """Ids of trials follow from them: what an earlier start trained is found again."""
    first = suite.box_trials[0].trial
    assert (first.knobs.lr, first.knobs.warmup_steps, first.id) == FIRST


FIRST = (0.01064, 29.0, "1dee8a6466336785")


def test_more_points_add_to_a_design_and_keep_its_points(suite):
    ids = {trial.id for trial in suite.expand()}
    assert ids < {trial.id for trial in parsed(GOOD.replace("num_points: 64", "num_points: 128")).expand()}


@pytest.mark.parametrize("edit", [("num_replicates: 4", "num_replicates: 4, seed: 1"), ("name: qmc", "name: random")])
def test_another_seed_or_design_has_other_points(suite, edit):
    other = parsed(GOOD.replace(*edit))
    assert not {trial.id for trial in suite.expand()} & {trial.id for trial in other.expand()}


@pytest.mark.parametrize("design", ["qmc", pytest.param("random", marks=pytest.mark.repetition)])
def test_points_follow_the_declared_measure(design):
    text = GOOD.replace("name: qmc, num_points: 64", f"name: {design}, num_points: 1024")
    values = [point.values for point in parsed(text).box_points]
    zeros = np.mean([one["weight_decay"] == 0 for one in values])
    off = np.mean([math.isinf(one["grad_clip"]) for one in values])
    adamw = np.mean([one["optimizer"] == "adamw" for one in values])
    assert (zeros, off, adamw) == pytest.approx((0.1, 0.25, 0.5), abs=0.045)
    lrs = np.log10([one["lr"] for one in values])
    assert stats.kstest((lrs + 4) / 4, "uniform").pvalue > 0.01
    decays = np.log10([one["weight_decay"] for one in values if one["weight_decay"]])
    assert stats.kstest((decays + 5) / 5, "uniform").pvalue > 0.01
    counts = np.bincount([one["warmup_steps"] for one in values], minlength=51)
    assert counts.min() > 0
    assert stats.chisquare(counts).pvalue > 0.01


def test_a_conditional_knob_acts_with_its_parent_alone(suite):
    for trial in suite.expand():
        assert ("beta2" in trial.settings) == (trial.optimizer.label == "adamw")
    lion = {trial.optimizer for trial in suite.expand() if trial.optimizer.name == "lion"}
    assert len(lion) == 1


def test_a_knob_that_an_optimizer_does_not_read_has_its_default_there():
    text = GOOD.replace("lion", "adafactor")
    trials = parsed(text).expand()
    assert {trial.knobs.weight_decay for trial in trials if trial.optimizer.name == "adafactor"} == {0.0}
    assert len({trial.knobs.weight_decay for trial in trials if trial.optimizer.name == "adamw"}) > 20


def test_lane_knobs_fill_packs_and_others_make_them(suite):
    packs = make_packs(suite.expand(), max_lanes=1000)
    assert sorted((pack.trials[0].method.label, pack.trials[0].optimizer.label) for pack in packs) == [
        (method, optimizer) for method in ("relu_kernel", "softmax") for optimizer in ("adamw", "lion")
    ]


def test_a_knob_of_the_workload_is_drawn_and_kept_in_the_settings():
    suite = parsed(
        GOOD.replace("  beta2: {linear: [0.9, 0.999], when: {optimizer: [adamw]}}", "  batch_size: [16, 32]")
    )
    assert {trial.settings["batch_size"] for trial in suite.expand()} == {16, 32}
    assert len({trial.workload.label for trial in suite.expand()}) == 1


def test_a_suite_with_a_box_survives_its_own_text(suite):
    plain = suite.model_dump(mode="json")
    assert Suite.model_validate(plain) == suite
    assert hash(Suite.model_validate(plain)) == hash(suite)
    with_knobs = parsed(GOOD + "knobs: {init_scale: 2.0}\n")
    assert Suite.model_validate(with_knobs.model_dump(mode="json")).expand() == with_knobs.expand()
    assert {trial.knobs.init_scale for trial in with_knobs.expand()} == {2.0}


def test_equal_points_share_their_trials():
    """Of whole numbers and lists alone, points may come out equal."""
    text = GOOD[: GOOD.index("box:")] + (
        "knobs: {lr: 0.1}\nbox: {warmup_steps: {int: [0, 15]}}\n"
        "design: {name: random, num_points: 16, num_replicates: 2}\nseeds: 1\nprobe_every: 10\n"
    )
    suite = parsed(text)
    assert len(suite.expand()) == suite.num_trials < 2 * 2 * 16 == len(suite.box_trials)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.0999])
def test_zero_takes_its_share_and_the_rest_keeps_its_measure(share):
    one = KnobRange.model_validate({"log": [1e-4, 1.0], "zero": 0.1})
    assert one.value_at(share) == 0.0
    assert one.value_at(0.1) == 1e-4
    assert one.value_at(0.55) == 0.01


# What replaces what in GOOD, where the error stands, and what it says.
EDITS = {
    "empty": ("{log: [1e-4, 1]}", "{log: []}", "6:13", "log[0] is required"),
    "inverted": ("{log: [1e-4, 1]}", "{log: [1, 1e-4]}", "6:13", "log must be [low, high], low first"),
    "one value": ("{int: [0, 50]}", "{int: [7, 7]}", "8:23", "low first, got [7, 7]"),
    "log of 0": ("{log: [1e-4, 1]}", "{log: [0, 1]}", "6:14", "must be greater than 0, got 0"),
    "infinite": ("{log: [1e-4, 1]}", "{log: [1e-4, .inf]}", "6:20", "must be a finite number"),
    "no form": ("{log: [1e-4, 1]}", "{}", "6:7", "one of log, linear, int, values, got none"),
    "two forms": ("{log: [1e-4, 1]}", "{log: [1e-4, 1], linear: [0, 1]}", "6:7", "got log and linear"),
    "unknown form": ("{log: [1e-4, 1]}", "{lgo: [1e-4, 1]}", "6:8", "unknown key 'lgo'; did you mean 'log'?"),
    "a number": ("{log: [1e-4, 1]}", "0.1", "6:7", "must be a range or a list, got 0.1; one value stands in knobs"),
    "a list of one": ("[adamw, lion]\n  beta2", "[adamw]\n  beta2", "10:14", "values must be two or more"),
    "unknown knob": ("warmup_steps:", "warmup_stesp:", "8:3", "did you mean 'warmup_steps'?"),
    "no parent": ("when: {optimizer:", "when: {schedule:", "11:40", "'schedule', which must be a list of the box"),
    "parent never so": ("when: {optimizer: [adamw]}", "when: {optimizer: [sgd]}", "11:51", "optimizer is never 'sgd'"),
    "parent twice": ("when: {optimizer: [adamw]}", "when: {optimizer: [lion, lion]}", "11:51", "twice; remove one"),
    "parent acts at times": (
        "design:",
        "  schedule: {values: [a, b], when: {optimizer: [lion]}}\n"
        "  beta1: {linear: [0.5, 0.9], when: {schedule: [a]}}\ndesign:",
        "13:38",
        "beta1 acts for values of 'schedule', which must act everywhere; lists of the box that act everywhere: opt",
    ),
    "warmup beyond a drawn end": (
        "  optimizer: [adamw, lion]\n",
        "  num_steps: [40, 50]\n  optimizer: [adamw, lion]\n",
        "8:27",
        "warmup_steps must be at most num_steps of every workload (40), got 50",
    ),
    "zero of lr": ("{log: [1e-4, 1]}", "{log: [1e-4, 1], zero: 0.1}", "6:24", "lr must be above 0 everywhere"),
    "off of decay": ("zero: 0.1", "off: 0.1", "7:34", "off is for grad_clip"),
    "share above 1": ("zero: 0.1", "zero: 1.5", "7:40", "must be less than 1, got 1.5"),
    "warmup of fractions": ("{int: [0, 50]}", "{linear: [0, 50]}", "8:26", "whole numbers; write int"),
    "warmup beyond the end": ("{int: [0, 50]}", "{int: [0, 51]}", "8:27", "at most num_steps of every workload (50)"),
    "negative": ("{int: [0, 50]}", "{int: [-1, 50]}", "8:24", "must be greater than or equal to 0, got -1"),
    "a bound of the entry": ("{linear: [0.9, 0.999]", "{linear: [0.9, 1.5]", "11:25", "less than 1"),
    "not an entry": ("optimizer: [adamw, lion]\n", "optimizer: [adamw, lino]\n", "10:14", "did you mean 'lion'"),
    "methods": ("  lr: {log", "  method: [softmax, relu_kernel]\n  lr: {log", "6:3", "does not draw methods"),
    "no design": ("design: {name: qmc, num_points: 64, num_replicates: 4}\n", "", "5:1", "must have a design, or"),
    "not a power of two": ("num_points: 64", "num_points: 60", "12:33", "power of two points, got 60 / 4 = 15"),
    "not a multiple": ("num_points: 64", "num_points: 66", "12:33", "multiple of num_replicates (4), got 66"),
    "one replicate": ("num_replicates: 4", "num_replicates: 1", "12:53", "greater than or equal to 2"),
    "unknown design": ("name: qmc", "name: sobol", "12:16", "must be 'qmc' or 'random', got 'sobol'"),
    "in knobs, too": ("seeds: 2", "knobs: {lr: 0.1}\nseeds: 2", "13:9", "lr is in the box, too"),
    "a grid beside it": ("seeds: 2", "knobs: {init_scale: [1, 2]}\nseeds: 2", "13:21", "must have one value, got 2"),
    "a search beside it": ("seeds: 2", "search: edge\nseeds: 2", "13:1", "a box has a design or a search; remove one"),
    "no lr": ("  lr: {log: [1e-4, 1]}\n", "", "5:1", "lr is required, in the box or under knobs"),
    "1e9 combinations": (
        "  optimizer: [adamw, lion]\n",
        "  batch_size: {int: [1, 1000]}\n  num_steps: {int: [51, 1000]}\n  depth: {int: [1, 1000]}\n"
        "  optimizer: [adamw, lion]\n",
        "10:15",
        "1,900,000,000 kinds of packs; they must make at most 10,000",
    ),
    "a pack a point": (
        "optimizer: [adamw, lion]\n",
        "logit_scale: {log: [0.1, 10]}\n  optimizer: [adamw, lion]\n",
        "10:16",
        "a pack of each of its points",
    ),
    "another task": (
        "optimizer: [adamw, lion]\n",
        "num_pairs: [10, 20]\n  optimizer: [adamw, lion]\n",
        "10:14",
        "num_pairs makes another task",
    ),
    "no optimizer reads it": ("optimizers: [adamw, lion]", "optimizers: [adamw, shampoo]", "10:14", "none of"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_a_broken_box_says_where_and_what_was_required(name):
    old, new, place, words = EDITS[name]
    assert old in GOOD, name
    with pytest.raises(UsageError) as caught:
        parsed(GOOD.replace(old, new, 1))
    lines = str(caught.value).splitlines()
    assert any(line.startswith(f"b.yaml:{place}: ") and words in line for line in lines), lines
    assert len(lines) <= 2, lines


def test_a_knob_that_no_optimizer_reads_is_refused():
    text = GOOD.replace("  optimizer: [adamw, lion]\n", "").replace(", when: {optimizer: [adamw]}", "")
    with pytest.raises(UsageError, match=r"b.yaml:7:3: weight_decay has no effect with optimizer 'adafactor'"):
        parsed(text.replace("[adamw, lion]", "[adamw, adafactor]"))
