"""What an intervention is: when it acts, where, how strongly, and what it does.

A trial with one is trained beside its twin without it in one pack. So whether an intervention acts, and how strongly,
is a tensor of the lane, and each function below must give what it got, bit for bit, where it does not act. Shapes: B
batch, H heads, Q queries, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, MinLen

if TYPE_CHECKING:
    from torch import Tensor

Numbers = Annotated[Sequence[Annotated[int, Ge(0)]], MinLen(1)]  # of layers or heads, counted from 0


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """Acts while step `from_step` and the `for_steps` - 1 after it are computed; None: to the end. Steps count from 0.

    Subclass it through OnAttention or OnUpdates. What is traced, and measured on held-out data, at such a step is of
    the model as the intervention has it.
    """

    source: ClassVar[str] = "this project"
    sources: ClassVar[tuple[str, ...]] = ()  # BibTeX keys of analysis/references/sources.bib, if `source` names any
    strength: ClassVar[str] = ""  # the parameter that says how strongly it acts; "": it acts or does not
    repeats_examples: ClassVar[bool] = False  # of a batch, whose loss must not tell them apart

    from_step: Annotated[int, Ge(0)] = 0
    for_steps: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        for name in ("layers", "heads"):  # lists in files; tuples can be hashed
            if isinstance(getattr(self, name, None), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def where(self) -> tuple[Sequence[int] | None, Sequence[int] | None]:
        """The layers and heads that it acts on, counted from 0; None: all."""
        return None, None

    @property
    def variant(self) -> str:
        """What lanes of a pack that share this class can't differ in, as text: parameters that are no numbers."""
        return ""


@dataclass(frozen=True, kw_only=True)
class OnAttention(Intervention):
    """Acts on logits or weights of chosen layers and heads. neutral: the strength at which nothing changes."""

    neutral: ClassVar[float]
    acts_on_logits: ClassVar[bool] = True  # of no use to a method whose weights do not read `logits`

    layers: Numbers | None = None
    heads: Numbers | None = None

    @property
    def rows_of(self) -> str:
        """The name of a method whose rows, of the same queries and keys, stand for the method's own; "": none."""
        return ""

    @property
    def where(self) -> tuple[Sequence[int] | None, Sequence[int] | None]:
        return self.layers, self.heads

    def logits(self, z_BHQK: Tensor, mask_B1QK: Tensor, strength_H11: Tensor) -> Tensor:
        """Z as the row function sees it. Of rows of padding the mask allows no key."""
        return z_BHQK

    def weights(self, p_BHQK: Tensor, mask_B1QK: Tensor, strength_H11: Tensor) -> Tensor:
        """P as values are weighted by it."""
        return p_BHQK


@dataclass(frozen=True, kw_only=True)
class OnUpdates(Intervention):
    """Acts on what the optimizer does. acts: a scalar bool; strength: a scalar."""

    def lr(self, lr: Tensor, acts: Tensor, strength: Tensor) -> Tensor:
        """The learning rate of a step, warmup and schedule applied."""
        return lr

    def grads(self, name: str, grad: Tensor, noise: Tensor, acts: Tensor, strength: Tensor) -> Tensor:
        """The gradient of a parameter, before it is clipped; noise: standard normals of its shape."""
        return grad

    def batch(self, batch: dict[str, Tensor], acts: Tensor, strength: Tensor) -> dict[str, Tensor]:
        """The batch, or the part of it, of which a gradient is taken: the examples stand in the first dimension."""
        return batch

    def kept(self, name: str, before: Tensor, after: Tensor) -> Tensor:
        """What an update leaves of a parameter while this acts; name: after the prefix of its layer."""
        return after
