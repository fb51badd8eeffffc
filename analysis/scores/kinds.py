"""SCORE_KINDS: every score of the score table with its words, its direction, what it is computed from, its interval.

What the 95% intervals cover in simulated suites of 3, 5 and 10 seeds (`python -m tests.analysis.score_coverage`; the
tests hold the list of what departs from 93 to 97%):

- Means over seeds of one value a seed (loss_at_default, spike_rate, steps and time to target, what entropy says) have
  Student's t: 0.94 to 0.95 for values that are normal, shares or counts, and 0.94 for mildly skewed ones (log-normal,
  sigma 0.3). They depart with skew: 0.87 to 0.88 at sigma 0.8.
- loss_at_default and best_loss reach up, where the cliff wanders from seed to seed, by what a cliff that no seed showed
  may cost (analysis/scores/wandering.py): 0.93 to 0.98, and 0.91 for loss_at_default of three seeds whose cliffs
  scatter by half a decade. By the spread over seeds alone it would be 0.89 and 0.71 for best_loss of five and ten seeds
  there, and 0.33 to 0.69 for loss_at_default.
- Of the scores of the whole grid, lr_sensitivity_seedwise covers 0.94 to 0.97. lr_sensitivity_windowed leaps as its
  window moves with the best lr; with halves of the seeds for a third error it covers 0.95 to 0.99 (ten noisy seeds
  without: 0.88).
- Shares of trials (diverged_share) have the error of a rounding to one lr added, as a variance: 0.95 to 0.98, and up to
  1.00 with three seeds that all but agree.
- Scores that are themselves places on the grid (lrs, decades) have half a mean step added on either side, as that
  rounding is the same for any number of seeds: 0.94 to 0.97 for edge_lr and 0.95 to 0.98 for the others where the score
  varies, up to 0.99 where it hardly does. A censored edge has no interval.
- Differences of both must pass a whole step: seeds often agree on a grid point by chance.
- final_loss_spread has a chi-square interval that allows for heavier tails than normal: 0.96 to 0.97 for normal losses,
  0.94 to 0.95 for mildly skewed ones, 0.76 to 0.88 at sigma 0.8.

What is taken at a method's best lr takes that lr as given.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.curves import LossGrid
from analysis.scores import robustness
from analysis.scores.intervals import (
    Difference,
    Interval,
    interval,
    p_beyond,
    paired_differences,
    rounded_interval,
)
from analysis.scores.parts import (
    PartOf,
    at_best,
    best_losses,
    edged,
    final_losses_at_best,
    losses_at_default,
    over_lrs,
    whole,
    windowed,
)
from analysis.scores.robustness import DEFINITIONS, Score
from analysis.scores.spreads import spread_difference, spread_interval
from analysis.scores.traces import COLLAPSE_SHARE, SPIKE_DEVIATIONS, SPIKE_WINDOW, TARGET_LOSSES

# Of the way from the mean loss at init to the least loss of all entries on the workload: more than the half that makes
# an lr stable, and not so much that most methods never get there.
TARGET_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A score of a grid with its interval, and the paired differences of several; `step`: how coarse it is, 0 if not.

    Differences are of every pair, in the order of itertools.combinations.
    """

    estimate: Callable[[LossGrid], Interval]
    differences: Callable[[Sequence[LossGrid]], list[Difference]]
    step: Callable[[LossGrid], float]


@dataclass(frozen=True, kw_only=True)
class ScoreKind:
    """One score. `unit` is that of its values, `difference_unit` that of differences between two methods."""

    title: str
    definition: str
    unit: str
    difference_unit: str
    higher_is_better: bool | None  # None: neither
    null_is_worst: bool  # no value, though there are data, means that the method never got there
    part: PartOf
    statistic: Statistic


def _no_step(grid: LossGrid) -> float:
    return 0.0


def _decades(grid: LossGrid) -> float:
    """Widest distance between neighbouring learning rates in decades; 0 with one."""
    return float(np.diff(np.log10(grid.lrs)).max()) if len(grid.lrs) > 1 else 0.0


def _mean_decades(grid: LossGrid) -> float:
    """Mean distance between neighbouring learning rates in decades; 0 with one."""
    return float(np.diff(np.log10(grid.lrs)).mean()) if len(grid.lrs) > 1 else 0.0


def _one_lr(grid: LossGrid) -> float:
    return 1 / len(grid.lrs)


def _smooth(score: Score) -> Statistic:
    """The score of a grid as analysis.scores.intervals has it."""
    return Statistic(
        estimate=lambda grid: interval(score, grid),
        differences=lambda grids: paired_differences(score, grids),
        step=_no_step,
    )


def _jumping(score: Score) -> Statistic:
    """A score that leaps as the best lr moves by a grid step."""
    return Statistic(
        estimate=lambda grid: interval(score, grid, jumps=True),
        differences=lambda grids: paired_differences(score, grids, jumps=True),
        step=_no_step,
    )


def _on_grid(score: Score) -> Statistic:
    """A score of all seeds that is itself a place on the grid, in decades: half a mean step on either side.

    That rounding does not shrink with the number of seeds.
    """

    def estimate(grid: LossGrid) -> Interval:
        found, half = interval(score, grid), _mean_decades(grid) / 2
        if found.low is None or found.high is None:
            return found
        return dataclasses.replace(found, low=found.low - half, high=found.high + half)

    return _stepped(score, estimate, _decades)


def _share_of_trials(score: Score) -> Statistic:
    """A mean over seeds of shares of their trials: each is rounded to one learning rate of the grid."""
    return _stepped(score, lambda grid: rounded_interval(score, grid, _one_lr(grid)), _one_lr)


def _stepped(score: Score, estimate: Callable[[LossGrid], Interval], step: Callable[[LossGrid], float]) -> Statistic:
    """A score that moves in steps: a difference must pass a whole one, the widest, which one seed's chance may be."""

    def differences(grids: Sequence[LossGrid]) -> list[Difference]:
        steps = [max(step(first), step(second)) for first, second in itertools.combinations(grids, 2)]
        found = paired_differences(score, grids)
        return [dataclasses.replace(one, p_value=p_beyond(one, width)) for one, width in zip(found, steps, strict=True)]

    return Statistic(estimate=estimate, differences=differences, step=step)


def _of_lr(score: Score) -> Statistic:
    """A learning rate: computed in decades, shown as an lr. A censored one, at the top of the grid, has no interval."""

    def log_score(losses_LS: np.ndarray, initial_S: np.ndarray, lrs_L: np.ndarray) -> np.ndarray:
        return np.log10(score(losses_LS, initial_S, lrs_L))

    in_decades = _on_grid(log_score)

    def estimate(grid: LossGrid) -> Interval:
        found = in_decades.estimate(grid)
        value = float(score(grid.losses, grid.initial_losses, grid.lrs))
        is_censored = score is robustness.edge_lr and value == grid.lrs[-1]
        if found.low is None or found.high is None or is_censored:
            return Interval(value=value, low=None, high=None)
        return Interval(value=value, low=10.0**found.low, high=10.0**found.high)

    return dataclasses.replace(in_decades, estimate=estimate)


_SEED_MEAN = _smooth(robustness.seed_mean)
_SEED_SPREAD = Statistic(
    estimate=lambda grid: spread_interval(grid.losses[0]),
    differences=lambda grids: [spread_difference(*pair) for pair in itertools.combinations(grids, 2)],
    step=_no_step,
)


def _loss_score(title: str, definition: str, part: PartOf, statistic: Statistic) -> ScoreKind:
    """A score in units of the loss, lower is better."""
    return ScoreKind(
        title=title, definition=definition, unit="loss", difference_unit="loss", higher_is_better=False,
        null_is_worst=False, part=part, statistic=statistic,
    )  # fmt: skip


def _target_score(title: str, definition: str, unit: str, measure: str) -> ScoreKind:
    """How long a target takes at the best lr; not reaching it is worst."""
    return ScoreKind(
        title=title, definition=definition, unit=unit, difference_unit=unit, higher_is_better=False,
        null_is_worst=True, part=at_best(measure, _CENSORED), statistic=_SEED_MEAN,
    )  # fmt: skip


def _score(
    title: str, definition: str, unit: str, higher_is_better: bool | None, part: PartOf, statistic: Statistic
) -> ScoreKind:
    """Any other score; to have no edge, where no lr is stable, is worst."""
    return ScoreKind(
        title=title, definition=definition, unit=unit, difference_unit="decades" if unit == "lr" else unit,
        higher_is_better=higher_is_better, null_is_worst=part is edged, part=part, statistic=statistic,
    )  # fmt: skip


_TARGET = (
    f"the target lies {TARGET_SHARE:.0%} of the way from the mean training loss at init to the least training loss of "
    f"all entries on the workload; the loss is the mean of the last {TARGET_LOSSES} measured ones"
)
_COLLAPSE = f"the entropy of a layer falls below {COLLAPSE_SHARE:g} of its largest value, log N"
_NO_COLLAPSE = "no trial collapsed"
_CENSORED = "censored: target not reached"

SCORE_KINDS: dict[str, ScoreKind] = {
    "lr_sensitivity": _loss_score(
        "LR sensitivity", DEFINITIONS["lr_sensitivity"], whole, _smooth(robustness.lr_sensitivity)
    ),
    "lr_sensitivity_seedwise": _loss_score(
        "LR sensitivity, seedwise",
        DEFINITIONS["lr_sensitivity_seedwise"],
        whole,
        _smooth(robustness.lr_sensitivity_seedwise),
    ),
    "lr_sensitivity_windowed": _loss_score(
        "LR sensitivity, windowed",
        f"lr_sensitivity over the learning rates within {robustness.WINDOW_DECADES:g} decades of the "
        "method's best one alone (three decades are the range of Wortsman et al. 2023, which must follow a shifted "
        "optimum); lower is more robust",
        windowed,
        _jumping(robustness.lr_sensitivity_windowed),
    ),
    "stable_decades": _score(
        "Stable decades", DEFINITIONS["stable_decades"], "decades", True, whole,
        _on_grid(robustness.stable_decades),
    ),
    "edge_lr": _score(
        "Edge", "largest learning rate at which no seed diverged and the loss keeps at least half of what the best "
        "learning rate learns; censored, a lower bound, where it is the largest of the grid", "lr", True, edged,
        _of_lr(robustness.edge_lr),
    ),
    "best_loss": _loss_score("Best loss", DEFINITIONS["best_loss"], best_losses, _smooth(robustness.best_loss)),
    "best_lr": _score("Best lr", DEFINITIONS["best_lr"], "lr", None, whole, _of_lr(robustness.best_lr)),
    "loss_at_default": _loss_score(
        "Loss at default lr",
        "mean over seeds of min(final loss, the seed's loss at init) at the default learning rate, the lower median of "
        "the best learning rates of all methods that learned with the same workload, optimizer and knobs: what a "
        "method reaches if nobody tunes it",
        losses_at_default,
        _SEED_MEAN,
    ),
    "diverged_share": _score(
        "Diverged", DEFINITIONS["diverged_share"], "share", False, whole, _share_of_trials(robustness.diverged_share)
    ),
    "final_loss_spread": _loss_score(
        "Spread over seeds",
        "standard deviation over seeds of the final loss at the best learning rate, which is taken as given",
        final_losses_at_best,
        _SEED_SPREAD,
    ),
    "spike_rate": _score(
        "Loss spikes",
        f"share of the measured training losses that lie more than {SPIKE_DEVIATIONS:g} standard deviations above the "
        f"mean of the {SPIKE_WINDOW} measured before (20 at least), in log loss (after the spike score of OLMo 2, "
        "Walsh et al. 2025); mean over the trials that completed",
        "share", False, over_lrs("spike_share", "too few measured losses"), _SEED_MEAN,
    ),
    "steps_to_target": _target_score(
        "Steps to target",
        f"updates until the training loss is at the target, at the best learning rate; {_TARGET}",
        "steps", "target_step",
    ),
    "time_to_target": _target_score(
        "Time to target",
        "steps_to_target times a trial's seconds a step, which are its share of those of the pack it trained in",
        "s", "target_s",
    ),
    "entropy_collapse_share": _score(
        "Collapsed", f"share of the trials in which {_COLLAPSE}", "share", False,
        over_lrs("collapsed", "no entropy in the traces"), _share_of_trials(robustness.seed_mean),
    ),
    "entropy_collapse_step": _score(
        "Collapse step", f"updates until {_COLLAPSE}; mean over the trials in which it does", "steps", None,
        over_lrs("collapse_step", _NO_COLLAPSE), _SEED_MEAN,
    ),
    "entropy_collapse_layer": _score(
        "Collapse layer", f"the layer, from 0, where first {_COLLAPSE}; mean over the trials in which it does",
        "layers", None, over_lrs("collapse_layer", _NO_COLLAPSE), _SEED_MEAN,
    ),
    "lowest_entropy": _score(
        "Lowest entropy", "least entropy of any layer at any step, as a share of log N, at the best learning rate",
        "share", None, at_best("lowest_entropy", "no entropy"), _SEED_MEAN,
    ),
}  # fmt: skip
