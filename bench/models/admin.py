"""Admin: how much of the residual stream a block keeps, from the variances of what has been added to it before.

Shapes: B batch, T tokens, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Profile:
    """The omegas of one model, by name, found as a forward pass goes from branch to branch.

    A branch's is the root of the variance that its stack has gathered before it: 1 of the tokens that come in, and then
    that of the residual stream times the omega, and of what a branch adds to it. So the pass has the omegas so far, as
    in the authors' code, and for tokens of variance 1 omega^2 is 1 + the variances of all branches before.
    Source: Liu et al. 2020 (Admin); github.com/LiyuanLucasLiu/Transformer-Clinic, fairseq/modules/transformer_layer.py.
    Departure: rows of padding do not count.
    """

    def __init__(self) -> None:
        self.omegas: dict[str, Tensor] = {}
        self._gathered: Tensor | None = None

    def begin(self) -> None:
        """A stack's first branch comes next."""
        self._gathered = None

    def omega(self, name: str, h_BTC: Tensor, y_BTC: Tensor, is_token_BT: Tensor | None) -> Tensor:
        """The omega (C,) of a branch that adds `y` to the residual stream `h`; it is kept under its name."""
        gathered = h_BTC.new_ones(()) if self._gathered is None else self._gathered
        omega = gathered.sqrt()
        self._gathered = _variance(omega * h_BTC, is_token_BT) + _variance(y_BTC.to(h_BTC.dtype), is_token_BT)
        self.omegas[name] = omega.expand(h_BTC.shape[-1])
        return self.omegas[name]


def _variance(x_BTC: Tensor, is_token_BT: Tensor | None) -> Tensor:
    """Variance of all numbers of all tokens, a scalar."""
    if is_token_BT is None:
        return x_BTC.var(correction=0)
    is_token_BT1 = is_token_BT[..., None].to(x_BTC.dtype)
    weight_BT1 = is_token_BT1 / (is_token_BT1.sum() * x_BTC.shape[-1])
    return ((x_BTC - (weight_BT1 * x_BTC).sum()).square() * weight_BT1).sum()
