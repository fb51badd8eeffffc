"""What a workload is: data, model, loss and number of steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from bench.methods.base import Method
from bench.methods.linear import Draw
from bench.models.attention_only import Tensors
from bench.probes.attention import Attention

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Subclass it, declare settings as fields, override every method. All but `batches` are for one model."""

    source: ClassVar[str] = "not stated"

    num_steps: Annotated[int, Ge(1)] = 10_000
    final_loss_steps: Annotated[int, Ge(1)] = 100  # the final loss is the mean over the last so many steps

    @property
    def num_layers(self) -> int:
        """Layers of attention that are probed."""
        raise NotImplementedError

    @property
    def num_keys(self) -> int:
        """N, the tokens of a sequence: no row of attention has more keys, no matrix more rows; the bounds follow."""
        raise NotImplementedError

    def batches(self, seeds_S: Tensor, steps_T: Tensor) -> Tensors:
        """Data of every step and seed on the device of `seeds_S`, each tensor (T, S, ...); depends on nothing else."""
        raise NotImplementedError

    def init(self, method: Method, draw: Draw, init_scale: Tensor) -> tuple[Tensors, Tensors]:
        """Trained parameters and untrained buffers before the first step."""
        raise NotImplementedError

    def refresh(self, method: Method, params: Tensors, buffers: Tensors) -> Tensors:
        """Buffers for the coming step."""
        raise NotImplementedError

    def loss(self, method: Method, params: Tensors, buffers: Tensors, batch: Tensors) -> tuple[Tensor, list[Attention]]:
        """Mean loss of a batch, and every layer's attention on it."""
        raise NotImplementedError
