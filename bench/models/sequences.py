"""Losses and measures of ragged sequences of predictions, and greedy decoding.

Shapes: B batch, U tokens of a sequence, V vocabulary. weights_BU: 0 for padding; of tokens such that the mean over B of
weighted sums over U is the mean over all tokens that the weights were made for, a whole batch or all held-out data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class TokenLosses(NamedTuple):
    """Means over tokens, in float32 at least.

    loss: -log softmax at the target, in nats; uniform: the mean of -log softmax over the vocabulary, what label
    smoothing adds a share of; z: log(sum exp)^2, the z-loss.
    """

    loss: Tensor
    uniform: Tensor
    z: Tensor


def token_losses(logits_BUV: Tensor, targets_BU: Tensor, weights_BU: Tensor) -> TokenLosses:
    """Means over tokens, weighted. Source of label smoothing: Szegedy et al. 2016, Sec. 7."""
    logits_BUV = logits_BUV.to(torch.promote_types(logits_BUV.dtype, torch.float32))
    log_total_BU = logits_BUV.logsumexp(dim=-1)
    of_target_BU = logits_BUV.gather(-1, targets_BU[..., None])[..., 0]
    return TokenLosses(
        loss=weighted_mean(log_total_BU - of_target_BU, weights_BU),
        uniform=weighted_mean(log_total_BU - logits_BUV.mean(dim=-1), weights_BU),
        z=weighted_mean(log_total_BU.square(), weights_BU),
    )


def token_measures(logits_BUV: Tensor, targets_BU: Tensor, weights_BU: Tensor) -> dict[str, Tensor]:
    """Means over tokens: loss (nats), accuracy (top-1); means over the batch: exact, sequences.

    exact: whether every token of a sequence is the most probable one; sequences: whether it has any token. Their ratio
    over all held-out data is the share of sequences that are right, though some batches are filled with empty ones.
    """
    is_right_BU = logits_BUV.argmax(dim=-1) == targets_BU
    is_token_BU = weights_BU > 0
    is_sequence_B = is_token_BU.any(dim=-1)
    is_exact_B = (is_right_BU | ~is_token_BU).all(dim=-1) & is_sequence_B
    loss = token_losses(logits_BUV, targets_BU, weights_BU).loss
    return {
        "loss": loss,
        "accuracy": weighted_mean(is_right_BU.to(loss.dtype), weights_BU),
        "exact": is_exact_B.to(loss.dtype).mean(),
        "sequences": is_sequence_B.to(loss.dtype).mean(),
    }


def weighted_mean(value_BU: Tensor, weights_BU: Tensor) -> Tensor:
    """The mean over B of weighted sums over U; values of weight 0 may be anything finite."""
    return (value_BU * weights_BU).sum(dim=-1).mean()


def greedy(
    logits_of: Callable[[Tensor, int], Tensor], like_B: Tensor, *, num_tokens: int, start: int, end: int, padding: int
) -> Tensor:
    """The most probable next token, again and again: ids (B, U) up to and with `end`, then `padding`.

    logits_of: of tokens (B, U) and a place those of the token that follows it, (B, V), which depend on no later one.
    like_B: any tensor of the batch. All U passes are made, over all tokens: shapes are fixed, and nothing looks at
    values.
    """
    place_U = torch.arange(num_tokens, device=like_B.device)
    read_BU = torch.where(place_U == 0, start, padding) + torch.zeros_like(like_B, dtype=torch.int64)[:, None]
    written_BU = torch.full_like(read_BU, padding)
    is_done_B = torch.zeros_like(like_B, dtype=torch.bool)
    for place in range(num_tokens):
        next_B = logits_of(read_BU, place).argmax(dim=-1)
        next_B = torch.where(is_done_B, padding, next_B)
        is_done_B = is_done_B | (next_B == end)
        written_BU = torch.where(place_U == place, next_B[:, None], written_BU)
        read_BU = torch.where(place_U == place + 1, next_B[:, None], read_BU)
    return written_BU
