"""Trial: its id stands for all that defines it, and for nothing else."""

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.trial import KINDS, KNOB_NAMES, Choice, Knobs, Trial, canonical_json

TRIAL = Trial(
    workload=Choice(name="in_context_regression", params={"num_steps": 400, "batch_size": 16}),
    method=Choice(name="window_softmax", params={"width": 4}, label="window_softmax(width=4)"),
    optimizer=Choice(name="sgd", params={}),
    schedule=Choice(name="constant", params={}),
    knobs=Knobs(lr=0.3),
    seed=1,
    probe_every=10,
)


TOUCHED = dataclasses.replace(TRIAL, intervention=Choice(name="temperature", params={"from_step": 3}))


def changed(one: Trial = TRIAL, /, **fields: Any) -> Trial:
    return dataclasses.replace(one, **fields)


def test_id_is_16_hexadecimal_digits():
    assert len(TRIAL.id) == 16
    assert int(TRIAL.id, 16) >= 0


def test_id_does_not_depend_on_the_order_of_parameters():
    reordered = Choice(name="in_context_regression", params={"batch_size": 16, "num_steps": 400})
    assert changed(workload=reordered).id == TRIAL.id


def test_id_does_not_depend_on_whole_numbers_for_knobs():
    whole = Knobs(lr=1, warmup_steps=5, weight_decay=0, init_scale=2)
    decimal = Knobs(lr=1.0, warmup_steps=5.0, weight_decay=0.0, init_scale=2.0)
    assert changed(knobs=whole).id == changed(knobs=decimal).id


@pytest.mark.parametrize("field", KINDS)
def test_id_does_not_depend_on_labels(field):
    relabelled = dataclasses.replace(getattr(TOUCHED, field), label="another label")
    assert changed(TOUCHED, **{field: relabelled}).id == TOUCHED.id


@pytest.mark.parametrize("field", KINDS)
@pytest.mark.parametrize("part", [{"name": "other"}, {"params": {"other": 1}}, {"digest": "f" * 64}])
def test_id_depends_on_every_part_of_a_choice(field, part):
    other = dataclasses.replace(getattr(TOUCHED, field), **part)
    assert changed(TOUCHED, **{field: other}).id != TOUCHED.id


@pytest.mark.parametrize("knob", KNOB_NAMES)
def test_id_depends_on_every_knob(knob):
    assert changed(knobs=dataclasses.replace(TRIAL.knobs, **{knob: 0.125})).id != TRIAL.id


@pytest.mark.parametrize("field", ["seed", "probe_every"])
def test_id_depends_on_seed_and_probes(field):
    assert changed(**{field: 7}).id != TRIAL.id


def test_id_depends_on_probes_and_their_settings():
    probe = Choice(name="entropy", params={"every": None})
    often = dataclasses.replace(probe, params={"every": 5})
    ids = [changed(probes=probes).id for probes in (None, (), (probe,), (often,), (probe, often))]
    assert len(set(ids)) == len(ids)
    relabelled = dataclasses.replace(probe, label="another label")
    assert changed(probes=(relabelled,)).id == changed(probes=(probe,)).id


def test_a_trial_without_probes_of_its_own_is_written_as_before_there_were_any():
    assert "probes" not in TRIAL.to_dict()
    named = changed(probes=(Choice(name="entropy", params={"every": 5}),))
    assert Trial.from_dict(json.loads(json.dumps(named.to_dict()))) == named


def test_every_field_is_covered_above():
    assert {field.name for field in dataclasses.fields(Trial)} == {*KINDS, "knobs", "seed", "probe_every", "probes"}


def test_id_survives_a_change_of_the_code():
    """Results on disk are found by their id: it changes only with TRIAL_VERSION or a new field."""
    text = (
        '{"knobs":{"grad_clip":"inf","init_scale":1.0,"lr":0.3,"warmup_steps":0.0,"weight_decay":0.0},'
        '"method":{"digest":"","name":"window_softmax","params":{"width":4}},'
        '"optimizer":{"digest":"","name":"sgd","params":{}},"probe_every":10,'
        '"schedule":{"digest":"","name":"constant","params":{}},"seed":1,"version":1,'
        '"workload":{"digest":"","name":"in_context_regression","params":{"batch_size":16,"num_steps":400}}}'
    )
    init_scale = canonical_json(TRIAL.knobs.init_scale)
    expected = text.replace('"init_scale":1.0', f'"init_scale":{init_scale}')
    assert canonical_json(TRIAL.to_dict(labels=False)) == expected


finite = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
choices = st.builds(
    Choice,
    name=st.text(min_size=1),
    params=st.dictionaries(st.text(), st.one_of(st.integers(), st.booleans(), st.text(), finite)),
    digest=st.text(),
    label=st.text(),
)
trials = st.builds(
    Trial,
    workload=choices,
    method=choices,
    optimizer=choices,
    schedule=choices,
    knobs=st.builds(Knobs, lr=finite, warmup_steps=finite, grad_clip=st.one_of(finite, st.just(math.inf))),
    seed=st.integers(min_value=0, max_value=2**32),
    probe_every=st.integers(min_value=1),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # on a busy machine
@given(trial=trials)
def test_trial_survives_json(trial):
    back = Trial.from_dict(json.loads(json.dumps(trial.to_dict(), allow_nan=False)))
    assert back == trial
    assert back.id == trial.id


def test_another_version_is_refused():
    with pytest.raises(ValueError, match="trial version 0"):
        Trial.from_dict(TRIAL.to_dict() | {"version": 0})


def test_steps_are_those_of_the_workload():
    assert TRIAL.num_steps == 400
