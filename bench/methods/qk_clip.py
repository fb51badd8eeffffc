"""QK-Clip (of MuonClip): query and key weights of a head shrink after an update when its logits grew too large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from bench.methods.softmax import Softmax

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class QKClip(Softmax):
    """Softmax; a head whose largest logit on the step's batch exceeds tau has W_Q and W_K multiplied by sqrt(tau / it).

    The largest logit (not the largest magnitude) is that of the forward pass before the update, over allowed keys,
    queries and examples, scaled as softmax sees it. Biases, which the source's model has not, are multiplied too.
    Source: Kimi Team 2025 (Kimi K2), Sec. 2.1, tau = 100; any optimizer may stand in for Muon.
    """

    source = "Kimi Team 2025 (Kimi K2), Sec. 2.1"
    sources = ("kimi2025k2",)
    controls = "logits: the weights behind them shrink once the largest passes tau"
    use_when = "a model that trains well but for rare, growing logits: it changes nothing until then"
    reads_max_logits = True

    tau: Annotated[float, Gt(0)] = 100.0

    def limit_projections(
        self, query_CHD: Tensor, key_CHD: Tensor, max_logit_H: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        factor_H1 = (self.tau / max_logit_H.clamp_min(self.tau)).sqrt()[:, None].to(query_CHD.dtype)
        return query_CHD * factor_H1, key_CHD * factor_H1
