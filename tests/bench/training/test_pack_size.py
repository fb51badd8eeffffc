"""How many trials a pack gets where nobody says."""

import pytest

from bench.training.compile import Cost
from bench.training.pack_size import CPU_CORE, MAX_LANES, MAX_OVERHEAD, busy_lanes, fit
from bench.training.train import PackRun
from tests.trials import language_trial, trial


def lanes_of(monkeypatch, num_trials: int = 100, **cost: int) -> int:
    monkeypatch.setattr(PackRun, "step_cost", lambda run: Cost(**({"num_bytes": 0, "flops": 0} | cost)))
    return fit([trial(seed=seed) for seed in range(num_trials)], device="cpu").num_lanes


def test_lanes_are_added_until_the_time_of_operations_is_small_beside_their_work(monkeypatch):
    """1,000 operations take 5 ms; lanes of 10 ms reduce that to a tenth of the work with 5 of them."""
    assert MAX_OVERHEAD == 0.1
    assert CPU_CORE.seconds_per_operation * 1000 == 5e-3
    assert lanes_of(monkeypatch, num_operations=1000, num_bytes=int(1e-2 * CPU_CORE.bytes_per_second) - 1) == 5
    assert lanes_of(monkeypatch, num_operations=1000, flops=int(1e-2 * CPU_CORE.flops_per_second) - 1) == 5


def test_a_step_with_much_work_trains_alone_and_one_with_little_in_as_many_lanes_as_there_are(monkeypatch):
    assert lanes_of(monkeypatch, num_operations=1, num_bytes=2**40) == 1
    assert lanes_of(monkeypatch, num_operations=10**6, num_bytes=1) == MAX_LANES["cpu"]
    assert lanes_of(monkeypatch, num_trials=7, num_operations=10**6, num_bytes=1) == 7


def test_a_single_trial_needs_no_probe(monkeypatch):
    monkeypatch.setattr(PackRun, "step_cost", lambda run: pytest.fail("counted"))
    assert fit([trial()], device="cpu").num_lanes == 1


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
