"""BOX_SCORES: every score of a box with its words and range; `box_numbers` computes them all."""

from __future__ import annotations

import math

from analysis.scores.box.shares import (
    BUDGET,
    DELTA,
    QUANTILES,
    expected_best,
    regret,
    share_within,
    untuned,
)
from analysis.scores.definition import Definition
from analysis.scores.robustness import mean_of_present
from bench.lazy import numpy as np

_ANY, _POSITIVE, _SHARE = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0)
_DODGE, _TANG = "dodge2019show", "tang2020showing"
_LOSS = "the loss of a setting is the mean over seeds of min(final loss, loss at init), which divergence counts as"
_BEST = f"best is the method's own expected_best_{BUDGET}"
_WITHIN = f"within delta = {DELTA:g}, that is, keep all but this share of what the best learns from the loss at init on"

BOX_SCORES: dict[str, Definition] = {
    "robust_share": Definition(
        title="Robust share",
        definition=f"share of the runs at settings drawn from the box, by its declared measure, that lie {_WITHIN}; "
        f"best is what the best of {BUDGET} draws is expected to reach, by method and seed; a diverged run does not; "
        "mean over seeds; higher is more robust",
        unit="share", bounds=_SHARE, higher_is_better=True,
    ),
    "robust_share_board": Definition(
        title="Robust share, board's best",
        definition="as robust_share, but best and loss at init are those of the method whose best is the least of all "
        "that are compared: how much of the box is near the best that is known",
        unit="share", bounds=_SHARE, higher_is_better=True,
    ),
    f"expected_best_{BUDGET}": Definition(
        title=f"Expected best of {BUDGET}",
        definition=f"expected loss of the best of {BUDGET} settings drawn from the box: what so much random tuning "
        f"reaches (mean over all subsets of so many settings; of all, where there are fewer); {_LOSS}",
        unit="loss", bounds=_ANY, kind="loss", higher_is_better=False, sources=(_DODGE, _TANG),
    ),
    "box_sensitivity": Definition(
        title="Box sensitivity",
        definition=f"mean loss of the box above the best loss, as lr_sensitivity is over learning rates; {_BEST}; "
        f"{_LOSS}; lower is more robust",
        unit="loss", bounds=_POSITIVE, higher_is_better=False,
    ),
    "loss_untuned": Definition(
        title="Loss untuned",
        definition=f"mean loss at the 1 in {BUDGET} of the settings that suit the other methods best (least mean share "
        "lost of what each method's best learns): recipes that nobody tuned for the method",
        unit="loss", bounds=_ANY, kind="loss", higher_is_better=False,
    ),
    "tuning_gap": Definition(
        title="Tuning gap",
        definition=f"loss_untuned minus expected_best_{BUDGET}: what {BUDGET} random draws gain over the recipes of "
        "others; below 0 where they lose",
        unit="loss", bounds=_ANY, higher_is_better=False, sources=(_DODGE, _TANG),
    ),
    **{
        f"loss_q{round(100 * quantile)}": Definition(
            title=f"Loss at {quantile:.0%} of the box",
            definition=f"the loss that {quantile:.0%} of the box does not exceed; {_LOSS}",
            unit="loss", bounds=_ANY, kind="loss", higher_is_better=False,
        )
        for quantile in QUANTILES
    },
}  # fmt: skip


def box_numbers(losses_MNS: np.ndarray, initial_MS: np.ndarray, compared_M: np.ndarray) -> np.ndarray:
    """BOX_SCORES of every method, in their order, (M, N, S), (M, S), (M,) -> (K, M).

    compared_M: which methods are compared, and so make the board's best and choose the recipe for all; the others are
    A/A controls. NaN where a method has no result, and of the shares and the untuned loss where it learns nothing.
    """
    loss_MN, initial_M = mean_of_present(losses_MNS), initial_MS.mean(1)
    best_M = best_losses(loss_MN)
    untuned_M = untuned(loss_MN, regret(loss_MN, best_M, initial_M), compared_M)
    delta = np.array([DELTA])
    return np.stack(
        [
            robust_shares(losses_MNS, initial_MS, delta)[:, 0],
            robust_shares(losses_MNS, initial_MS, delta, compared_M)[:, 0],
            best_M,
            mean_of_present(loss_MN) - best_M,
            untuned_M,
            untuned_M - best_M,
            *_quantiles(loss_MN),
        ]
    )


def _quantiles(loss_MN: np.ndarray) -> np.ndarray:
    """The QUANTILES of the points that are there, (M, N) -> (Q, M); NaN without any."""
    has_any_M = np.asarray(~np.isnan(loss_MN).all(1))
    return np.where(has_any_M, np.nanquantile(np.where(has_any_M[:, None], loss_MN, 0.0), QUANTILES, 1), np.nan)


def best_losses(loss_XN: np.ndarray) -> np.ndarray:
    """Expected best of BUDGET draws, or of as many as there are points, (..., N) -> (...)."""
    num_there = (~np.isnan(loss_XN)).sum(-1)
    fewest = int(np.min(num_there, initial=BUDGET, where=num_there > 0))
    return expected_best(loss_XN, np.array([fewest]))[..., 0]


def robust_shares(
    losses_MNS: np.ndarray, initial_MS: np.ndarray, deltas_D: np.ndarray, compared_M: np.ndarray | None = None
) -> np.ndarray:
    """The share of the runs within each delta of the best of their seed, mean over seeds: (M, N, S), (M, S) -> (M, D).

    The best is the method's own; with compared_M, (M,), that of the method of these with the least best.
    """
    loss_MSN = losses_MNS.swapaxes(1, 2)
    best_MS = best_losses(loss_MSN)
    if compared_M is not None:
        board = int(np.where(compared_M, np.nan_to_num(mean_of_present(best_MS), nan=np.inf), np.inf).argmin())
        best_MS, initial_MS = (np.broadcast_to(of_MS[board], of_MS.shape) for of_MS in (best_MS, initial_MS))
    return mean_of_present(share_within(regret(loss_MSN, best_MS, initial_MS), deltas_D).swapaxes(1, 2))
