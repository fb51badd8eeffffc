"""What an attention method is.

Shapes: B batch, H heads, Q queries, K keys, D width of a head. A method is written for one model; train.py
batches models by torch.func.vmap, so a method uses tensor operations only and never looks at values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.methods.linear import Linear, PlainLinear

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method under test: subclass it, declare its parameters as fields, override what differs.

    Most methods override `weights` alone. What is learned beside the projections comes from `init_params`, one
    dict a layer; it reaches `normalize`, `weights`, `limit_grads` and `limit_params` as `params`.
    """

    source: ClassVar[str] = "not stated"
    controls: ClassVar[str] = "nothing"  # what the method holds back: variance, norm, spectral norm, rows

    def init_params(self, width: int) -> dict[str, Tensor]:
        """Learned tensors of one layer beside its projections; `width` is that of a head."""
        return {}

    def linear(self, role: str) -> Linear:
        """The parametrisation of a projection; role is query, key, value or output."""
        return PlainLinear()

    def normalize(self, q_BHQD: Tensor, k_BHKD: Tensor, params: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Queries and keys as the logits see them."""
        return q_BHQD, k_BHKD

    def allowed(self, mask_QK: Tensor) -> Tensor:
        """The keys that each query may attend to: a subset of those that the model allows (True: allowed)."""
        return mask_QK

    def logits(self, q_BHQD: Tensor, k_BHKD: Tensor) -> Tensor:
        """Z = Q K^T, (B, H, Q, K)."""
        return q_BHQD @ k_BHKD.mT

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_QK: Tensor, params: dict[str, Tensor]) -> Tensor:
        """Attention weights P, (B, H, Q, K): rows sum to 1, masked keys get 0."""
        raise NotImplementedError

    def limit_grads(self, grads: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gradients of `init_params`'s tensors as the optimizer sees them."""
        return grads

    def limit_params(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """`init_params`'s tensors after an update."""
        return params
