"""Workloads whose model is one transformer: its settings, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from annotated_types import Ge, Lt

from bench.lazy import torch
from bench.methods.base import MaskKind, Method
from bench.methods.linear import Draw
from bench.models.admin import Profile
from bench.models.attention import Mode, Tensors
from bench.models.dropout import Dropout
from bench.models.limits import limit_projections
from bench.models.norms import NormPlacement
from bench.models.transformer import Transformer
from bench.workloads.base import AttentionLayer, Workload

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


@dataclass(frozen=True, kw_only=True)
class TransformerWorkload(Workload):
    """Settings of the transformer that are None are those of the model's preset.

    dropout: of embeddings and of what blocks add to the residual stream; attention_dropout: of elements of P, None for
    the same rate, as GPT-2 has it. Losses of training, the one at init too, are measured with dropout, held-out ones
    without. norm_placement: as bench.models.norms has them; admin starts from a forward pass over the batch of step 0.
    precision: bfloat16 is autocast with float32 weights. Held-out data are measured every `eval_every_steps` and at the
    end; attention is observed on the first `probe_examples` of a batch.
    """

    depth: Annotated[int, Ge(1)] | None = None
    width: Annotated[int, Ge(2)] | None = None
    num_heads: Annotated[int, Ge(1)] | None = None
    mlp: Literal["gelu", "relu", "swiglu"] | None = None
    mlp_width: Annotated[int, Ge(1)] | None = None
    norm: Literal["layer", "rms"] | None = None
    norm_placement: NormPlacement | None = None
    has_biases: bool | None = None
    initialisation: Literal["gpt2", "fan_in", "xavier"] | None = None
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    attention_dropout: Annotated[float, Ge(0), Lt(1)] | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    eval_every_steps: Annotated[int, Ge(1)] = 200
    probe_examples: Annotated[int, Ge(1)] = 8

    @property
    def network(self) -> Network:
        """The model, for the data that there are."""
        raise NotImplementedError

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings of the transformer by its own names; None leaves the preset's."""
        names = ("width", "num_heads", "mlp", "mlp_width", "norm", "norm_placement", "has_biases", "initialisation")
        settings = {name: getattr(self, name) for name in names}
        attention_dropout = self.dropout if self.attention_dropout is None else self.attention_dropout
        return settings | {"num_layers": self.depth, "dropout": self.dropout, "attention_dropout": attention_dropout}

    @property
    def mask_kind(self) -> MaskKind:
        """Which keys the model allows."""
        return "causal" if self.network.transformer.is_causal else "full"

    @property
    def attention_layers(self) -> tuple[AttentionLayer, ...]:
        ours, kind = self.network.transformer, self.mask_kind
        return tuple(AttentionLayer(layer, ours.heads, kind, ours.num_tokens) for layer in ours.layers)

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

    @property
    def adapts(self) -> bool:
        return self.norm_placement == "admin"

    def adapted(
        self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors, mode: Mode
    ) -> tuple[Tensors, Tensors]:
        """Admin's omegas, of one forward pass as training has it."""
        profile = Profile()
        seen = self.refresh(method, params, buffers)
        self.loss(method, params, seen, batch, replace(mode, is_training=True, profile=profile))
        return params | {name: omega_C.to(params[name]) for name, omega_C in profile.omegas.items()}, buffers

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        return self.network.refresh(method, params, buffers)

    def limit(self, method: Method, params: Tensors, max_logits: list[Tensor], step: Tensor) -> Tensors:
        return limit_projections(method, params, self.layers, max_logits, step)

    def drop(self, buffers: Tensors, mode: Mode) -> Dropout:
        """Dropout of a forward pass, which acts in training alone; its rates are the model's."""
        return Dropout(seed=buffers["seed"] if mode.is_training else None, step=buffers["draw"])

    def autocast(self, inputs: Tensor) -> torch.autocast:
        """The context in which the model multiplies as `precision` says, where its inputs are."""
        return torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.is_mixed, cache_enabled=False)
