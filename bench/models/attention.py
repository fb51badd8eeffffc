"""One layer's attention as every model uses it: normalise, rotate, scale, attend, and observe in parts.

Shapes: B batch, H heads, T tokens, D width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Heads, Method, dense_logits, dense_weights, weighted_sum
from bench.methods.linear import Draw
from bench.methods.mask import Mask
from bench.methods.precision import as_multiplied, widened, without_autocast
from bench.models.admin import Profile
from bench.probes.base import Attention, Probe, merge, observe

if TYPE_CHECKING:
    from torch import Tensor

    from bench.models.dropout import Dropout

Tensors = dict[str, "Tensor"]
# Elements of one logits tensor while observing (64 MiB of float32): a large model is never observed all heads at once.
MAX_OBSERVED_ELEMENTS = 2**24
METHOD = "method."  # what a method adds to a layer is named so, after the layer's prefix


@dataclass(frozen=True, kw_only=True)
class Mode:
    """What a forward pass is for. Beside the loss it gives, by layer, what `watch` asks for."""

    is_training: bool = False  # dropout is on
    probes: tuple[Probe, ...] = ()  # all that they measure: (quantities,)
    keeps_weights: bool = False  # P of the dense reference, NaN in rows of padding: (B, H, Q, K)
    max_logits: bool = False  # the largest logit of each head: (heads,)
    profile: Profile | None = None  # finds Admin's omegas
    is_reference: bool = False  # attention by the dense reference alone, CTC by the loop over frames


def init_method(method: Method, heads: Heads, draw: Draw, prefix: str, like: Tensor) -> tuple[Tensors, Tensors]:
    """A layer's learned tensors and buffers of the method, named `{prefix}method.{name}`, in the dtype of `like`."""
    at = prefix + METHOD
    params = {at + name: tensor.to(like) for name, tensor in method.init_params(heads).items()}
    buffers = method.init_buffers(heads, lambda name, shape: draw(at + name, shape))
    return params, {at + name: tensor.to(like) for name, tensor in buffers.items()}


def method_state(params: Tensors, buffers: Tensors, prefix: str) -> Tensors:
    """What the method's functions get as `state` for the layer at `prefix`."""
    at = prefix + METHOD
    return part(params, at) | part(buffers, at) | {"step": buffers["step"]}


def attend(
    method: Method,
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    mask: Mask,
    state: Tensors,
    mode: Mode,
    *,
    logit_scale: float,
    rotate: Callable[[Tensor], Tensor] | None = None,
    dropout: Dropout | None = None,
    stream: str = "",
) -> tuple[Tensor, Tensor | None]:
    """P V (B, H, T, D), and what the mode asks to be watched. `mask` is already restricted by the method.

    dropout: of elements of P, which have the stream to themselves. Where it acts the dense reference is computed: no
    other path has a P.
    """
    with without_autocast(q_BHTD):
        q_BHTD, k_BHTD = method.normalize(widened(q_BHTD), widened(k_BHTD), state)
        if rotate is not None:
            q_BHTD, k_BHTD = rotate(q_BHTD), rotate(k_BHTD)
        q_BHTD = q_BHTD * method.logit_scale(logit_scale)
    q_BHTD, k_BHTD, v_BHTD = (as_multiplied(x, like=v_BHTD) for x in (q_BHTD, k_BHTD, v_BHTD))
    watched = None
    if mode.probes:
        watched = observe_attention(mode.probes, method, q_BHTD, k_BHTD, mask, state)
    elif mode.keeps_weights:
        watched = _of_tokens(dense_weights(method, q_BHTD, k_BHTD, mask, state), mask)
    elif mode.max_logits:
        watched = _max_logits(dense_logits(method, q_BHTD.detach(), k_BHTD.detach(), mask, state), mask)
    if dropout is not None and dropout.acts:
        p_BHTT = dropout(stream, dense_weights(method, q_BHTD, k_BHTD, mask, state))
        return weighted_sum(p_BHTT, v_BHTD), watched
    run = Method.attend if mode.is_reference else type(method).attend
    return run(method, q_BHTD, k_BHTD, v_BHTD, mask, state), watched


def observe_attention(
    probes: Sequence[Probe],
    method: Method,
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    mask: Mask,
    state: Tensors,
    *,
    max_elements: int | None = None,
) -> Tensor:
    """All that the probes measure in a layer, (quantities,), at most `max_elements` of logits at a time.

    max_elements: MAX_OBSERVED_ELEMENTS unless given.
    """
    most = MAX_OBSERVED_ELEMENTS if max_elements is None else max_elements
    with without_autocast(q_BHTD):
        q_BHTD, k_BHTD = widened(q_BHTD), widened(k_BHTD)
        num_batch, num_heads = q_BHTD.shape[:2]
        num_logits = mask.num_queries * mask.num_keys
        num_keys_BQ = mask.num_keys_BQ
        # Heads first: a least over heads of means over the batch is not the mean of those of parts of the batch.
        heads_step = _largest_divisor(num_heads, most // (num_logits * num_batch))
        batch_step = _largest_divisor(num_batch, most // (num_logits * heads_step))
        parts = []
        for h in range(0, num_heads, heads_step):
            own = {name: _of_heads(x, h, heads_step, num_heads) for name, x in state.items()}
            of_batch = []
            for b in range(0, num_batch, batch_step):
                q, k = (x[b : b + batch_step, h : h + heads_step] for x in (q_BHTD, k_BHTD))
                of_part = mask.of_examples(b, b + batch_step)
                layer = Attention(
                    z_BHQK=method.logits(q, k, of_part.allowed_B1QK, own | of_part.state),
                    p_BHQK=method.weights(q, k, of_part.allowed_B1QK, own | of_part.state),
                    mask_B1QK=of_part.allowed_B1QK,
                    num_keys_BQ=of_part.num_keys_BQ,
                    of_all_BQ=num_keys_BQ,
                    rows_sum_to_one=method.rows_sum_to_one,
                    rows_are_signed=method.rows_are_signed,
                )
                of_batch.append(observe(probes, layer))
            parts.append(of_batch)
        return merge(probes, parts) if len(parts) * len(parts[0]) > 1 else parts[0][0]


def _of_tokens(p_BHTT: Tensor, mask: Mask) -> Tensor:
    """P whose rows of padding are NaN."""
    return p_BHTT if mask.valid_BQ is None else p_BHTT.masked_fill(~mask.valid_BQ[:, None, :, None], torch.nan)


def _max_logits(z_BHTT: Tensor, mask: Mask) -> Tensor:
    """The largest logit of each head over allowed keys, (H,); padding's rows have none."""
    z_BHTT = z_BHTT.masked_fill(~mask.allowed_B1QK, -torch.inf)
    if mask.valid_BQ is not None:
        z_BHTT = z_BHTT.masked_fill(~mask.valid_BQ[:, None, :, None], -torch.inf)
    return z_BHTT.amax(dim=(0, 2, 3)).float()


def part(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose names start with `prefix`, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _of_heads(tensor: Tensor, first: int, count: int, num_heads: int) -> Tensor:
    is_by_head = tensor.ndim > 0 and num_heads > 1 and tensor.shape[0] == num_heads
    return tensor[first : first + count] if is_by_head else tensor


def _largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that does not exceed `limit`, at least 1."""
    return max(d for d in range(1, number + 1) if number % d == 0 and d <= max(1, limit))


def rotary(num_tokens: int, width: int, base: float, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Rotary positions: a function that rotates (..., T, D) by halves. Source: Su et al. 2021, as Llama has it."""
    frequency_F = base ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angle_TF = torch.arange(num_tokens, device=device, dtype=torch.float32)[:, None] * frequency_F
    cos_TD, sin_TD = (torch.cat([wave, wave], dim=-1) for wave in (angle_TF.cos(), angle_TF.sin()))

    def rotate(x_BHTD: Tensor) -> Tensor:
        first, second = x_BHTD.chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
        return (x_BHTD * cos_TD + turned * sin_TD).to(x_BHTD.dtype)

    return rotate


def default_logit_scale(width: int) -> float:
    """1/sqrt(D). Source: Vaswani et al. 2017, Eq. 1."""
    return 1 / math.sqrt(width)
