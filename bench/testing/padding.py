"""Padding: an example's output and gradients are those of the example alone, without any, whatever stands beside it.

Shapes: B batch, H heads, Q queries, K keys, D width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Method, State
from bench.methods.mask import Mask
from bench.models.attention import Mode, attend
from bench.testing.method_case import MethodCase
from bench.testing.paths import LONG, NUM_HEADS, SHORT, WIDTH, randn, state_of
from bench.testing.properties import Property, require, require_close

if TYPE_CHECKING:
    from torch import Tensor

NOISE = 30.0  # what padding holds, by the deviation of tokens
# Of the second of two examples, of which the first has all queries and keys, the shares that are tokens.
SHARE_OF_QUERIES, SHARE_OF_KEYS = 0.3, 0.6


def self_attention(is_query_BQ: Tensor, is_key_BK: Tensor) -> Mask:
    """Attention of an encoder: queries are the keys."""
    return Mask.padded(is_key_BK)


def causal_attention(is_query_BQ: Tensor, is_key_BK: Tensor) -> Mask:
    """Attention of a decoder: queries are the keys, padding comes last."""
    return Mask.causal(is_key_BK.shape[-1], is_key_BK.device, is_key_BK)


def cross_attention(is_query_BQ: Tensor, is_key_BK: Tensor) -> Mask:
    """Attention of a decoder's queries to an encoder's keys."""
    return Mask.padded(is_key_BK, is_query_BQ)


MASKS: dict[str, Callable[[Tensor, Tensor], Mask]] = {
    "self": self_attention,
    "causal": causal_attention,
    "cross": cross_attention,
}


def sizes(mask: str, num_keys: int) -> tuple[list[int], list[int]]:
    """Numbers of queries, and of keys, of two examples; the first has all of the batch's."""
    keys = [num_keys, int(SHARE_OF_KEYS * num_keys)]
    return ([num_keys - 3, int(SHARE_OF_QUERIES * num_keys)] if mask == "cross" else keys), keys


def attended(
    method: Method, mask: str, lengths: tuple[list[int], list[int]], qkv: tuple[Tensor, ...], state: State, mode: Mode
) -> tuple[Tensor, ...]:
    """P V and the gradients of q, k and v, for a cotangent that is 0 at padding."""
    is_query_BQ, is_key_BK = (
        torch.arange(x.shape[-2], device=x.device) < torch.tensor(of, device=x.device)[:, None]
        for of, x in zip(lengths, qkv[:2], strict=True)
    )
    allowed = MASKS[mask](is_query_BQ, is_key_BK)
    if mask != "cross" or method.in_cross == "own":
        allowed = method.restrict(allowed)

    def objective(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        output_BHQD = attend(method, q, k, v, allowed, state, mode, logit_scale=WIDTH**-0.5)[0]
        numbers = torch.arange(output_BHQD[0, 0].numel(), device=output_BHQD.device)
        slope_QD = numbers.square().cos().reshape(output_BHQD.shape[-2:])
        return (output_BHQD * slope_QD * is_query_BQ[:, None, :, None]).sum(), output_BHQD

    grads, (_, output_BHQD) = torch.func.grad_and_value(objective, (0, 1, 2), has_aux=True)(*qkv)
    return output_BHQD, *grads


def padded_inputs(mask: str, num_keys: int, seed: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Queries, keys and values of two examples, (2, H, Q or K, D), whose padding is NOISE times as large."""
    lengths = sizes(mask, num_keys)
    tensors = []
    for index, of in enumerate((*lengths, lengths[1])):
        x_BHTD = randn(seed + index, len(of), NUM_HEADS, of[0], WIDTH, dtype=dtype)
        is_token_B1T1 = (torch.arange(of[0]) < torch.tensor(of)[:, None])[:, None, :, None]
        tensors.append(x_BHTD * torch.where(is_token_B1T1, 1.0, NOISE).to(dtype))
    return tuple(tensors)


def alone(tensors: tuple[Tensor, ...], example: int, lengths: tuple[list[int], list[int]]) -> tuple[Tensor, ...]:
    """Tokens of one example of q, k and v, or of an output and what q, k and v get."""
    queries, keys = (of[example] for of in lengths)
    wanted = (queries, keys, keys) if len(tensors) == 3 else (queries, queries, keys, keys)
    return tuple(x[example : example + 1, :, :count] for x, count in zip(tensors, wanted, strict=True))


def padding_and_neighbours_change_nothing(case: MethodCase) -> str:
    """Output and gradients of each of two examples of unequal lengths, and of it alone; dense and by the fast path."""
    largest = ""
    for num_keys in (SHORT, LONG):
        for mask in MASKS:
            state, lengths = state_of(case.method, num_keys, torch.float64), sizes(mask, num_keys)
            qkv = padded_inputs(mask, num_keys, 0, torch.float64)
            for mode in (Mode(is_reference=True), Mode()):
                together = attended(case.method, mask, lengths, qkv, state, mode)
                for example in range(2):
                    one = ([lengths[0][example]], [lengths[1][example]])
                    expected = attended(case.method, mask, one, alone(qkv, example, lengths), state, mode)
                    what = f"{'weights @ v' if mode.is_reference else 'attend'} of an example padded to {num_keys} keys"
                    largest = require_close(
                        alone(together, example, lengths), expected, f"{what} ({mask} attention)", rtol=1e-9, atol=1e-11
                    )
                for grad, of in zip(together[1:], (lengths[0], lengths[1], lengths[1]), strict=True):
                    require(not grad[1, :, of[1] :].any(), f"padding gets a gradient ({mask} attention)")
    return largest


PADDING_PROPERTIES: dict[str, Property] = {
    "padding and neighbours change nothing": Property(of="weights", check=padding_and_neighbours_change_nothing),
}
