"""Importance of knobs by Optuna's evaluators, of points in the unit cube with their losses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.lazy import numpy as np
from bench.search.quiet import quiet_optuna

if TYPE_CHECKING:
    import optuna

    from analysis.scores.box.importance import Evaluator

_NUM_TREES, _DEPTH = 8, 6  # of the forest: its trees have at most 64 leaves, whose number makes the time
_TOP_SHARE = 0.1  # of the points, which PED-ANOVA holds against all


def fanova(units_NK: np.ndarray, losses_N: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Shares of the variance that each knob explains alone, (N, K), (N,), K numbers of values -> (K,), in [0, 1].

    Source: Hutter et al. 2014, by optuna.importance.FanovaImportanceEvaluator with 8 trees of depth 6 at most.
    """
    return _evaluated(_fanova, units_NK, losses_N, counts)


def ped_anova(units_NK: np.ndarray, losses_N: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Importance of each knob for reaching the best tenth, of all knobs together 1, (N, K), (N,), K -> (K,).

    Source: Watanabe et al. 2023, by optuna.importance.PedAnovaImportanceEvaluator. 0 of all where nothing tells.
    """
    found_K = _evaluated(_ped_anova, units_NK, losses_N, counts)
    return found_K / found_K.sum() if found_K.sum() > 0 else found_K


EVALUATORS: dict[str, Evaluator] = {"fanova": fanova, "ped_anova": ped_anova}


def _fanova() -> optuna.importance.BaseImportanceEvaluator:
    import optuna

    return optuna.importance.FanovaImportanceEvaluator(n_trees=_NUM_TREES, max_depth=_DEPTH, seed=0)


def _ped_anova() -> optuna.importance.BaseImportanceEvaluator:
    import optuna

    return optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_TOP_SHARE)


def _evaluated(
    evaluator: Callable[[], optuna.importance.BaseImportanceEvaluator],
    units_NK: np.ndarray,
    losses_N: np.ndarray,
    counts: Sequence[int],
) -> np.ndarray:
    """The importance of each knob, not normalised; a list is a categorical knob."""
    import optuna

    if len(np.unique(losses_N)) < 2:
        return np.zeros(units_NK.shape[1])
    names = [f"knob_{place:03d}" for place in range(units_NK.shape[1])]
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(range(count))
        if count
        else optuna.distributions.FloatDistribution(0.0, 1.0)
        for name, count in zip(names, counts, strict=True)
    }
    values = [
        {name: int(unit * count) if count else unit for name, unit, count in zip(names, row, counts, strict=True)}
        for row in units_NK.tolist()
    ]
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study()
        study.add_trials(
            [
                optuna.trial.create_trial(params=params, distributions=space, value=loss)
                for params, loss in zip(values, losses_N.tolist(), strict=True)
            ]
        )
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator(), normalize=False)
    return np.array([float(shares[name]) for name in names])
