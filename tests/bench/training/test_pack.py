"""Packs hold trials that differ in lane knobs and seed alone, and every trial is in one."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.training.pack import Pack, make_packs, pack_key
from bench.trial import KNOB_NAMES, Choice
from tests.trials import trial

SEPARATE = {
    "method": trial(method="relu_kernel"),
    "method_params": trial(method="window_softmax", method_params={"width": 3}),
    "other_method_params": trial(method="window_softmax", method_params={"width": 4}),
    "optimizer": trial(optimizer="adam"),
    "schedule": trial(schedule="cosine"),
    "workload_params": trial(workload_params={"batch_size": 5}),
    "probe_every": trial(probe_every=4),
}


@pytest.mark.parametrize("knob", KNOB_NAMES)
def test_lane_knobs_do_not_separate_packs(knob):
    one = trial()
    other = dataclasses.replace(one, knobs=dataclasses.replace(one.knobs, **{knob: 0.5}))
    assert one.id != other.id
    assert pack_key(one) == pack_key(other)


def test_seeds_and_labels_do_not_separate_packs():
    one = trial()
    relabelled = dataclasses.replace(one, method=dataclasses.replace(one.method, label="mine"))
    assert pack_key(one) == pack_key(trial(seed=9)) == pack_key(relabelled)


def test_constants_of_the_optimizer_that_are_fractions_do_not_separate_packs():
    one, other = (trial(optimizer="adam", optimizer_params={"beta1": beta1}) for beta1 in (0.9, 0.8))
    assert one.id != other.id
    assert pack_key(one) == pack_key(other)
    assert Pack(trials=(one, other, one)).constant_lanes() == {"beta1": [0.9, 0.8, 0.9]}
    assert Pack(trials=(one, dataclasses.replace(one, seed=9))).constant_lanes() == {}


def test_constants_of_a_users_optimizer_separate_packs():
    """Its code may not take tensors for them."""
    one = trial(optimizer="adam")
    mine = [
        dataclasses.replace(one, optimizer=Choice(name="my:Mine", params={"beta1": beta1}, digest="0" * 64))
        for beta1 in (0.9, 0.8)
    ]
    assert pack_key(mine[0]) != pack_key(mine[1])


def test_everything_else_separates_packs():
    keys = [pack_key(one) for one in (trial(), *SEPARATE.values())]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("other", SEPARATE)
def test_lanes_that_differ_in_more_are_refused(other):
    with pytest.raises(AssertionError, match="lane knobs"):
        Pack(trials=(trial(), SEPARATE[other]))


def test_an_empty_pack_is_refused():
    with pytest.raises(AssertionError, match="at least one"):
        Pack(trials=())


KINDS = [trial(), *list(SEPARATE.values())[:3]]
mixed_trials = st.lists(
    st.builds(
        lambda kind, seed, lr: dataclasses.replace(kind, seed=seed, knobs=dataclasses.replace(kind.knobs, lr=lr)),
        st.sampled_from(KINDS),
        st.integers(0, 3),
        st.sampled_from([0.1, 0.2]),
    ),
    unique_by=lambda one: one.id,
)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(trials=mixed_trials, max_lanes=st.integers(1, 5))
def test_packs_hold_every_trial_once_within_the_limit(trials, max_lanes):
    packs = make_packs(trials, max_lanes=max_lanes)
    packed = [one for pack in packs for one in pack.trials]
    assert sorted(one.id for one in packed) == sorted(one.id for one in trials)
    assert all(len(pack.trials) <= max_lanes for pack in packs)
    for key in {pack_key(one) for one in trials}:
        sizes = [len(pack.trials) for pack in packs if pack_key(pack.trials[0]) == key]
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == -(-sum(sizes) // max_lanes)  # no more packs than needed
        in_order = [one for one in trials if pack_key(one) == key]
        assert [one for one in packed if pack_key(one) == key] == in_order


def test_packs_come_in_the_order_of_first_appearance():
    a, b = trial(), SEPARATE["method"]
    packs = make_packs([b, a, dataclasses.replace(b, seed=5)], max_lanes=8)
    assert [pack.trials for pack in packs] == [(b, dataclasses.replace(b, seed=5)), (a,)]


def test_id_depends_on_the_lanes_and_their_order():
    a, b = trial(), trial(seed=1)
    ids = [Pack(trials=lanes).id for lanes in ((a,), (b,), (a, b), (b, a))]
    assert len(set(ids)) == 4
    assert all(len(pack_id) == 16 and int(pack_id, 16) >= 0 for pack_id in ids)
    assert Pack(trials=(a, b)).id == Pack(trials=(a, b)).id


def test_knob_lanes_are_in_the_order_of_the_trials():
    pack = Pack(trials=(trial(lr=0.3), trial(lr=0.1, weight_decay=0.5), trial(lr=0.2)))
    assert pack.knob_lanes("lr") == [0.3, 0.1, 0.2]
    assert pack.knob_lanes("weight_decay") == [0.0, 0.5, 0.0]
