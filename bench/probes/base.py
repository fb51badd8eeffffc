"""What a probe is: what it measures of a layer's attention, in which quantities, and how often.

bench.probes.model has those that measure the model in training instead.

Shapes: B batch, H heads, Q queries, K keys, N quantities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge

from bench.lazy import torch
from bench.trace import Merge, Quantity

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Attention:
    """What a layer's attention was on one batch: logits, weights, which keys were allowed, what the method declares.

    mask_B1QK: B and Q may be 1 and stand for all. num_keys_BQ: keys that each row may see, 0 where it is padding, which
    no probe counts; None: there is no padding. of_all_BQ: the same of the batch that this is an equal part of; means
    over rows are its shares of the mean over all of them, so that those of parts average to the whole.
    """

    z_BHQK: Tensor
    p_BHQK: Tensor
    mask_B1QK: Tensor
    num_keys_BQ: Tensor | None = None
    of_all_BQ: Tensor | None = None
    rows_sum_to_one: bool = True
    rows_are_signed: bool = False

    @property
    def keys_of_rows(self) -> Tensor:
        """Keys that each row may see, 0 of padding: (B, 1, Q), B is 1 where examples do not differ."""
        if self.num_keys_BQ is not None:
            return self.num_keys_BQ[:, None]
        num_keys = self.mask_B1QK.sum(dim=-1)
        return num_keys.expand(*num_keys.shape[:-1], self.p_BHQK.shape[-2])

    def mean_over_rows(self, values_BHQ: Tensor, *, min_keys: int = 1) -> Tensor:
        """Mean over batch, heads and those rows that are tokens and may see `min_keys` keys; 0 if none is."""
        return self._weighted(values_BHQ, min_keys).mean()

    def head_means_over_rows(self, values_BHQ: Tensor) -> Tensor:
        """Mean of each head over batch and those rows that are tokens, (H,)."""
        return self._weighted(values_BHQ, 1).mean(dim=(0, 2))

    def _weighted(self, values_BHQ: Tensor, min_keys: int) -> Tensor:
        """Values whose mean over all rows is that over rows that count."""
        if self.num_keys_BQ is None and min_keys == 1:
            return values_BHQ
        counts_B1Q = (self.keys_of_rows >= min_keys).to(values_BHQ.dtype)
        of_all = counts_B1Q if self.of_all_BQ is None else (self.of_all_BQ >= min_keys).to(values_BHQ.dtype)
        return values_BHQ * counts_B1Q / of_all.mean().clamp_min(torch.finfo(values_BHQ.dtype).tiny)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Measures the attention of every layer while a model trains. Subclass it: `quantities`, `measure`, settings.

    every: steps from one measurement to the next; None: the suite's `probe_every`. The last step is measured, too.
    """

    source: ClassVar[str] = "not stated"
    quantities: ClassVar[Mapping[str, Quantity]] = {}  # by the names that traces have
    is_of_attention: ClassVar[bool] = True

    every: Annotated[int, Ge(1)] | None = None

    def __init_subclass__(cls) -> None:
        """Raises ValueError for quantities that are declared by halves."""
        super().__init_subclass__()
        for name, quantity in cls.quantities.items():
            of = quantity.over_layers[0] if quantity.over_layers else None
            if (quantity.per_layer and of) or (cls.is_of_attention and not (quantity.per_layer or of)):
                raise ValueError(
                    f"{cls.__name__}: {name!r} must be either per_layer or over_layers of another quantity"
                )
            if of is not None and not (of in cls.quantities and cls.quantities[of].per_layer):
                raise ValueError(f"{cls.__name__}: {name!r} is over layers of {of!r}, which must be measured per layer")

    def measure(self, layer: Attention) -> Mapping[str, Tensor]:
        """A scalar for each quantity that is per layer, of one model, by operations on tensors without branches."""
        raise NotImplementedError


# How a quantity of a layer follows from those of equal parts of it.
MERGES: Mapping[Merge, Callable[[Tensor], Tensor]] = {
    "mean": lambda parts: parts.mean(dim=0),
    "sum": lambda parts: parts.sum(dim=0),
    "max": lambda parts: parts.amax(dim=0),
    "min": lambda parts: parts.amin(dim=0),
}


def quantities_of(probes: Sequence[Probe]) -> dict[str, Quantity]:
    """Every quantity of the probes by name, in their order."""
    return {name: quantity for probe in probes for name, quantity in probe.quantities.items()}


def measured_by(probes: Sequence[Probe]) -> dict[str, Quantity]:
    """Quantities that are measured, in the order of `observe`; what sums up layers follows from them."""
    return {name: quantity for name, quantity in quantities_of(probes).items() if quantity.over_layers is None}


def observe(probes: Sequence[Probe], layer: Attention) -> Tensor:
    """All that the probes measure in a layer, (N,), as `measured_by` has it. Raises ValueError if one departs."""
    values: dict[str, Tensor] = {}
    for probe in probes:
        measured, declared = probe.measure(layer), measured_by([probe])
        if measured.keys() != declared.keys():
            raise ValueError(
                f"{type(probe).__name__} measured {', '.join(measured)}; required, as declared: {', '.join(declared)}"
            )
        values |= measured
    return torch.stack([values[name] for name in measured_by(probes)])


def merge(probes: Sequence[Probe], parts: Sequence[Sequence[Tensor]]) -> Tensor:
    """What `observe` would give of a layer, (N,), from `observe` of equal parts of its batch and heads.

    parts: for every part of the heads, those of the batch.
    """
    declared = measured_by(probes).values()
    of_heads = [_merged(torch.stack(list(of_batch)), [one.merge for one in declared]) for of_batch in parts]
    return _merged(torch.stack(of_heads), [one.merge_heads or one.merge for one in declared])


def _merged(stacked: Tensor, kinds: Sequence[Merge]) -> Tensor:
    """Each quantity merged over the first dimension, (parts, N) -> (N,), as its kind says."""
    by_kind = {kind: MERGES[kind](stacked) for kind in dict.fromkeys(kinds)}
    return torch.stack([by_kind[kind][index] for index, kind in enumerate(kinds)])
