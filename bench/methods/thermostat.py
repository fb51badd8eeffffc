"""Temperature that rises during training: base (1 + beta tanh(gamma (step - switch_step))).

A forum post of 2026 proposes it to hold attention entropy, with beta from 0.1 to 0.3 and the switch where entropy
starts to fall. Its text speaks of the softmax's temperature, its formula divides the loss: both readings are entries.
gamma, base and the step of the switch are not stated; the defaults are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from bench.methods.softmax import Softmax

if TYPE_CHECKING:
    from torch import Tensor

    from bench.methods.base import State


@dataclass(frozen=True, kw_only=True)
class Thermostat(Softmax):
    """The temperature, which both readings share."""

    source = "forum post, 2026"

    base: Annotated[float, Gt(0)] = 1.0
    beta: Annotated[float, Ge(0), Lt(1)] = 0.2
    gamma: Annotated[float, Gt(0)] = 0.01
    switch_step: Annotated[int, Ge(0)] = 1000

    def temperature(self, step: Tensor) -> Tensor:
        """A scalar between base (1 - beta) and base (1 + beta), in float64."""
        return self.base * (1 + self.beta * (self.gamma * (step.double() - self.switch_step)).tanh())


@dataclass(frozen=True, kw_only=True)
class ThermostatLogits(Thermostat):
    """Softmax of Z / temperature: attention flattens after the switch."""

    source = "forum post, 2026 (its text)"
    sources = ("thermostat2026",)
    controls = "variance, by a schedule"
    use_when = "to see what flatter attention after a step does, and no earlier"

    def normalize(self, q_BHQD: Tensor, k_BHKD: Tensor, state: State) -> tuple[Tensor, Tensor]:
        return q_BHQD / self.temperature(state["step"]).to(q_BHQD.dtype), k_BHKD


@dataclass(frozen=True, kw_only=True)
class ThermostatLoss(Thermostat):
    """Softmax, trained on loss / temperature: under SGD another learning rate, under Adam almost nothing."""

    source = "forum post, 2026 (its formula)"
    sources = ("thermostat2026",)
    controls = "nothing of attention: the loss's scale, by a schedule"
    use_when = "beside thermostat_logits: what a smaller loss does, without any change of attention"

    def scale_loss(self, loss: Tensor, step: Tensor) -> Tensor:
        return loss / self.temperature(step).to(loss.dtype)
