"""Recorded settings as trials of Optuna's, completed or pruned."""

import math

import optuna
import pytest

from analysis.scores.box.knobs import BoxKnob
from bench.search.storage import RecordedSetting, RecordedStudy, write_studies


def test_a_setting_that_a_rule_pruned_is_pruned_at_its_last_step(tmp_path):
    settings = [
        RecordedSetting(values={"lr": 0.01}, losses=(1.0,), attributes={}),
        RecordedSetting(values={"lr": 0.1}, losses=(2.5,), attributes={}, pruned_step=40),
    ]
    knob = BoxKnob(name="lr", form="log", ends=(1e-3, 1.0))
    url = f"sqlite:///{tmp_path}/studies.db"
    write_studies([RecordedStudy(name="s", knobs=[knob], settings=settings, attributes={})], url)
    storage = optuna.storages.RDBStorage(url)
    whole, pruned = optuna.load_study(study_name="s", storage=storage).trials
    assert (whole.state, whole.value, whole.intermediate_values) == (optuna.trial.TrialState.COMPLETE, 1.0, {})
    assert (pruned.state, pruned.intermediate_values) == (optuna.trial.TrialState.PRUNED, {40: 2.5})
    assert optuna.load_study(study_name="s", storage=storage).best_value == 1.0
    storage.engine.dispose()


def test_two_objectives_are_a_study_of_two_with_its_front(tmp_path):
    settings = [
        RecordedSetting(values={"lr": lr}, losses=losses, attributes={})
        for lr, losses in ((0.01, (1.0, 4.0)), (0.1, (2.0, 3.0)), (0.2, (2.5, 3.5)), (0.3, (math.nan, math.nan)))
    ]
    knob = BoxKnob(name="lr", form="log", ends=(1e-3, 1.0))
    url = f"sqlite:///{tmp_path}/studies.db"
    one = RecordedStudy(name="s", knobs=[knob], settings=settings, attributes={}, objectives=("mean", "worst"))
    write_studies([one], url)
    storage = optuna.storages.RDBStorage(url)
    study = optuna.load_study(study_name="s", storage=storage)
    assert study.metric_names == ["mean", "worst"]
    assert sorted(trial.params["lr"] for trial in study.best_trials) == [0.01, 0.1]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3 + ["FAIL"]
    storage.engine.dispose()


@pytest.mark.stores
def test_postgres_holds_the_same_studies_however_often_they_are_made(postgres, tmp_path):
    settings = [
        RecordedSetting(values={"lr": 0.01, "kind": "b"}, losses=(1.0,), attributes={"trial_ids": ["1", "2"]}),
        RecordedSetting(values={"lr": 0.0, "kind": None}, losses=(math.nan,), attributes={"round": 1}),
        RecordedSetting(values={"lr": 0.1, "kind": "a"}, losses=(2.5,), attributes={}, pruned_step=40),
    ]
    lr = BoxKnob(name="lr", form="log", ends=(1e-3, 1.0), special=(0.1, 0.0))
    kind = BoxKnob(name="kind", form="values", choices=("a", "b"))
    one = RecordedStudy(name="s", knobs=[lr, kind], settings=settings, attributes={"method": "softmax"})
    shown = []
    for url in (postgres.fresh(), f"sqlite:///{tmp_path}/studies.db"):
        for _ in range(2):
            write_studies([one], url)
        storage = optuna.storages.RDBStorage(url)
        study = optuna.load_study(study_name="s", storage=storage)
        of_trials = [(one.state, one.values, one.params, one.user_attrs, one.distributions) for one in study.trials]
        shown.append((len(optuna.get_all_study_names(storage)), study.user_attrs, of_trials))
        storage.engine.dispose()
    assert shown[0] == shown[1]
    assert [trial[0].name for trial in shown[0][2]] == ["COMPLETE", "FAIL", "PRUNED"]
