"""Where the norms of a block stand, and what they do.

Shapes: C channels. A norm's tensors are `{prefix}gain` and, where it has one, `{prefix}bias`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.lazy import torch
from bench.models.admin import Profile
from bench.models.attention import Tensors

if TYPE_CHECKING:
    from torch import Tensor

NormKind = Literal["layer", "rms"]
NormPlacement = Literal["pre", "post", "peri", "deepnorm", "admin", "none"]
IN_FRONT = ("pre", "peri")  # of attention and MLP; one more stands behind the last block
ON_ADDED = ("peri",)  # on what attention and MLP add
ON_SUM = ("post", "deepnorm", "admin")  # on the residual stream after what was added
DEEPNORM_ROLES = ("value", "output", "mlp_in", "mlp_gate", "mlp_out")  # projections that start smaller


@dataclass(frozen=True, kw_only=True)
class Norms:
    """The norms of a stack of blocks. A branch is a block's attention or MLP; its norms' names begin with `at`.

    pre: x + f(norm(x)); post: norm(x + f(x)); deepnorm: norm(a x + f(x)); peri: x + norm(f(norm(x))) (Kim et al. 2025);
    admin: norm(omega x + f(x)), omega (C,) learned, a tensor of the norm, which starts as bench.models.admin finds it
    in the batch of step 0 (Liu et al. 2020); none: x + f(x). deepnorm_constants: a, the factor on the residual stream,
    and that on the deviation at which values, outputs and MLPs start (Wang et al. 2022, Fig. 2); without effect
    elsewhere.
    """

    placement: NormPlacement
    kind: NormKind
    eps: float
    has_bias: bool
    deepnorm_constants: tuple[float, float]

    @property
    def shortcut(self) -> float:
        """The factor on the residual stream where a block adds to it."""
        return self.deepnorm_constants[0] if self.placement == "deepnorm" else 1.0

    def start(self, role: str) -> float:
        """The factor on the standard deviation at which a projection of this role starts."""
        return self.deepnorm_constants[1] if self.placement == "deepnorm" and role in DEEPNORM_ROLES else 1.0

    def of_branch(self, at: str) -> list[str]:
        """Prefixes of a branch's norms."""
        if self.placement == "none":
            return []
        return [f"{at}.", *([f"{at}_added."] if self.placement in ON_ADDED else [])]

    @property
    def has_last(self) -> bool:
        """Whether one stands behind the last block."""
        return self.placement in IN_FRONT

    def init(self, prefix: str, width: int, like: Tensor) -> Tensors:
        """A norm's parameters at the start, in the dtype and on the device of `like`."""
        gain_C = torch.ones(width, dtype=like.dtype, device=like.device)
        bias = {prefix + "bias": torch.zeros_like(gain_C)} if self.has_bias else {}
        omega = {prefix + "omega": torch.ones_like(gain_C)} if self.placement == "admin" else {}
        return {prefix + "gain": gain_C} | bias | omega

    def in_front(self, params: Tensors, prefix: str, x: Tensor) -> Tensor:
        """What a branch reads of the residual stream; with the last norm's prefix, what comes out of the stack."""
        return self._norm(params, prefix, x) if self.placement in IN_FRONT else x

    def added(self, params: Tensors, at: str, y: Tensor) -> Tensor:
        """What is added of what a branch gave."""
        return self._norm(params, f"{at}_added.", y) if self.placement in ON_ADDED else y

    def summed(
        self,
        params: Tensors,
        at: str,
        h: Tensor,
        y: Tensor,
        profile: Profile | None = None,
        is_token_BT: Tensor | None = None,
    ) -> Tensor:
        """The residual stream with what a branch adds to it. profile: finds Admin's omegas, of tokens alone."""
        if self.placement == "admin":
            name = f"{at}.omega"
            h = (params[name] if profile is None else profile.omega(name, h, y, is_token_BT)) * h + y
        else:
            h = (h if self.shortcut == 1 else self.shortcut * h) + y
        return self._norm(params, f"{at}.", h) if self.placement in ON_SUM else h

    def _norm(self, params: Tensors, prefix: str, x: Tensor) -> Tensor:
        gain_C, bias_C = params[prefix + "gain"], params.get(prefix + "bias")
        x = x.to(gain_C.dtype)
        if self.kind == "layer":
            x = torch.nn.functional.layer_norm(x, gain_C.shape, eps=self.eps)
        else:
            x = x * (x.square().mean(dim=-1, keepdim=True) + self.eps).rsqrt()
        x = x * gain_C
        return x if bias_C is None else x + bias_C
