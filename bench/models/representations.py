"""What representations are worth, by matrix products alone: nearest neighbours, a linear probe, effective rank.

Shapes: N examples of a bank whose classes are known, Q queries, C channels, V classes, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

NUM_NEIGHBOURS, TEMPERATURE = 20, 0.07  # Wu et al. 2018 take 200 of 50,000; Caron et al. 2021 (DINO) found 20 best
RIDGE = 0.01  # beside variances of 1
NUM_NEWTON = 30  # doublings of digits: enough for condition numbers up to 1e6


def neighbours_accuracy(
    bank_NC: Tensor, bank_labels_N: Tensor, queries_QC: Tensor, labels_Q: Tensor, *, num_classes: int
) -> Tensor:
    """Share of queries whose class most of their neighbours in the bank have, by weight; a scalar in [0, 1].

    The neighbours are the NUM_NEIGHBOURS of largest cosine, weighted by exp(cosine / 0.07), after the bank's mean is
    taken off. Source: Wu et al. 2018, Sec. 3.4, but for the mean: without it what all have in common counts as alike.
    """
    mean_C = bank_NC.mean(dim=0)
    bank_NC, queries_QC = (torch.nn.functional.normalize(x - mean_C, dim=-1) for x in (bank_NC, queries_QC))
    cosine_QK, place_QK = (queries_QC @ bank_NC.mT).topk(min(NUM_NEIGHBOURS, len(bank_NC)), dim=-1)
    classes_NV = _one_hot(bank_labels_N, num_classes, bank_NC)
    votes_QV = ((cosine_QK / TEMPERATURE).exp()[..., None] * classes_NV[place_QK]).sum(dim=-2)
    return (votes_QV.argmax(dim=-1) == labels_Q).to(bank_NC.dtype).mean()


def probe_accuracy(
    bank_NC: Tensor,
    bank_labels_N: Tensor,
    queries_QC: Tensor,
    labels_Q: Tensor,
    *,
    num_classes: int,
    invert: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Share of queries that a linear classifier of the bank gets right; a scalar in [0, 1].

    Ridge regression of 0 and 1 for every class, channels scaled to variance 1 in the bank, penalty RIDGE; so it has a
    closed form and no learning rate. invert: a symmetric positive definite matrix, `inverse` unless given.
    """
    mean_C, std_C = bank_NC.mean(dim=0), bank_NC.std(dim=0, correction=0)
    scale_C = torch.where(std_C > 0, 1 / std_C, 0)
    bank_NC, queries_QC = ((x - mean_C) * scale_C for x in (bank_NC, queries_QC))
    targets_NV = _one_hot(bank_labels_N, num_classes, bank_NC)
    share_V = targets_NV.mean(dim=0)
    logits_QV = queries_QC @ ridge(bank_NC, targets_NV - share_V, invert=invert or inverse) + share_V
    return (logits_QV.argmax(dim=-1) == labels_Q).to(bank_NC.dtype).mean()


def ridge(x_NC: Tensor, y_NV: Tensor, *, invert: Callable[[Tensor], Tensor]) -> Tensor:
    """W (C, V) of the least mean |x W - y|^2 + RIDGE |W|^2; where C > N by as many equations as there are examples."""
    num_examples, num_channels = x_NC.shape
    if num_channels <= num_examples:
        return invert(_ridged(x_NC.mT @ x_NC / num_examples)) @ (x_NC.mT @ y_NV / num_examples)
    return x_NC.mT @ (invert(_ridged(x_NC @ x_NC.mT / num_examples)) @ y_NV) / num_examples


def inverse(a_CC: Tensor) -> Tensor:
    """The inverse of a symmetric positive definite matrix by Newton's iteration.

    A solver of a library would look at values on the processor, which no captured graph can. Source: Schulz 1933.
    """
    identity_CC = torch.eye(a_CC.shape[-1], dtype=a_CC.dtype, device=a_CC.device)
    # Below 2 / the largest eigenvalue, which no sum of absolute values in a row is below.
    x_CC = identity_CC / a_CC.abs().sum(dim=-1).amax()
    for _ in range(NUM_NEWTON):
        x_CC = x_CC @ (2 * identity_CC - a_CC @ x_CC)
    return x_CC


def effective_rank(x_NC: Tensor) -> Tensor:
    """(sum of e)^2 / sum of e^2 of the eigenvalues e of the covariance, in [1, C]; 0 if all examples are alike.

    How many directions representations spread over; also called participation ratio. Roy & Vetterli 2007 take the
    exponential of the entropy of singular values, which products alone do not give.
    """
    centred_NC = x_NC - x_NC.mean(dim=0)
    covariance_CC = centred_NC.mT @ centred_NC / len(x_NC)
    total, squares = covariance_CC.diagonal().sum(), covariance_CC.square().sum()
    return torch.where(squares > 0, total.square() / squares.clamp_min(torch.finfo(x_NC.dtype).tiny), 0)


def _ridged(a_CC: Tensor) -> Tensor:
    return a_CC + RIDGE * torch.eye(a_CC.shape[-1], dtype=a_CC.dtype, device=a_CC.device)


def _one_hot(labels_N: Tensor, num_classes: int, like: Tensor) -> Tensor:
    return (labels_N[..., None] == torch.arange(num_classes, device=labels_N.device)).to(like.dtype)
