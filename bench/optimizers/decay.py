"""Which tensors weight decay acts on, and the optimizers that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import MinLen

from bench.optimizers.base import Optimizer
from bench.roles import Role, role_of

if TYPE_CHECKING:
    from torch import Tensor

Decays = Literal["matrices", "all", "all_but_embeddings"]
NO_MATRIX = ("gain", "bias", "gamma", "scale")  # last parts of names


def is_matrix(name: str, p: Tensor) -> bool:
    """Whether a tensor of one layer, or of no layer, is a matrix of weights or an embedding: what `matrices` decays.

    It has two dimensions or more, and its name, whose parts stand between dots, neither ends in `gain`, `bias`, `gamma`
    or `scale` nor has the part `method`, below which a method's own learned tensors are. So norms, biases, the scalars
    that define a method and what a parametrisation adds to its `weight` are none, whatever their shapes. A model of
    one's own keeps a tensor from decaying by such a name.
    """
    parts = name.split(".")
    return p.ndim >= 2 and parts[-1] not in NO_MATRIX and "method" not in parts


def is_embedding(name: str) -> bool:
    """Whether a tensor is looked up or added, not multiplied: `embed.tokens` (also if tied), `embed.positions`.

    `embed.patches.weight` is a linear layer.
    """
    parts = name.split(".")
    return len(parts) == 2 and parts[0] == "embed"


@dataclass(frozen=True, kw_only=True)
class Decaying(Optimizer):
    """An optimizer with weight decay. decays: the tensors that it acts on; the others are trained without it.

    matrices: `is_matrix`, so not gains, biases and scalars of methods, but embeddings, as in nanoGPT's
    configure_optimizers (two dimensions or more). all: every tensor, as torch.optim does unless it is told otherwise.
    all_but_embeddings: every tensor but `is_embedding`. no_decay: roles (bench.roles) whose tensors do not decay
    whatever `decays` says.
    """

    decays: Decays = "matrices"
    no_decay: Annotated[Sequence[Role], MinLen(1)] | None = None

    def does_decay(self, name: str, p: Tensor) -> bool:
        """Whether weight decay acts on a tensor of one layer, or of no layer."""
        if self.no_decay is not None and role_of(name) in self.no_decay:
            return False
        if self.decays == "matrices":
            return is_matrix(name, p)
        return self.decays == "all" or not is_embedding(name)

    def with_decay(self, name: str, p: Tensor, direction: Tensor, knobs: Mapping[str, Tensor]) -> Tensor:
        """direction + weight_decay p for a tensor that decays, else direction."""
        return direction + knobs["weight_decay"] * p if self.does_decay(name, p) else direction

    def shrunk(self, name: str, p: Tensor, share: Tensor) -> Tensor:
        """p (1 - share) for a tensor that decays, else p."""
        return p * (1 - share) if self.does_decay(name, p) else p
