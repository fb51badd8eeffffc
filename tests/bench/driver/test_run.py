"""Plan and place: which packs the trials of a suite become, and what each of them takes."""

import dataclasses
import gc
import warnings

import pytest

from bench.cluster.connect import num_slots, place, ray_cluster
from bench.driver.plan import plan
from bench.suite import Suite
from bench.training.pack_size import Placement, Resources
from tests.trials import language_trial, trial

GPU = Resources(cpus=1, gpus=0.5)
FIELDS = {
    "name": "small",
    "workloads": [{"name": "in_context_regression", "num_steps": steps} for steps in (50, 60)],
    "methods": ["softmax", "relu_kernel"],
    "optimizers": ["sgd"],
    "knobs": {"lr": [0.01, 0.1, 1.0]},
    "seeds": 3,
    "probe_every": 10,
}
SUITE = Suite(**FIELDS)
SHORT, LONG = SUITE.workloads


def ids(packs) -> list[list[str]]:
    return [[one.id for one in pack.trials] for pack in packs]


def all_ids(packs) -> list[str]:
    return sorted(one.id for pack in packs for one in pack.trials)


def test_every_missing_trial_is_in_one_pack_of_at_most_the_lanes_of_its_workload():
    trials = SUITE.expand()
    packs = plan(SUITE, trials, Placement(resources=GPU, lanes={SHORT: 4, LONG: 9}, num_slots=2))
    assert all_ids(packs) == sorted(one.id for one in trials)
    sizes = {workload: [] for workload in SUITE.workloads}
    for pack in packs:
        (workload,) = {one.workload for one in pack.trials}
        assert len({one.method for one in pack.trials}) == 1
        sizes[workload].append(len(pack.trials))
    assert sizes == {SHORT: [3] * 6, LONG: [9] * 2}  # packs of one method are of one size, where they can be


def test_a_resume_trains_what_is_left_in_the_packs_of_the_first_start():
    trials, placement = SUITE.expand(), Placement(resources=GPU, lanes={SHORT: 4, LONG: 4}, num_slots=2)
    packs = ids(plan(SUITE, trials, placement))
    finished = {*packs[0], packs[1][0], packs[-1][-1]}
    left = plan(SUITE, [one for one in trials if one.id not in finished], placement)
    assert ids(left) == [rest for pack in packs if (rest := [one for one in pack if one not in finished])]
    assert plan(SUITE, [], placement) == []


def test_a_round_of_a_search_is_planned_by_itself():
    search = Suite(**FIELDS | {"knobs": {"lr": [0.01, 1.0]}, "search": {"name": "edge"}})
    asked = [trial(lr=lr, seed=seed) for lr in (0.02, 0.3) for seed in range(2)]
    packs = plan(search, asked, Placement(resources=GPU, lanes={asked[0].workload: 3}, num_slots=2))
    assert all_ids(packs) == sorted(one.id for one in asked)
    assert [len(pack.trials) for pack in packs] == [2, 2]


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster():
        yield
    with warnings.catch_warnings():  # Ray forgets its processes before they have ended
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_cpu_is_not_left_idle_for_fuller_packs():
    trials, resources = SUITE.expand(), Resources(cpus=1, gpus=0)
    share = max(1, -(-len(trials) // num_slots(resources)))
    placement = Placement(resources=resources, lanes={SHORT: 100, LONG: 100}, num_slots=num_slots(resources))
    packs = plan(SUITE, trials, placement)
    assert max(len(pack.trials) for pack in packs) <= share
    assert all_ids(packs) == sorted(one.id for one in trials)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_lanes_are_probed_for_every_workload_and_what_cannot_be_probed_is_left_to_training():
    small = [trial(seed=seed) for seed in range(5)]
    broken = [  # a probe of these finds that the data are not the trials'
        dataclasses.replace(one, workload=dataclasses.replace(one.workload, digest="0" * 64))
        for one in (language_trial(seed=seed) for seed in range(6))
    ]
    placement = place([*small, *broken], max_lanes=4)
    assert placement.resources == Resources(cpus=1, gpus=0)
    assert placement.lanes == {small[0].workload: 4, broken[0].workload: 4}
