"""What a suite would take: the packs of a run, timed where that is quick, and added up as they would be trained."""

import dataclasses
import math
import time

import pytest

from bench.cli.shared import span_text
from bench.driver import estimate as estimating
from bench.driver.estimate import END_SECONDS, ROUND_SECONDS, START_SECONDS, PackTime, estimate, rounds_of, timed
from bench.driver.plan import plan
from bench.native import compiler
from bench.suite import Suite
from bench.training.pack import Pack, make_packs, pack_key
from bench.training.pack_size import Placement, Resources
from tests.fused_cases import fused_trial
from tests.trials import language_trial, trial

CPU = Resources(cpus=1, gpus=0)
TINY = {"name": "in_context_regression", "num_steps": 4, "final_loss_steps": 1, "batch_size": 2, "depth": 1}
FIELDS = {
    "name": "small",
    "workloads": [TINY],
    "methods": ["softmax", "relu_kernel"],
    "optimizers": ["sgd"],
    "knobs": {"lr": [0.01, 0.1]},
    "seeds": 2,
    "probe_every": 2,
}


@pytest.mark.parametrize(("max_lanes", "num_packs"), [(None, 2), (1, 8)])
def test_an_estimate_is_of_the_packs_of_a_run_and_of_all_that_a_run_does(max_lanes, num_packs):
    found = estimate(Suite(**FIELDS), max_lanes=max_lanes, compiling="auto")
    assert (found.num_trials, found.most_trials, found.num_packs, found.device) == (8, 8, num_packs, "cpu")
    assert found.seconds > START_SECONDS + ROUND_SECONDS + END_SECONDS
    assert (found.low, found.high) == pytest.approx((0.75 * found.seconds, 1.5 * found.seconds))
    assert found.num_bytes > 8 * 40_000


def test_a_search_is_taken_round_by_round_as_far_as_it_is_likely_to_go():
    suite = Suite(**FIELDS | {"knobs": {"lr": [1e-3, 10.0]}, "search": {"name": "edge", "budget": 30}})
    rounds = list(rounds_of(suite))
    assert len(rounds) > 1
    assert 0 < sum(map(len, rounds)) < suite.most_trials == 60
    assert len({one.id for trials in rounds for one in trials}) == sum(map(len, rounds))
    assert list(rounds_of(Suite(**FIELDS))) == [Suite(**FIELDS).expand()]


def test_one_program_of_every_workload_is_timed_and_others_as_long_as_there_is_time():
    suite = Suite(**FIELDS | {"workloads": [TINY, TINY | {"num_steps": 5}]})
    placement = Placement(resources=CPU, lanes=dict.fromkeys(suite.workloads, 4), num_slots=2)
    packs = plan(suite, suite.expand(), placement)
    by_workload: dict[str, set[PackTime]] = {}
    for key, found in timed(packs, placement, "auto", deadline=time.monotonic()).items():
        workload = next(pack.trials[0].workload.label for pack in packs if pack_key(pack.trials[0]) == key)
        by_workload.setdefault(workload, set()).add(found)
    assert [len(times) for times in by_workload.values()] == [1, 1]
    assert len(set(timed(packs, placement, "auto", deadline=math.inf).values())) == 4


def test_a_large_model_is_not_tried():
    """A step of it takes minutes; its operations over the rate of large products say how many."""
    size = {"model": "gpt2_124m", "depth": 12, "width": 768, "num_heads": 12, "batch_size": 64, "context": 256}
    one, began = language_trial(workload_params=size), time.process_time()
    placement = estimating.place_here([one], max_lanes=None, compiling="auto", deadline=math.inf)
    assert placement.lanes == {one.workload: 1}
    (found,) = timed([Pack(trials=(one,))], placement, "auto", deadline=math.inf).values()
    assert time.process_time() - began < 20
    assert 20 < found.lane_step_s < found.ready_s


def test_what_cannot_be_tried_takes_no_estimate_away():
    """Of trials whose data are not those that are here: others stand for them."""
    good, plain = trial(), language_trial()
    broken = dataclasses.replace(plain, workload=dataclasses.replace(plain.workload, digest="0" * 64))
    placement = estimating.place_here([good, broken], max_lanes=None, compiling="auto", deadline=math.inf)
    assert placement.lanes == {good.workload: 1, broken.workload: 1}
    packs = [Pack(trials=(one,)) for one in (broken, good)]
    times = timed(packs, placement, "auto", deadline=math.inf)
    assert times[pack_key(broken)] == times[pack_key(good)]
    assert timed(packs[:1], placement, "auto", deadline=math.inf)[pack_key(broken)].lane_step_s == 0


def test_passes_are_those_of_steps_the_loss_at_init_observations_and_held_out_data():
    """8 steps; observed at 0, 3, 6 and 7; 3 batches for the loss at init; 2 held-out batches at 0, 3, 6 and 8."""
    alone = estimating._num_passes(Pack(trials=(trial(),)), 0.5)
    assert alone == pytest.approx(8 + 0.35 * 3 + 0.5 * 4)
    assert estimating._num_passes(Pack(trials=(language_trial(),)), 0.5) == pytest.approx(alone + 0.35 * 4 * 2)


@pytest.mark.skipif(not compiler(), reason="no C compiler")
def test_what_will_be_fused_is_timed_fused():
    """Its observations are not fused and take more of its steps; with --compile always nothing is."""
    pack = Pack(trials=(fused_trial(),))
    placement = Placement(resources=CPU, lanes={pack.trials[0].workload: 1}, num_slots=1)
    by_compiling = {each: timed([pack], placement, each, deadline=math.inf) for each in ("auto", "always")}
    fused, traced = (next(iter(times.values())) for times in by_compiling.values())
    assert (fused.observation, traced.observation) == (estimating.FUSED_OBSERVATION, estimating.OBSERVATION)
    assert fused.lane_step_s < traced.lane_step_s


def test_packs_start_as_slots_get_free():
    assert estimating._makespan([3.0, 1.0, 1.0, 4.0], 2) == 6.0
    assert estimating._makespan([3.0, 1.0, 1.0, 4.0], 1) == 9.0
    assert estimating._makespan([], 2) == 0.0


def test_seconds_of_a_round_are_of_what_was_timed():
    """Two packs of two lanes, one after the other: each traced twice as long as its step, then all its passes."""
    packs = make_packs([trial(seed=seed) for seed in range(4)], max_lanes=2)
    times = {pack_key(packs[0].trials[0]): PackTime(ready_s=1.0, lane_step_s=0.5)}
    placement = Placement(resources=CPU, lanes={}, num_slots=1)
    expected = 2 * (2 * 1.0 + 0.5 * 2 * estimating._num_passes(packs[0], 0.35))
    assert estimating._round_seconds(packs, times, placement) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.4, "7 s"), (90, "2 min"), (3000, "50 min"), (5400, "1.5 h"), (9e6, "2,500 h")]
)
def test_a_span_is_read_at_a_glance(seconds, text):
    assert span_text(seconds) == text
