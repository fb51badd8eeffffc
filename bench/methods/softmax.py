"""Softmax attention, over all allowed keys or over a window of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from bench.lazy import torch
from bench.methods.base import FastPath, Heads, Method
from bench.methods.fast.fused import heads_of, sdpa_pays, softmax_attention
from bench.methods.fast.tiny import takes, tiny_attention, tiny_pays
from bench.methods.mask import Mask, MaskKind

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


def masked_softmax(z_BHQK: Tensor, mask_B1QK: Tensor) -> Tensor:
    """exp(Z) normalised over the allowed keys of each row."""
    return z_BHQK.masked_fill(~mask_B1QK, -torch.inf).softmax(dim=-1)


@dataclass(frozen=True, kw_only=True)
class Softmax(Method):
    """exp(Z) normalised over each row. Source: Vaswani et al. 2017, Eq. 1; the model scales Z."""

    source = "Vaswani et al. 2017, Eq. 1"
    sources = ("vaswani2017attention",)
    controls = "nothing: the reference"
    use_when = "always: every other method is read beside it"

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        return masked_softmax(self.logits(q_BHQD, k_BHKD, mask_B1QK, state), mask_B1QK)

    def fast_path(self, heads: Heads, kind: MaskKind, *, has_tiny: bool) -> FastPath:
        if type(self).weights is not Softmax.weights or type(self).logits is not Method.logits:
            return "dense"
        if has_tiny and tiny_pays(heads):
            return "tiny"
        return "sdpa" if sdpa_pays(heads) else "dense"

    def attend(self, q_BHQD: Tensor, k_BHKD: Tensor, v_BHKD: Tensor, mask: Mask, state: State) -> Tensor:
        chosen = self.fast_path(heads_of(q_BHQD, k_BHKD), mask.kind, has_tiny=takes(q_BHQD, k_BHKD, v_BHKD))
        if chosen == "tiny":
            return tiny_attention(q_BHQD, k_BHKD, v_BHKD, mask, is_softmax=True)
        if chosen == "sdpa":
            return softmax_attention(q_BHQD, k_BHKD, v_BHKD, mask)
        return super().attend(q_BHQD, k_BHKD, v_BHKD, mask, state)


@dataclass(frozen=True, kw_only=True)
class WindowSoftmax(Softmax):
    """Softmax over the keys j with |i - j| <= width. Source: Hong & Lee 2025, Sec. 4.2 (W = 8)."""

    source = "Hong & Lee 2025, Sec. 4.2"
    sources = ("hong2025variance",)
    controls = "rows: fewer keys"
    use_when = "what a token needs stands near it, or to see what fewer keys alone do"
    in_cross = "softmax"

    width: Annotated[int, Ge(1)] = 8

    def restrict(self, mask: Mask) -> Mask:
        device = mask.allowed_B1QK.device
        i_Q1 = torch.arange(mask.num_keys - mask.num_queries, mask.num_keys, device=device)[:, None]
        j_K = torch.arange(mask.num_keys, device=device)
        return mask.restricted((i_Q1 - j_K).abs() <= self.width)
