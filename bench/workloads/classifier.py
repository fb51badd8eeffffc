"""Workloads whose model is a transformer that predicts a class: of an image, or of the next token.

Shapes: E examples (leading dimensions), V classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from annotated_types import Ge, Lt

from bench.lazy import torch
from bench.methods.base import Heads, MaskKind, Method
from bench.methods.linear import Draw
from bench.models.attention import Mode, Tensors
from bench.models.classify import HELD_OUT_MEASURES, cross_entropy, measures
from bench.models.dropout import Dropout
from bench.models.limits import limit_projections
from bench.models.transformer import NormPlacement, Transformer
from bench.optimizers.layers import Layer
from bench.workloads.base import Forward, Workload

if TYPE_CHECKING:
    from torch import Tensor


class Network(Protocol):
    """A model around a transformer."""

    @property
    def transformer(self) -> Transformer: ...

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Params and buffers."""
        ...

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        ...

    def forward(
        self, method: Method, params: Tensors, buffers: Tensors, inputs: Tensor, mode: Mode, dropout: Dropout, /
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits (..., V), and what the mode watches of every layer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Classifier(Workload):
    """Cross entropy in nats, mean over the batch.

    Settings of the transformer that are None are those of the model's preset. dropout: of embeddings and of what blocks
    add to the residual stream; attention_dropout: of elements of P, None for the same rate, as GPT-2 has it. Losses of
    training, the one at init too, are measured with dropout, held-out ones without. precision: bfloat16 is autocast
    with float32 weights. z_loss: times the mean of log(sum exp)^2, added to what is differentiated, not to the loss.
    Held-out data are measured every `eval_every_steps` and at the end; attention is observed on the first
    `probe_examples` of a batch.
    """

    measures = tuple(HELD_OUT_MEASURES)

    depth: Annotated[int, Ge(1)] | None = None
    width: Annotated[int, Ge(2)] | None = None
    num_heads: Annotated[int, Ge(1)] | None = None
    mlp: Literal["gelu", "swiglu"] | None = None
    mlp_width: Annotated[int, Ge(1)] | None = None
    norm: Literal["layer", "rms"] | None = None
    norm_placement: NormPlacement | None = None
    has_biases: bool | None = None
    initialisation: Literal["gpt2", "fan_in"] | None = None
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    attention_dropout: Annotated[float, Ge(0), Lt(1)] | None = None
    z_loss: Annotated[float, Ge(0)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    eval_every_steps: Annotated[int, Ge(1)] = 200
    probe_examples: Annotated[int, Ge(1)] = 8

    @property
    def network(self) -> Network:
        """The model, for the data that there are."""
        raise NotImplementedError

    def example(self, batch: Tensors) -> tuple[Tensor, Tensor]:
        """What the model reads of a batch, and the classes that it should predict (E,)."""
        raise NotImplementedError

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings of the transformer by its own names; None leaves the preset's."""
        names = ("width", "num_heads", "mlp", "mlp_width", "norm", "norm_placement", "has_biases", "initialisation")
        settings = {name: getattr(self, name) for name in names}
        attention_dropout = self.dropout if self.attention_dropout is None else self.attention_dropout
        return settings | {"num_layers": self.depth, "dropout": self.dropout, "attention_dropout": attention_dropout}

    @property
    def num_layers(self) -> int:
        return self.network.transformer.num_layers

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.network.transformer.layers

    @property
    def num_keys(self) -> int:
        return self.network.transformer.num_tokens

    @property
    def attention(self) -> tuple[Heads, MaskKind]:
        transformer = self.network.transformer
        return transformer.heads, "causal" if transformer.is_causal else "full"

    @property
    def eval_every(self) -> int | None:
        return self.eval_every_steps

    @property
    def revision(self) -> int:
        return int(self.is_mixed)  # 1: logits and rows of every method are in float32

    @property
    def is_mixed(self) -> bool:
        return self.precision == "bfloat16"

    def probe_batch(self, batch: Tensors) -> Tensors:
        return {name: tensor[: self.probe_examples] for name, tensor in batch.items()}

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        return self.network.init(method, draw, init_scale)

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        return self.network.refresh(method, params, buffers)

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

    def limit(self, method: Method, params: Tensors, max_logits: list[Tensor], step: Tensor) -> Tensors:
        return limit_projections(method, params, self.layers, max_logits, step)

    def _forward(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        inputs, targets_E = self.example(batch)
        seed = buffers["seed"] if mode.is_training else None
        dropout = Dropout(seed=seed, step=buffers["draw"])
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.is_mixed, cache_enabled=False):
            logits_EV, watched = self.network.forward(method, params, buffers, inputs, mode, dropout)
        return logits_EV, targets_E, watched
