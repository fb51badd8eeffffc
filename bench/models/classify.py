"""Cross entropy, accuracy and calibration of predictions over classes or tokens.

Shapes: E examples (all leading dimensions may be more than one), V classes, K bins of confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

NUM_BINS = 15  # Guo et al. 2017


def cross_entropy(logits_EV: Tensor, targets_E: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of -log softmax at the target in nats, and mean of log(sum exp)^2, the z-loss; both in float32.

    Source of the z-loss: Chowdhery et al. 2022 (PaLM), Sec. 5; Wortsman et al. 2023, Sec. 3.1.2.
    """
    logits_EV = logits_EV.to(torch.promote_types(logits_EV.dtype, torch.float32))
    log_total_E = logits_EV.logsumexp(dim=-1)
    loss_E = log_total_E - logits_EV.gather(-1, targets_E[..., None])[..., 0]
    return loss_E.mean(), log_total_E.square().mean()


def measures(logits_EV: Tensor, targets_E: Tensor) -> dict[str, Tensor]:
    """Means over examples: loss (nats), accuracy (top-1), calibration_gap_K.

    calibration_gap_K: confidence minus correctness of the examples whose confidence lies in bin k, divided by the
    number of all examples; sum_k |gap_k| is the expected calibration error (`calibration_error`). Linear, so it
    averages over batches. Source: Guo et al. 2017, Eq. 3.
    """
    logits_EV = logits_EV.to(torch.promote_types(logits_EV.dtype, torch.float32)).flatten(0, -2)
    targets_E = targets_E.flatten()
    confidence_E, predicted_E = logits_EV.softmax(dim=-1).max(dim=-1)
    correct_E = (predicted_E == targets_E).to(logits_EV.dtype)
    bin_E = (confidence_E * NUM_BINS).ceil().clamp(1, NUM_BINS) - 1
    in_bin_EK = bin_E[:, None] == torch.arange(NUM_BINS, device=bin_E.device)
    return {
        "loss": cross_entropy(logits_EV, targets_E)[0],
        "accuracy": correct_E.mean(),
        "calibration_gap_K": ((confidence_E - correct_E)[:, None] * in_bin_EK).mean(dim=0),
    }


def calibration_error(gap_K: Tensor) -> Tensor:
    """Expected calibration error in [0, 1], of mean gaps (..., K)."""
    return gap_K.abs().sum(dim=-1)


# What held-out data give, by names of bench.held_out, of means of what `measures` gave over all of them.
HELD_OUT_MEASURES: dict[str, Callable[[Mapping[str, Tensor]], Tensor]] = {
    "val_loss": lambda means: means["loss"],
    "val_accuracy": lambda means: means["accuracy"],
    "val_calibration_error": lambda means: calibration_error(means["calibration_gap_K"]),
}
