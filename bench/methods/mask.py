"""Which keys each query may attend to, and which rows are tokens and not padding.

Shapes: B batch, Q queries, K keys; of _B1QK, B and Q may be 1 and stand for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

MaskKind = Literal["full", "causal", "padded", "custom"]


@dataclass(frozen=True, kw_only=True)
class Mask:
    """The keys that each query may attend to (True), at least one for each, padding's own queries among them.

    kind says what a fast path may assume: full, all keys; causal, a token's own and those before it; padded, the same
    keys for all queries of an example, (B, 1, 1, K); custom, nothing. valid_BQ: the queries that are tokens; None: all.
    Where padding comes last a causal mask needs none of its own: no token sees it.
    """

    allowed_B1QK: Tensor
    kind: MaskKind
    num_queries: int
    num_keys: int
    valid_BQ: Tensor | None = None

    @classmethod
    def shared(cls, allowed_QK: Tensor, kind: MaskKind) -> Mask:
        """One mask for all examples, which have no padding."""
        num_queries, num_keys = allowed_QK.shape
        return cls(allowed_B1QK=allowed_QK[None, None], kind=kind, num_queries=num_queries, num_keys=num_keys)

    @classmethod
    def full(cls, num_queries: int, num_keys: int, device: torch.device | None = None) -> Mask:
        """All keys, for every query of every example."""
        return cls.shared(torch.ones(num_queries, num_keys, dtype=torch.bool, device=device), "full")

    @classmethod
    def causal(cls, num_tokens: int, device: torch.device | None = None, is_token_BT: Tensor | None = None) -> Mask:
        """A token's own key and those before it. is_token_BT: False for padding, which comes last."""
        allowed_TT = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=device).tril()
        return replace(cls.shared(allowed_TT, "causal"), valid_BQ=is_token_BT)

    @classmethod
    def padded(cls, is_key_BK: Tensor, is_query_BQ: Tensor | None = None, num_queries: int | None = None) -> Mask:
        """The mask of keys that are tokens, at least one an example, for each query of the example.

        is_query_BQ: the queries that are tokens. Left out, they are the keys (self-attention); where `num_queries` is
        given, all that many.
        """
        if num_queries is None:
            is_query_BQ = is_key_BK if is_query_BQ is None else is_query_BQ
            num_queries = is_query_BQ.shape[-1]
        return cls(
            allowed_B1QK=is_key_BK[:, None, None, :],
            kind="padded",
            num_queries=num_queries,
            num_keys=is_key_BK.shape[-1],
            valid_BQ=is_query_BQ,
        )

    def restricted(self, allowed_B1QK: Tensor) -> Mask:
        """The mask of these keys alone, where they may be seen; a row that keeps none, as of padding, keeps its own."""
        kept_B1QK = self.allowed_B1QK & allowed_B1QK
        kept_B1QK = torch.where(kept_B1QK.any(dim=-1, keepdim=True), kept_B1QK, self.allowed_B1QK)
        return replace(self, allowed_B1QK=kept_B1QK, kind="custom")

    def of_examples(self, start: int, stop: int) -> Mask:
        """The mask of some of the examples."""
        allowed_B1QK, valid_BQ = self.allowed_B1QK, self.valid_BQ
        return replace(
            self,
            allowed_B1QK=allowed_B1QK if allowed_B1QK.shape[0] == 1 else allowed_B1QK[start:stop],
            valid_BQ=None if valid_BQ is None else valid_BQ[start:stop],
        )

    @property
    def num_keys_BQ(self) -> Tensor | None:
        """Number of keys that each row may see, 0 of padding; None where all examples have the same mask."""
        if self.valid_BQ is None and self.allowed_B1QK.shape[0] == 1:
            return None
        num_keys_BQ = self.allowed_B1QK.sum(dim=-1)[:, 0]
        if self.valid_BQ is None:
            return num_keys_BQ.expand(-1, self.num_queries)
        return torch.where(self.valid_BQ, num_keys_BQ, torch.zeros_like(num_keys_BQ))

    @property
    def state(self) -> dict[str, Tensor]:
        """What methods see of padding, as part of a layer's state; nothing where there is none.

        `num_keys` and, where known, `num_queries`: tokens of each example, (B, 1, 1, 1). `valid_rows`: (B, 1, Q, 1).
        """
        valid_BQ = self.valid_BQ
        if valid_BQ is None:
            return {"num_keys": num_keys_seen(self.allowed_B1QK)} if self.kind == "padded" else {}
        valid_B1Q1 = valid_BQ[:, None, :, None]
        of_tokens_B1QK = self.allowed_B1QK if self.kind == "padded" else self.allowed_B1QK & valid_B1Q1
        return {
            "num_keys": num_keys_seen(of_tokens_B1QK),
            "num_queries": valid_B1Q1.sum(dim=-2, keepdim=True),
            "valid_rows": valid_B1Q1,
        }


def num_keys_seen(mask_B1QK: Tensor) -> Tensor:
    """Keys of each example that some query of it may see, (B, 1, 1, 1)."""
    return mask_B1QK.any(dim=-2, keepdim=True).sum(dim=-1, keepdim=True)


def num_keys_of(mask_B1QK: Tensor, state: dict[str, Tensor]) -> int | Tensor:
    """N, the tokens of an example's sequence: (B, 1, 1, 1), or one number where examples have no padding.

    Without a state that says it, keys of a mask with a batch axis that none of its example's queries sees are padding;
    under a mask that all examples share, a key that is hidden from all is a token all the same.
    """
    if "num_keys" in state:
        return state["num_keys"]
    if mask_B1QK.ndim == 4 and mask_B1QK.shape[0] > 1:
        return num_keys_seen(mask_B1QK)
    return mask_B1QK.shape[-1]
