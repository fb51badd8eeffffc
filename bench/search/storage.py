"""Recorded settings as studies of Optuna, in a database that optuna-dashboard and Optuna itself open."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.scores.box.knobs import BoxKnob
from bench.errors import StoreError, UsageError, reason
from bench.search.quiet import quiet_optuna

if TYPE_CHECKING:
    import optuna

SPECIAL = "{}_is_special"  # the knob of Optuna that says whether one of ours is 0, or off


@dataclass(frozen=True, kw_only=True)
class RecordedSetting:
    """A setting and its losses. values: by knob, None of one that does not act; attributes: what else is known of it.

    losses: one an objective of the study, NaN if it failed. pruned_step: the last step of one that a rule pruned, whose
    loss is the one that it had there.
    """

    values: Mapping[str, Any]
    losses: Sequence[float]
    attributes: Mapping[str, Any]
    pruned_step: int | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedStudy:
    """The settings of one method. attributes: what they have in common. objectives: what is to be small, in words."""

    name: str
    knobs: Sequence[BoxKnob]
    settings: Sequence[RecordedSetting]
    attributes: Mapping[str, Any]
    objectives: Sequence[str] = ("loss",)


def write_studies(studies: Sequence[RecordedStudy], url: str) -> None:
    """Make the studies anew in the database at a URL of SQLAlchemy; others in it stay.

    A knob that is 0 or off in a share of the box has a knob of Optuna's beside it that says so. Raises
    UsageError for what is no URL, StoreError where the database can't be opened or written.
    """
    import optuna
    from sqlalchemy import exc
    from sqlalchemy.engine import make_url

    try:
        address = make_url(url).render_as_string(hide_password=True)
    except exc.ArgumentError:
        raise UsageError(f"{url!r} is no URL of a database; required one such as sqlite:///optuna.db") from None
    try:
        with quiet_optuna(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = optuna.storages.RDBStorage(url)
            held = {one.study_name for one in optuna.get_all_study_summaries(storage, include_best_trial=False)}
            for one in studies:
                if one.name in held:
                    optuna.delete_study(study_name=one.name, storage=storage)
                directions = ("minimize",) * len(one.objectives)
                study = optuna.create_study(study_name=one.name, storage=storage, directions=directions)
                study.set_metric_names(list(one.objectives))
                for name, value in one.attributes.items():
                    study.set_user_attr(name, value)
                study.add_trials([_trial(setting, one.knobs) for setting in one.settings])
            storage.engine.dispose()
    except (exc.SQLAlchemyError, optuna.exceptions.OptunaError, ImportError) as error:
        raise StoreError(f"{address}: can't be written as a database of Optuna: {reason(error)}") from None


def _trial(setting: RecordedSetting, knobs: Sequence[BoxKnob]) -> optuna.trial.FrozenTrial:
    """The setting as a trial of Optuna's, completed, pruned or failed."""
    import optuna

    space: dict[str, optuna.distributions.BaseDistribution] = {}
    params: dict[str, Any] = {}
    for knob in knobs:
        value = setting.values[knob.name]
        if value is None:
            continue
        if knob.special is not None:
            is_special = SPECIAL.format(knob.name)
            space[is_special] = optuna.distributions.CategoricalDistribution([False, True])
            params[is_special] = value == knob.special[1]
        if knob.special is None or value != knob.special[1]:
            space[knob.name], params[knob.name] = _distribution(knob), int(value) if knob.form == "int" else value
    step, states = setting.pruned_step, optuna.trial.TrialState
    is_lost = math.isnan(setting.losses[0])
    return optuna.trial.create_trial(
        state=states.FAIL if is_lost else states.COMPLETE if step is None else states.PRUNED,
        params=params,
        distributions=space,
        values=None if is_lost else setting.losses,
        intermediate_values={} if step is None else {step: setting.losses[0]},
        user_attrs=dict(setting.attributes),
    )


def _distribution(knob: BoxKnob) -> optuna.distributions.BaseDistribution:
    import optuna

    if knob.is_choice:
        return optuna.distributions.CategoricalDistribution(knob.choices)
    low, high = knob.ends
    if knob.form == "int":
        return optuna.distributions.IntDistribution(int(low), int(high))
    return optuna.distributions.FloatDistribution(low, high, log=knob.form == "log")
