"""SCORE_KINDS: every score of the score table with its words, its direction, what it is computed from, its interval.

A new score is a function of a grid in a file of its own and an entry here; the score table, the definitions and sources
of a report, comparisons over conditions and the range that its values keep to derive from the entry.

What the 95% intervals cover in simulated suites of 3, 5 and 10 seeds (`python -m tests.analysis.score_coverage`; the
tests hold the list of what departs from 93 to 97%):

- Means over seeds of one loss a seed (loss_at_default) have Student's t: 0.95 for normal values.
- Means of shares (spike_rate, lowest_entropy) have Wilson's interval with t, those of times (steps and time to target,
  the step of a collapse) are as wide on a log scale (analysis/scores/seeds/scales.py). Beta(8, 1), as of entropies near
  their most: 0.94, where t cut at 1 covers 0.90; log-normal times of sigma 0.3: 0.95; of sigma 0.8 0.91 to 0.93, where
  t covers 0.86 to 0.88. A share of 0 reaches up by what so many outcomes may not have shown.
- loss_at_default and best_loss reach up, where the cliff wanders from seed to seed, by what a cliff that no seed showed
  may cost (analysis/scores/seeds/wandering.py): 0.93 to 0.98, and 0.91 for loss_at_default of three seeds whose cliffs
  scatter by half a decade. By the spread over seeds alone it would be 0.89 and 0.71 for best_loss of five and ten seeds
  there, and 0.33 to 0.69 for loss_at_default.
- Of the scores of the whole grid, lr_sensitivity_seedwise covers 0.94 to 0.97. lr_sensitivity_windowed leaps as its
  window moves with the best lr; with halves of the seeds for a third error it covers 0.95 to 0.99 (ten noisy seeds
  without: 0.88).
- Shares of trials (diverged_share) have the error of a rounding to one lr added, as a variance, and t cut at 0 and 1:
  0.95 to 0.98, and up to 1.00 with three seeds that all but agree; 0.90 to 0.98 where cliffs lie so near the top of the
  grid that few trials diverge. Wilson's interval covers 0.91 to 0.97 there and is up to three times as wide.
- Scores that are themselves places on the grid (lrs, decades) have half a mean step added on either side, as that
  rounding is the same for any number of seeds: 0.94 to 0.97 for edge_lr and 0.95 to 0.98 for the others where the score
  varies, up to 0.99 where it hardly does. What lies beyond the grid is cut off, and said to be censored for lrs.
- Differences of both must pass a whole step: seeds often agree on a grid point by chance.
- final_loss_spread has a chi-square interval that allows for heavier tails than normal: 0.96 to 0.97 for normal losses,
  0.94 to 0.95 for mildly skewed ones, 0.76 to 0.88 at sigma 0.8.

What is taken at a method's best lr takes that lr as given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from analysis.scores import robustness
from analysis.scores.definition import Definition
from analysis.scores.parts import (
    UNTRACED,
    PartOf,
    along_lrs,
    at_best,
    best_losses,
    blown_up,
    edged,
    final_losses_at_best,
    losses_at_default,
    of_entropy,
    of_spikes,
    over_lrs,
    stuck,
    whole,
    windowed,
)
from analysis.scores.robustness import Score
from analysis.scores.seeds.statistics import (
    Statistic,
    jumping,
    of_lr,
    on_grid,
    positive_mean,
    share,
    share_of_trials,
    smooth,
    spread_of_seeds,
)
from analysis.scores.traces import (
    COLLAPSE_SHARE,
    LASTING_LOSSES,
    RECOVERY_STEPS,
    SPIKE_DEVIATIONS,
    SPIKE_MADS,
    SPIKE_WINDOW,
    TARGET_LOSSES,
)
from analysis.stuck import STUCK_SHARE

# Of the way from the mean loss at init to the least loss of all entries on the workload: more than the half that makes
# an lr stable, and not so much that most methods never get there.
TARGET_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class ScoreKind(Definition):
    """One score: `function` of what `part` takes from an entry, with the interval that `spread` makes of it.

    null_is_worst: no value, though there are data, means that the method never got there.
    """

    part: PartOf
    function: Score
    spread: Callable[[Score], Statistic]
    null_is_worst: bool = False

    @cached_property
    def statistic(self) -> Statistic:
        """The score of a grid with its interval, and differences."""
        return self.spread(self.function)

    @property
    def needs_traces(self) -> bool:
        return self.part not in UNTRACED


_HONG_LEE, _WORTSMAN, _ZHAI = "hong2025variance", "wortsman2024small", "zhai2023stabilizing"
_WILSON, _CLOPPER = "wilson1927probable", "clopper1934use"  # of intervals of shares
_ANY, _POSITIVE, _SHARE = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0)
_CENSORED = "censored: target not reached"
_NO_COLLAPSE = "no trial collapsed"
_NO_ENTROPY, _NO_HEADS = "no entropy in the traces", "no entropy by head in the traces"
_TARGET = (
    f"the target lies {TARGET_SHARE:.0%} of the way from the mean training loss at init to the least training loss of "
    f"all entries on the workload; the loss is the mean of the last {TARGET_LOSSES} measured ones"
)
_UNIFORM = "that of rows uniform over the keys that each sees (log N where all see N)"
_COLLAPSE = f"the entropy of a layer falls below {COLLAPSE_SHARE:g} of {_UNIFORM}"

SCORE_KINDS: dict[str, ScoreKind] = {
    "lr_sensitivity": ScoreKind(
        title="LR sensitivity",
        definition="mean over the learning rates of [min(loss(lr), loss at init) - best loss], loss(lr) averaged "
        "over seeds, a diverged seed clipping its learning rate to the loss at init, best loss the method's own "
        "(Hong and Lee 2025, App. C.3, after Wortsman et al. 2023); lower is more robust",
        unit="loss", bounds=_POSITIVE, higher_is_better=False, sources=(_HONG_LEE, _WORTSMAN),
        part=along_lrs, function=robustness.lr_sensitivity, spread=smooth,
    ),
    "lr_sensitivity_seedwise": ScoreKind(
        title="LR sensitivity, seedwise",
        definition="as lr_sensitivity, but each seed's loss is clipped at its own loss at init before seeds are "
        "averaged; lower is more robust",
        unit="loss", bounds=_POSITIVE, higher_is_better=False, sources=(_HONG_LEE, _WORTSMAN),
        part=along_lrs, function=robustness.lr_sensitivity_seedwise, spread=smooth,
    ),
    "lr_sensitivity_windowed": ScoreKind(
        title="LR sensitivity, windowed",
        definition=f"lr_sensitivity over the learning rates within {robustness.WINDOW_DECADES:g} decades of the "
        "method's best one alone (three decades are the range of Wortsman et al. 2023, which must follow a shifted "
        "optimum); lower is more robust",
        unit="loss", bounds=_POSITIVE, higher_is_better=False, sources=(_WORTSMAN, _HONG_LEE, "shao1989general"),
        part=windowed, function=robustness.lr_sensitivity_windowed, spread=jumping,
    ),
    "stable_decades": ScoreKind(
        title="Stable decades",
        definition="width in log10 lr of the longest run of learning rates at which no seed diverged and the loss "
        "keeps at least half of what the best learning rate learns; edges midway between grid points",
        unit="decades", bounds=_POSITIVE, kind="width in decades", higher_is_better=True,
        part=along_lrs, function=robustness.stable_decades, spread=on_grid,
    ),
    "edge_lr": ScoreKind(
        title="Edge",
        definition="largest learning rate at which no seed diverged and the loss keeps at least half of what the best "
        "learning rate learns; censored, a lower bound, where it is the largest of the grid",
        unit="lr", bounds=_POSITIVE, kind="lr", higher_is_better=True, null_is_worst=True,
        part=edged, function=robustness.edge_lr, spread=of_lr,
    ),
    "best_loss": ScoreKind(
        title="Best loss",
        definition="least over the learning rates of loss(lr), averaged over seeds, also where that lies above the "
        "loss at init; the loss at init if a seed diverged at every learning rate",
        unit="loss", bounds=_ANY, kind="loss", higher_is_better=False,
        part=best_losses, function=robustness.best_loss, spread=smooth,
    ),
    "best_lr": ScoreKind(
        title="Best lr",
        definition="learning rate of the best loss",
        unit="lr", bounds=_POSITIVE, kind="lr", higher_is_better=None,
        part=along_lrs, function=robustness.best_lr, spread=of_lr,
    ),
    "loss_at_default": ScoreKind(
        title="Loss at default lr",
        definition="mean over seeds of min(final loss, the seed's loss at init) at the default learning rate, the "
        "lower median of the best learning rates of all methods that learned with the same workload, optimizer and "
        "knobs: what a method reaches if nobody tunes it",
        unit="loss", bounds=_ANY, kind="loss", higher_is_better=False,
        part=losses_at_default, function=robustness.seed_mean, spread=smooth,
    ),
    "diverged_share": ScoreKind(
        title="Diverged",
        definition="share of the trials that diverged (non-finite loss)",
        unit="share", bounds=_SHARE, higher_is_better=False, sources=(_CLOPPER,),
        part=whole, function=robustness.diverged_share, spread=share_of_trials,
    ),
    "blown_up_share": ScoreKind(
        title="Blown up",
        definition="share of the trials that completed with a final loss above their loss at init by more than a "
        "margin (10% of it, unless the suite or the import sets another); they are no divergences",
        unit="share", bounds=_SHARE, higher_is_better=False, sources=(_CLOPPER,),
        part=blown_up, function=robustness.mean_over_trials, spread=share_of_trials,
    ),
    "stuck_share": ScoreKind(
        title="Stuck",
        definition=f"share of the trials that completed and neither learned nor blew up: their final loss is less than "
        f"{STUCK_SHARE:.0%} of the loss at init below it, and not above it by more than the margin of blown_up_share",
        unit="share", bounds=_SHARE, higher_is_better=False, sources=(_CLOPPER,),
        part=stuck, function=robustness.mean_over_trials, spread=share_of_trials,
    ),
    "final_loss_spread": ScoreKind(
        title="Spread over seeds",
        definition="standard deviation over seeds of the final loss at the best learning rate, which is taken as given",
        unit="loss", bounds=_POSITIVE, higher_is_better=False, sources=("pitman1939note", "morgan1939test"),
        part=final_losses_at_best, function=robustness.seed_spread, spread=spread_of_seeds,
    ),
    "spike_rate": ScoreKind(
        title="Loss spikes",
        definition=f"share of the measured training losses that lie more than {SPIKE_DEVIATIONS:g} standard "
        f"deviations above the mean of the {SPIKE_WINDOW} measured before (20 at least), in log loss (after the spike "
        "score of OLMo 2, Walsh et al. 2025); mean over the trials that completed",
        unit="share", bounds=_SHARE, higher_is_better=False, sources=("walsh2025olmo", _WILSON, _CLOPPER),
        part=of_spikes(over_lrs("spike_share", "too few measured losses")), function=robustness.seed_mean, spread=share,
    ),
    "recovered_spike_share": ScoreKind(
        title="Recovered spikes",
        definition=f"share of the trials that completed in which the loss spiked and came back: {LASTING_LOSSES} "
        f"measured losses in a row above the median of the {SPIKE_WINDOW} before (20 at least) by more than "
        f"{SPIKE_MADS:g} times 1.4826 of their median absolute deviation, and later, within {RECOVERY_STEPS:,} steps, "
        "one that is not",
        unit="share", bounds=_SHARE, higher_is_better=None, sources=(_CLOPPER,),
        part=over_lrs("has_recovered_spike", "too few measured losses"), function=robustness.seed_mean,
        spread=share_of_trials,
    ),
    "steps_to_target": ScoreKind(
        title="Steps to target",
        definition=f"updates until the training loss is at the target, at the best learning rate; {_TARGET}",
        unit="steps", bounds=_POSITIVE, kind="steps", higher_is_better=False, null_is_worst=True,
        sources=("dahl2023benchmarking",),
        part=at_best("target_step", _CENSORED), function=robustness.seed_mean, spread=positive_mean,
    ),
    "time_to_target": ScoreKind(
        title="Time to target",
        definition="steps_to_target times a trial's seconds a step, which are its share of those of the pack it "
        "trained in",
        unit="s", bounds=_POSITIVE, kind="seconds", higher_is_better=False, null_is_worst=True,
        sources=("dahl2023benchmarking",),
        part=at_best("target_s", _CENSORED), function=robustness.seed_mean, spread=positive_mean,
    ),
    "entropy_collapse_share": ScoreKind(
        title="Collapsed",
        definition=f"share of the trials in which {_COLLAPSE}",
        unit="share", bounds=_SHARE, higher_is_better=False, sources=(_ZHAI, _CLOPPER),
        part=of_entropy(over_lrs("collapsed", _NO_ENTROPY)), function=robustness.seed_mean, spread=share_of_trials,
    ),
    "head_collapse_share": ScoreKind(
        title="Collapsed by head",
        definition="share of the trials in which a head's entropy, mean over batch and rows, falls below "
        f"{COLLAPSE_SHARE:g} of {_UNIFORM}",
        unit="share", bounds=_SHARE, higher_is_better=False, sources=(_ZHAI, _CLOPPER),
        part=of_entropy(over_lrs("head_collapsed", _NO_HEADS)), function=robustness.seed_mean, spread=share_of_trials,
    ),
    "entropy_collapse_step": ScoreKind(
        title="Collapse step",
        definition=f"updates until {_COLLAPSE}; mean over the trials in which it does",
        unit="steps", bounds=_POSITIVE, kind="steps", higher_is_better=None, sources=(_ZHAI,),
        part=of_entropy(over_lrs("collapse_step", _NO_COLLAPSE)), function=robustness.seed_mean, spread=positive_mean,
    ),
    "entropy_collapse_layer": ScoreKind(
        title="Collapse layer",
        definition=f"the layer, from 0, where first {_COLLAPSE}; mean over the trials in which it does",
        unit="layers", bounds=_POSITIVE, kind="layer", higher_is_better=None, sources=(_ZHAI,),
        part=of_entropy(over_lrs("collapse_layer", _NO_COLLAPSE)), function=robustness.seed_mean, spread=smooth,
    ),
    "lowest_entropy": ScoreKind(
        title="Lowest entropy",
        definition=f"least entropy of any layer at any step, as a share of {_UNIFORM}, at the best learning rate",
        unit="share", bounds=_SHARE, higher_is_better=None, sources=(_ZHAI, _WILSON),
        part=of_entropy(at_best("lowest_entropy", "no entropy")), function=robustness.seed_mean, spread=share,
    ),
    "lowest_head_entropy": ScoreKind(
        title="Lowest entropy of a head",
        definition=f"least entropy of any head at any step, mean over batch and rows, as a share of {_UNIFORM}, at the "
        "best learning rate",
        unit="share", bounds=_SHARE, higher_is_better=None, sources=(_ZHAI, _WILSON),
        part=of_entropy(at_best("lowest_head_entropy", _NO_HEADS)), function=robustness.seed_mean, spread=share,
    ),
}  # fmt: skip
