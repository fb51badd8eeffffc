"""NormSoftmax: each row of logits divided by its own standard deviation before softmax.

The deviation is the population's, over the allowed keys; the row's mean is taken out too, which changes no weight. A
row of one key, or of equal logits, becomes zeros. The eps that holds rows whose deviation vanishes is ours.
Source: Jiang et al. 2023, whose abstract has unit variance and no bound: `norm_softmax`. The bound of sqrt(D) on the
divisor is in Hoffmann et al. 2024's code (`norm_softmax_std` there, with the sample's deviation; their `norm_softmax`
bounds the variance), and Born et al. 2025 ascribe a minimum to Jiang et al. too, whose full text was not at hand: so
`norm_softmax_bounded` may well be what either paper ran.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.methods.shaped_logits import ShapedLogits

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State

EPS = 1e-12  # added to the variance: a deviation below 1e-6 counts as that


@dataclass(frozen=True, kw_only=True)
class NormSoftmax(ShapedLogits):
    """Softmax of (Z - mean Z) / std Z over the allowed keys of each row; the model's scale of logits cancels."""

    source = "Jiang et al. 2023"
    sources = ("jiang2023normsoftmax",)
    controls = "variance: that of every row of logits is 1"
    use_when = "logits of unknown or changing scale, and short sequences"

    def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        z_BHQK = super().logits(q_BHQD, k_BHKD, mask_B1QK, state).masked_fill(~mask_B1QK, 0)
        num_allowed_Q1 = mask_B1QK.sum(dim=-1, keepdim=True)
        mean_BHQ1 = z_BHQK.sum(dim=-1, keepdim=True) / num_allowed_Q1
        centred_BHQK = (z_BHQK - mean_BHQ1).masked_fill(~mask_B1QK, 0)
        variance_BHQ1 = centred_BHQK.square().sum(dim=-1, keepdim=True) / num_allowed_Q1
        return centred_BHQK / self.divisor((variance_BHQ1 + EPS).sqrt())

    def divisor(self, deviation_BHQ1: Tensor) -> Tensor:
        """What a row is divided by, given its standard deviation."""
        return deviation_BHQ1


@dataclass(frozen=True, kw_only=True)
class NormSoftmaxBounded(NormSoftmax):
    """Softmax of Z / min(std Z, max_divisor): flat rows are amplified, rows of a larger deviation stay as they are.

    Z is already scaled by the model, so max_divisor 1 is sqrt(D) on unscaled logits.
    """

    source = "Hoffmann et al. 2024 (their code, norm_softmax_std), after Jiang et al. 2023"
    sources = ("hoffmann2024eureka", "jiang2023normsoftmax")
    controls = "variance from below: that of every row of logits is at least 1"
    use_when = "flat rows of logits at init: these are sharpened, all others stay"

    max_divisor: Annotated[float, Gt(0)] = 1.0

    def divisor(self, deviation_BHQ1: Tensor) -> Tensor:
        return deviation_BHQ1.clamp_max(self.max_divisor)
