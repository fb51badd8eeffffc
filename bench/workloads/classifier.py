"""Workloads whose model is a transformer that predicts a class: of an image, or of the next token.

Shapes: E examples (leading dimensions), V classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from annotated_types import Ge

from bench.methods.base import Method
from bench.models.attention import Mode, Tensors
from bench.models.classify import HELD_OUT_MEASURES, cross_entropy, measures
from bench.models.dropout import Dropout
from bench.workloads.base import Forward
from bench.workloads.transformer_workload import Network, TransformerWorkload

if TYPE_CHECKING:
    from torch import Tensor


class Predictor(Network, Protocol):
    """A model around a transformer that predicts."""

    def forward(
        self, method: Method, params: Tensors, buffers: Tensors, inputs: Tensor, mode: Mode, dropout: Dropout, /
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits (..., V), and what the mode watches of every layer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Classifier(TransformerWorkload):
    """Cross entropy in nats, mean over the batch.

    z_loss: times the mean of log(sum exp)^2, added to what is differentiated, not to the loss.
    """

    measures = tuple(HELD_OUT_MEASURES)

    z_loss: Annotated[float, Ge(0)] = 0.0

    @property
    def network(self) -> Predictor:
        """The model, for the data that there are."""
        raise NotImplementedError

    def example(self, batch: Tensors) -> tuple[Tensor, Tensor]:
        """What the model reads of a batch, and the classes that it should predict (E,)."""
        raise NotImplementedError

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Forward:
        logits_EV, targets_E, watched = self._forward(method, params, buffers, batch, mode)
        loss, log_total_squared = cross_entropy(logits_EV, targets_E)
        objective = loss + self.z_loss * log_total_squared if self.z_loss else loss
        return Forward(loss=loss, objective=objective, watched=watched)

    def evaluate(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode) -> Tensors:
        logits_EV, targets_E, _ = self._forward(method, params, buffers, batch, mode)
        return measures(logits_EV, targets_E)

    def held_out_measures(self, means: Tensors) -> Tensors:
        return {name: measure(means) for name, measure in HELD_OUT_MEASURES.items()}

    def _forward(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        inputs, targets_E = self.example(batch)
        with self.autocast(inputs):
            logits_EV, watched = self.network.forward(method, params, buffers, inputs, mode, self.drop(buffers, mode))
        return logits_EV, targets_E, watched
