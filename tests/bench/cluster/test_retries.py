"""Who is tried again, who is split and who is given up: by hand, and that nothing is lost or counted twice."""

import random

import pytest

from bench.cluster.retries import MAX_ATTEMPTS, MAX_LOST_NODES, Cause, Failure, Part, Retries
from bench.outcome import Outcome
from bench.training.pack import Pack
from tests.trials import trial

DIED = Failure(cause=Cause.WORKER, message="its process died")
NODE = Failure(cause=Cause.NODE, message="its node went away")


def pack(num_lanes: int, lr: float = 0.1) -> Pack:
    return Pack(trials=tuple(trial(lr=lr, seed=seed) for seed in range(num_lanes)))


def taken(retries: Retries) -> Part:
    part = retries.next()
    assert part is not None
    return part


def test_packs_are_handed_out_in_order_and_then_none():
    packs = [pack(1, lr) for lr in (0.1, 0.2)]
    retries = Retries.of(packs)
    assert [taken(retries).pack for _ in packs] == packs
    assert retries.next() is None
    assert len(retries.running) == 2


def test_a_part_that_finishes_tells_why_it_failed_before():
    retries = Retries.of([pack(2)])
    assert retries.failed(taken(retries), DIED, steps=0) == []
    assert retries.finished(taken(retries)) == ("worker: its process died",)
    assert not retries.running


def test_one_lane_is_given_up_after_its_attempts():
    retries = Retries.of([pack(1)])
    for _ in range(2):
        assert retries.failed(taken(retries), DIED, steps=0) == []
    (result,) = retries.failed(taken(retries), DIED, steps=0)
    assert (result.outcome, result.message) == (Outcome.CRASHED, "its process died")
    assert result.failures == ("worker: its process died",) * 3
    assert MAX_ATTEMPTS == 3
    assert retries.next() is None


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [(Cause.MEMORY, Outcome.OUT_OF_MEMORY), (Cause.TIMEOUT, Outcome.TIMED_OUT), (Cause.WORKER, Outcome.CRASHED)],
)
def test_the_cause_decides_the_outcome(cause, outcome):
    retries = Retries.of([pack(1)])
    results = [retries.failed(taken(retries), Failure(cause=cause, message=""), steps=0) for _ in range(MAX_ATTEMPTS)]
    assert results[-1][0].outcome is outcome


def test_an_attempt_that_gets_further_does_not_count():
    retries = Retries.of([pack(1)])
    for steps in range(1, 20):
        assert retries.failed(taken(retries), DIED, steps=steps) == []


def test_an_attempt_that_gets_less_far_than_the_furthest_counts():
    """A pack that dies after 5, 3, 5, 3 steps gets nowhere."""
    retries = Retries.of([pack(1)])
    furthest = [retries.failed(taken(retries), DIED, steps=steps) for steps in (5, 3, 5)]
    assert furthest[:2] == [[], []]
    assert [result.outcome for result in furthest[2]] == [Outcome.CRASHED]
    assert retries.next() is None


def test_halves_know_why_the_whole_failed():
    retries = Retries.of([pack(2)])
    for _ in range(MAX_ATTEMPTS):
        assert retries.failed(taken(retries), DIED, steps=0) == []
    halves = [taken(retries), taken(retries)]
    assert [(half.start, half.stop) for half in halves] == [(0, 1), (1, 2)]
    assert retries.finished(halves[0]) == ("worker: its process died",) * MAX_ATTEMPTS
    requeued = halves[1]
    for _ in range(MAX_ATTEMPTS - 1):
        assert retries.failed(requeued, NODE, steps=0) == []
        requeued = taken(retries)
    for _ in range(MAX_ATTEMPTS - 1):
        assert retries.failed(requeued, DIED, steps=0) == []
        requeued = taken(retries)
    (result,) = retries.failed(requeued, DIED, steps=0)
    died, gone = ("worker: its process died",) * MAX_ATTEMPTS, ("node: its node went away",) * (MAX_ATTEMPTS - 1)
    assert result.failures == died + gone + died


def test_a_node_that_goes_away_is_not_held_against_the_pack():
    retries = Retries.of([pack(4)])
    for _ in range(MAX_LOST_NODES):
        assert retries.failed(taken(retries), NODE, steps=0) == []
        assert [part.stop - part.start for part in retries.waiting] == [4]
    assert len(retries.failed(taken(retries), NODE, steps=0)) == 4


@pytest.mark.parametrize("guilty", [{0}, {6}, {2, 5}, {0, 1, 2, 3, 4, 5, 6}, set()])
def test_poison_lanes_are_found_and_the_others_finish(guilty):
    """A lane kills whatever pack it is in."""
    retries = Retries.of([pack(7), pack(3, lr=0.2)])
    finished, given_up = [], []
    while (part := retries.next()) is not None:
        if any(one.seed in guilty and one.knobs.lr == 0.1 for one in part.trials):
            given_up += [result.trial for result in retries.failed(part, DIED, steps=0)]
        else:
            retries.finished(part)
            finished += part.trials
    assert sorted(one.seed for one in given_up) == sorted(guilty)
    assert len({one.id for one in finished + given_up}) == len(finished) + len(given_up) == 10


def test_random_faults_lose_nothing_and_count_nothing_twice():
    draw = random.Random(0)
    for _ in range(50):
        retries = Retries.of([pack(draw.randint(1, 9), lr=lr) for lr in (0.1, 0.2, 0.3)])
        running, ended = [], []
        while True:
            part = retries.next()
            if part is not None:
                running.append(part)
            elif not running:
                break
            part = running.pop(draw.randrange(len(running)))
            if draw.random() < 0.6:
                failure = draw.choice([DIED, NODE])
                ended += [result.trial.id for result in retries.failed(part, failure, steps=draw.randint(0, 3))]
            else:
                retries.finished(part)
                ended += [one.id for one in part.trials]
        assert len(ended) == len(set(ended)) == len({one.id for one in ended_trials(retries, ended)})


def ended_trials(retries: Retries, ended: list[str]) -> list:
    packs = {part.pack_id: part.pack for part in retries._records}
    found = [one for pack in packs.values() for one in pack.trials]
    assert {one.id for one in found} == set(ended)
    return found
