"""Attention without the matrix P, equal to the dense reference: fused softmax, and sums over keys for kernels.

Both work under torch.func.grad and torch.func.vmap, lanes as further batch, and are differentiated once: a second
derivative raises NotImplementedError from softmax_attention and takes the dense reference. The third fast path, for
sequences too short for these, is tiny.py.
Shapes: L lanes, B batch, H heads, Q queries, K keys, T tokens (Q = K = T where causal), D width of a head, E width of a
value, F features of a kernel, M chunks, C tokens of a chunk.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.base import Heads
from bench.methods.fast.fold import fold
from bench.methods.fast.opaque import opaque
from bench.methods.mask import Mask, MaskKind

if TYPE_CHECKING:
    from torch import Tensor

# Numbers of keys from which a fast path is no slower than the dense one, forward and backward, 8 examples, 4 heads of
# width 4 to 64, float32, one x86-64 thread (tests/perf/attention_paths.py). SDPA: at 32 and 64 keys 0.9 to 1.5 times as
# fast, so dense attention, which Inductor can fuse with its surroundings, keeps what is shorter; at 256 1.2 to 3.4.
# Sums, full: width 32, 1.0 times at 48 keys and 1.2 at 64; width 64, 1.0 at 96 and 1.3 at 128. Causal: width 4, 0.9 at
# 96 and 1.4 at 128; width 32, 0.6 at 96 and 0.7 to 1.3 at 128; width 64, 1.0 at 128 and 1.8 at 256.
# Padded, width 32: SDPA 1.1 to 1.3 times as fast at 64 keys and 1.9 at 256; sums 1.2 at 64 and 6.1 at 256.
SDPA_MIN_KEYS = 64
LINEAR_MIN_KEYS = {"full": 64, "padded": 64, "causal": 128}
LINEAR_MIN_KEYS_PER_FEATURE = {"full": 2, "padded": 2, "causal": 4}
# Of 16, 32, 64 and 128 the fastest for width 64 and 1.1 times the fastest for 32; for 16, chunks of 32 take 0.7 of it.
CHUNK_TOKENS = 64
FUSED_WIDTH_MULTIPLE = 8  # CUDA's fused kernels ask for it, and for values as wide as queries


def sdpa_pays(heads: Heads) -> bool:
    """Whether `softmax_attention` is no slower than the dense reference, whatever the mask."""
    return heads.num_keys >= SDPA_MIN_KEYS


def linear_pays(heads: Heads, kind: MaskKind) -> bool:
    """Whether `linear_attention` knows the mask, and is no slower than the dense reference."""
    if kind not in LINEAR_MIN_KEYS:
        return False
    return heads.num_keys >= max(LINEAR_MIN_KEYS[kind], LINEAR_MIN_KEYS_PER_FEATURE[kind] * heads.width)


def heads_of(q_BHQD: Tensor, k_BHKD: Tensor) -> Heads:
    """The shape of attention between these queries and keys."""
    return Heads(num_heads=q_BHQD.shape[1], width=q_BHQD.shape[-1], num_keys=k_BHKD.shape[-2])


def softmax_attention(q_BHQD: Tensor, k_BHKD: Tensor, v_BHKE: Tensor, mask: Mask) -> Tensor:
    """softmax(Q K^T) V over the allowed keys, (B, H, Q, E), by torch's scaled_dot_product_attention.

    A row whose logits all overflow to -inf gives 0; the reference gives NaN.
    """
    is_causal = mask.kind == "causal"
    assert not is_causal or q_BHQD.shape[-2] == k_BHKD.shape[-2], "causal attention of other queries than keys"
    allowed_B1QK = mask.allowed_B1QK if mask.kind in ("padded", "custom") else None
    return _opaque_sdpa()(_Call(is_causal=is_causal), q_BHQD, k_BHKD, v_BHKE, allowed_B1QK)


def linear_attention(phi_q_BHQF: Tensor, phi_k_BHKF: Tensor, v_BHKE: Tensor, mask: Mask, *, eps: float = 0.0) -> Tensor:
    """Kernel attention, (B, H, Q, E), in O(N); rows whose denominator vanishes as KernelAttention.weights has them.

    bfloat16 is summed in float32: sums over all tokens would lose what one token adds.
    Source: Katharopoulos et al. 2020, Eqs. 5 and 9; chunks as in Hua et al. 2022, Sec. 3.3.
    """
    assert mask.kind in LINEAR_MIN_KEYS, "sums over keys know full, padded and causal masks"
    device, dtype = v_BHKE.device.type, v_BHKE.dtype
    if torch.is_autocast_enabled(device) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        wide = torch.promote_types(v_BHKE.dtype, torch.float32)
        sums = _causal_sums if mask.kind == "causal" else _full_sums
        if mask.kind == "padded":
            sums = functools.partial(_padded_sums, mask.allowed_B1QK.mT)
        sum_BHQE, total_BHQ1, mean_BHQE = sums(*(x.to(wide) for x in (phi_q_BHQF, phi_k_BHKF, v_BHKE)))
        if eps > 0:
            return (sum_BHQE / (total_BHQ1 + eps)).to(dtype)
        positive_BHQ1 = total_BHQ1 > torch.finfo(total_BHQ1.dtype).tiny ** 0.5
        o_BHQE = sum_BHQE / torch.where(positive_BHQ1, total_BHQ1, torch.ones_like(total_BHQ1))
        return torch.where(positive_BHQ1, o_BHQE, mean_BHQE).to(dtype)


def _full_sums(phi_q_BHQF: Tensor, phi_k_BHKF: Tensor, v_BHKE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each query the sum of values weighted by similarity, the sum of similarities, the plain mean of values."""
    total_BHQ1 = phi_q_BHQF @ phi_k_BHKF.sum(dim=-2, keepdim=True).mT
    return phi_q_BHQF @ (phi_k_BHKF.mT @ v_BHKE), total_BHQ1, v_BHKE.mean(dim=-2, keepdim=True)


def _padded_sums(
    is_key_B1K1: Tensor, phi_q_BHQF: Tensor, phi_k_BHKF: Tensor, v_BHKE: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For each query the two sums and the mean of `_full_sums`, over those keys of its example that are tokens."""
    sum_BHQE, total_BHQ1, _ = _full_sums(phi_q_BHQF, phi_k_BHKF * is_key_B1K1, v_BHKE)
    num_keys_B111 = is_key_B1K1.sum(dim=-2, keepdim=True)
    return sum_BHQE, total_BHQ1, (v_BHKE * is_key_B1K1).sum(dim=-2, keepdim=True) / num_keys_B111


def _causal_sums(phi_q_BHTF: Tensor, phi_k_BHTF: Tensor, v_BHTE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each query the two sums and the mean of `_full_sums`, over its own token and those before it.

    Dense within a chunk, by running sums before it.
    """
    num_tokens = v_BHTE.shape[-2]
    q_BHMCF, k_BHMCF, v_BHMCE = (_chunks(x) for x in (phi_q_BHTF, phi_k_BHTF, v_BHTE))
    similarity_BHMCC = (q_BHMCF @ k_BHMCF.mT).tril()
    sum_BHMCE = similarity_BHMCC @ v_BHMCE + q_BHMCF @ _sum_before(k_BHMCF.mT @ v_BHMCE)
    total_BHMC1 = similarity_BHMCC.sum(dim=-1, keepdim=True)
    total_BHMC1 = total_BHMC1 + q_BHMCF @ _sum_before(k_BHMCF.sum(dim=-2, keepdim=True)).mT
    position_T1 = torch.arange(1, num_tokens + 1, dtype=v_BHTE.dtype, device=v_BHTE.device)[:, None]
    sum_BHTE, total_BHT1 = (x.flatten(-3, -2)[..., :num_tokens, :] for x in (sum_BHMCE, total_BHMC1))
    return sum_BHTE, total_BHT1, v_BHTE.cumsum(dim=-2) / position_T1


def _chunks(x_BHTF: Tensor) -> Tensor:
    missing = -x_BHTF.shape[-2] % CHUNK_TOKENS
    if missing:
        x_BHTF = torch.nn.functional.pad(x_BHTF, (0, 0, 0, missing))
    return x_BHTF.unflatten(-2, (-1, CHUNK_TOKENS))


def _sum_before(x_BHMFE: Tensor) -> Tensor:
    # A running sum less its own term would be off by the rounding of that term, which is hidden from the chunk.
    return torch.nn.functional.pad(x_BHMFE[..., :-1, :, :], (0, 0, 0, 0, 1, 0)).cumsum(dim=-3)


@dataclass(kw_only=True)
class _Call:
    """One call of SDPA, and what its forward pass leaves for its backward pass."""

    is_causal: bool
    pullback: Callable[[Tensor], tuple[Tensor, ...]] | None = None


def _sdpa(q_BHQD: Tensor, k_BHKD: Tensor, v_BHKE: Tensor, allowed: Tensor | None, is_causal: bool) -> Tensor:
    widest = max(q_BHQD.shape[-1], v_BHKE.shape[-1])
    width = -(-widest // FUSED_WIDTH_MULTIPLE) * FUSED_WIDTH_MULTIPLE
    padded = [
        x if x.shape[-1] == width else torch.nn.functional.pad(x, (0, width - x.shape[-1]))
        for x in (q_BHQD, k_BHKD, v_BHKE)
    ]
    attention = torch.nn.functional.scaled_dot_product_attention
    return attention(*padded, attn_mask=allowed, is_causal=is_causal, scale=1.0)[..., : v_BHKE.shape[-1]]


@functools.cache
def _opaque_sdpa() -> Callable[..., Tensor]:
    """SDPA with the rule for vmap that torch lacks: torch 2.13 would loop over lanes, on CPU always, on CUDA backward.

    Source of the lack: pytorch/pytorch#117016; once #176265, which adds the rules for CUDA, is released, CPU alone
    needs this.
    """

    def forward(call: _Call, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
        attention = functools.partial(_sdpa, allowed=allowed, is_causal=call.is_causal)
        output, call.pullback = torch.func.vjp(attention, q, k, v)[:2]
        return output

    def backward(call: _Call, grad: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        assert call.pullback is not None
        return call.pullback(grad)

    def fold_inputs(num_lanes: int, in_dims: Sequence[int | None], tensors: Sequence[Any]) -> list[Any]:
        *qkv, allowed = tensors
        folded = [fold(x, dim, num_lanes) for x, dim in zip(qkv, in_dims[:3], strict=True)]
        if allowed is not None and in_dims[3] is not None:
            allowed_LB1QK = allowed.movedim(in_dims[3], 0)
            allowed = allowed_LB1QK.expand(-1, len(folded[0]) // num_lanes, -1, -1, -1).flatten(0, 1)
        elif allowed is not None and allowed.shape[0] > 1:  # of an example each, the same in all lanes
            allowed = fold(allowed, None, num_lanes)
        return [*folded, allowed]

    return opaque(forward, backward, fold_inputs)
