"""Recorded settings as trials of Optuna's, completed or pruned."""

import optuna

from analysis.scores.box.knobs import BoxKnob
from bench.search.storage import RecordedSetting, RecordedStudy, write_studies


def test_a_setting_that_a_rule_pruned_is_pruned_at_its_last_step(tmp_path):
    settings = [
        RecordedSetting(values={"lr": 0.01}, loss=1.0, attributes={}),
        RecordedSetting(values={"lr": 0.1}, loss=2.5, attributes={}, pruned_step=40),
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
