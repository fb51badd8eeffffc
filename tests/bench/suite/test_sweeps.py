"""Parameters of workloads, methods, optimizers and schedules as knobs."""

import pytest

from bench.errors import UsageError
from bench.outcome import Outcome, Result
from bench.suite import Suite
from bench.training.pack import make_packs
from bench.trial import Trial

BASE = {
    "name": "s",
    "workloads": [{"name": "in_context_regression", "num_steps": 20}],
    "methods": ["softmax", {"name": "window_softmax", "width": 4}],
    "optimizers": ["adamw", "sgd"],
    "seeds": 2,
    "probe_every": 5,
}


def suite(**knobs: object) -> Suite:
    return Suite(**BASE, knobs={"lr": [1e-3, 1e-2], **knobs})


def test_every_entry_takes_every_value_of_a_parameter_that_it_has():
    """adamw with two beta1, sgd without any: 3 optimizers x 2 batch sizes x 2 methods x 2 lr x 2 seeds."""
    swept = suite(batch_size=[8, 16], beta1=[0.8, 0.9])
    trials = swept.expand()
    assert len(trials) == swept.num_trials == len({trial.id for trial in trials}) == 48
    seen = {(t.workload.params["batch_size"], t.optimizer.name, t.optimizer.params.get("beta1")) for t in trials}
    assert seen == {(b, *o) for b in (8, 16) for o in (("adamw", 0.8), ("adamw", 0.9), ("sgd", None))}


def test_a_swept_entry_keeps_its_label_and_its_trials_say_the_setting():
    trials = suite(batch_size=[8, 16]).expand()
    assert {trial.workload.label for trial in trials} == {"in_context_regression(num_steps=20)"}
    assert {str(trial.settings) for trial in trials} == {"{'batch_size': 8}", "{'batch_size': 16}"}
    assert all(trial.settings["batch_size"] == trial.workload.params["batch_size"] for trial in trials)


def test_a_swept_trial_is_the_same_trial_as_one_whose_entry_says_the_value():
    """So a store that has it does not train it again."""
    workload = BASE["workloads"][0] | {"batch_size": 8}
    plain = Suite(**(BASE | {"workloads": [workload]}), knobs={"lr": [1e-3, 1e-2]})
    assert {t.id for t in plain.expand()} == {t.id for t in suite(batch_size=[8]).expand()}


def test_batch_sizes_train_in_packs_of_their_own():
    packs = make_packs(suite(batch_size=[8, 16]).expand(), max_lanes=100)
    assert all(len({trial.workload for trial in pack.trials}) == 1 for pack in packs)


def test_another_number_of_keys_is_another_workload():
    """Its entropies have another bound, so nothing of the two belongs into one table row."""
    labels = {trial.workload.label for trial in suite(num_pairs=[10, 20]).expand()}
    assert labels == {"in_context_regression(num_steps=20)", "in_context_regression(num_steps=20, num_pairs=10)"}


def test_a_name_that_several_kinds_have_is_written_with_its_kind():
    trials = suite(**{"method.width": [2, 3]}).expand()
    assert {t.method.params.get("width") for t in trials} == {None, 2, 3}
    assert {t.workload.params["width"] for t in trials} == {suite().expand()[0].workload.params["width"]}
    assert {str(t.settings) for t in trials if t.method.name == "window_softmax"} == {
        "{'method.width': 2}",
        "{'method.width': 3}",
    }


def test_a_grid_of_a_whole_number_gives_whole_numbers():
    trials = suite(batch_size={"log": [1, 100], "per_decade": [1, 2]}).expand()
    assert sorted({t.workload.params["batch_size"] for t in trials}) == [1, 2, 10, 20, 100]
    assert {type(t.workload.params["batch_size"]) for t in trials} == {int}


def test_settings_survive_json():
    trial = suite(batch_size=[8, 16]).expand()[0]
    again = Trial.from_dict(trial.to_dict())
    assert again == trial
    assert again.settings == {"batch_size": 8}


def test_a_result_row_holds_the_settings(tmp_path):
    trial = suite(beta1=[0.8, 0.9], batch_size=[8, 16]).expand()[0]
    result = Result(trial=trial, outcome=Outcome.COMPLETED, initial_loss=1.0, final_loss=1.0, wall_s=1.0)
    assert result.row()["settings"] == '{"batch_size":8,"beta1":0.8}'


def test_a_suite_written_and_read_again_stands_for_the_same_trials():
    swept = suite(batch_size=[8, 16], beta1=[0.8, 0.9])
    assert Suite.model_validate(swept.model_dump(mode="json")).expand() == swept.expand()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"bach_size": [8]}, "Suite: knobs.bach_size: unknown knob 'bach_size'; did you mean 'batch_size'?"),
        ({"batch_size": [8, 0]}, "knobs.batch_size[1]: batch_size[1] must be greater than or equal to 1, got 0"),
        ({"batch_size": [8, 8]}, "8 is listed twice; remove one"),
        ({"batch_size": [[8], [8]]}, "a list is listed twice; remove one"),
        ({"batch_size": [{"a": 8}, {"a": 8}]}, "a mapping is listed twice; remove one"),
        ({"batch_size": [[8], [16]]}, "batch_size"),
        ({"batch_size": []}, "batch_size must not be empty"),
        ({"batch_size": ["large"]}, "must be a whole number, got 'large'"),
        ({"beta1": [0.9, 1.5]}, "beta1[1] must be less than 1, got 1.5"),
        ({"width": [4, 8]}, "'width' is a parameter of several entries; write workload.width or method.width"),
        ({"method.depth": [4]}, "unknown knob 'method.depth'"),
        ({"final_loss_steps": [1, 2]}, "unknown knob 'final_loss_steps'"),
        ({"batch_size": list(range(1, 600)), "depth": list(range(1, 600))}, "trials; a suite must have at most"),
        ({"num_steps": [10, 20], "warmup_steps": 15}, "warmup_steps must be at most num_steps of every workload (10)"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(knobs, message):
    with pytest.raises(UsageError) as error:
        suite(**knobs)
    assert message in str(error.value)
