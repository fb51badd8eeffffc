"""How many trials a pack gets where nobody says."""

import dataclasses

import pytest

from bench.errors import UsageError
from bench.training.compile import Cost
from bench.training.pack_size import (
    CPU_CORE,
    MAX_LANES,
    MAX_MEMORY_SHARE,
    MAX_OVERHEAD,
    are_fused,
    busy_lanes,
    fit,
    fused_bytes,
    fused_fits,
    lanes_that_pay,
    most_lanes,
    widest_groups,
)
from bench.trial import Choice
from tests.fused_cases import TABLE_1, fused_trial
from tests.trials import language_trial, trial


def lanes_of(**cost: int) -> int:
    return lanes_that_pay(Cost(**({"num_bytes": 0, "flops": 0} | cost)), CPU_CORE)


def test_lanes_are_added_until_the_time_of_operations_is_small_beside_their_work():
    """1,000 operations take 5 ms; lanes of 10 ms reduce that to a tenth of the work with 5 of them."""
    assert MAX_OVERHEAD == 0.1
    assert CPU_CORE.seconds_per_operation * 1000 == 5e-3
    assert lanes_of(num_operations=1000, num_bytes=int(1e-2 * CPU_CORE.bytes_per_second) - 1) == 5
    assert lanes_of(num_operations=1000, flops=int(1e-2 * CPU_CORE.flops_per_second) - 1) == 5
    assert lanes_of(num_operations=1, num_bytes=2**40) == 0


def test_small_trials_train_in_as_many_lanes_as_there_are_and_as_are_allowed():
    trials = [trial(seed=seed) for seed in range(100)]
    assert most_lanes(trials, device="cpu") == MAX_LANES["cpu"] == 48
    assert most_lanes(trials, device="cuda") == 100
    assert most_lanes(trials, device="cpu", max_lanes=3) == 3
    assert fit(trials[:7], device="cpu").num_lanes == 7


def test_a_single_trial_needs_no_probe():
    """A probe of these would find that the data are not the trials'."""
    without_data = [
        dataclasses.replace(one, workload=dataclasses.replace(one.workload, digest="0" * 64))
        for one in (language_trial(seed=seed) for seed in range(2))
    ]
    assert fit(without_data[:1], device="cpu").num_lanes == 1
    with pytest.raises(UsageError, match="differ from those of the suite"):
        fit(without_data, device="cpu")


def test_a_larger_model_gets_fewer_lanes():
    few, many = (
        fit([language_trial(workload_params={"width": width}, seed=seed) for seed in range(48)], device="cpu").num_lanes
        for width in (256, 8)
    )
    assert few < many


def test_packs_of_cpus_are_made_no_fuller_than_leaves_all_of_them_busy():
    """Of 10 trials on 4 CPUs at most 3 to a pack, on 100 CPUs 1; on one CPU what pays."""
    wide, narrow = trial().workload, language_trial().workload
    lanes = {wide: 48, narrow: 2}
    by_slots = {slots: busy_lanes(lanes, num_trials=10, num_slots=slots) for slots in (1, 4, 100)}
    assert by_slots == {1: {wide: 10, narrow: 2}, 4: {wide: 3, narrow: 2}, 100: {wide: 1, narrow: 1}}


def test_the_largest_group_that_can_train_together_stands_for_its_workload():
    small = [trial(seed=seed) for seed in range(2)] + [trial(method="relu_kernel", seed=seed) for seed in range(3)]
    other = [trial(workload_params={"num_pairs": 7})]
    found = widest_groups([*small, *other])
    assert found == {small[0].workload: small[2:], other[0].workload: other}


def test_trials_of_the_fused_program_are_placed_by_what_they_hold_and_not_tried():
    """On a large GPU all of them are one pack; on a small one halves, until they take less than its share."""
    trials = [fused_trial(workload=TABLE_1, seed=seed) for seed in range(100)]
    assert are_fused(trials)
    (large,) = fused_fits(trials, total_bytes=2**40).values()
    assert (large.num_lanes, large.num_bytes) == (100, fused_bytes(trials))
    total = fused_bytes(trials[:30])
    (small,) = fused_fits(trials, total_bytes=total).values()
    assert small.num_lanes in (12, 6)
    assert small.num_bytes <= MAX_MEMORY_SHARE * total < fused_bytes(trials[: 2 * small.num_lanes])
    (asked,) = fused_fits(trials, total_bytes=2**40, max_lanes=7).values()
    assert asked.num_lanes == 7


def test_one_trial_that_is_not_of_the_fused_program_has_all_tried():
    fused = fused_trial(workload=TABLE_1)
    assert not are_fused([fused], is_reference=True)
    assert not are_fused([fused, language_trial()])
    curvature = dataclasses.replace(fused, probes=(Choice(name="curvature", params={"every": 10}),))
    assert not are_fused([fused, curvature])
    broken = dataclasses.replace(fused, method=dataclasses.replace(fused.method, name="no_such_method"))
    assert not are_fused([fused, broken])
