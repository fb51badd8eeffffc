"""What a probe of the model sees of a step of training: weights, gradients, update, optimizer, and the loss itself.

Shapes: A layers. Tensors by the names of parameters are plain dicts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bench.lazy import torch
from bench.probes.base import Probe, measured_by
from bench.probes.gains import Scales

if TYPE_CHECKING:
    from torch import Tensor

    from bench.probes.base import Attention

Tensors = dict[str, "Tensor"]


@dataclass(frozen=True, kw_only=True)
class Update:
    """A step that is about to be made. grads: as the optimizer gets them, clipped; after: the parameters then.

    preconditioner: P of bench.optimizers.base.Optimizer.edge, and edge, where the optimizer says them. moments_before,
    moments_after: its averages of squared gradients without and with these, where it has any.
    """

    grads: Tensors
    after: Tensors
    lr: Tensor
    preconditioner: Tensors | None
    edge: Tensor | None
    moments_before: Tensors
    moments_after: Tensors


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model before a step, of one trial. What takes computing is a function, so that a probe pays for what it uses.

    layer_prefixes: of the names of each layer's parameters. scales_of_layers: of every layer's queries and keys.
    update_of_step: the step that is about to be made. loss_on: of a batch, which is `step_batch` or `fixed_batch`, at
    any parameters; dense and without dropout. fixed_batch: the seed's batch of step 0, at every step.
    """

    params: Tensors
    num_layers: int
    layer_prefixes: Sequence[str]
    num_heads: int
    seed: Tensor
    step: Tensor
    step_batch: Tensors
    fixed_batch: Tensors
    scales_of_layers: Callable[[], Sequence[Scales]]
    update_of_step: Callable[[], Update]
    loss_on: Callable[[Tensors, Tensors], Tensor]

    @functools.cached_property
    def scales(self) -> Sequence[Scales]:
        return self.scales_of_layers()

    @functools.cached_property
    def update(self) -> Update:
        return self.update_of_step()

    def missing(self) -> Tensor:
        """NaN, for a quantity that this model does not have: it is not traced."""
        return torch.full((), torch.nan, dtype=next(iter(self.params.values())).dtype, device=self.step.device)


@dataclass(frozen=True, kw_only=True)
class ModelProbe(Probe):
    """Measures the model in training. Subclass it: `quantities`, `measure_model`, settings.

    needs: what a suite must have for the probe to measure anything, of bench.suite.needs.NEEDS.
    """

    is_of_attention: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def measure(self, layer: Attention) -> Mapping[str, Tensor]:
        raise TypeError(f"{type(self).__name__} measures a model, not a layer's attention")

    def measure_model(self, model: Model) -> Mapping[str, Tensor]:
        """A scalar for each quantity of the whole model, (A,) for one that is per layer; NaN: the model has none.

        By operations on tensors without branches.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class IteratedProbe(ModelProbe):
    """A probe that repeats one computation: it is traced once, however often. Override these three functions."""

    @property
    def num_iterations(self) -> int:
        """How often `iterate` is called between `begin` and `end`."""
        raise NotImplementedError

    def begin(self, model: Model) -> Tensors:
        """What is carried from one iteration to the next, of fixed shapes."""
        raise NotImplementedError

    def iterate(self, model: Model, carried: Tensors, index: Tensor) -> Tensors:
        """What is carried after an iteration; index: its number from 0, a scalar."""
        raise NotImplementedError

    def end(self, model: Model, carried: Tensors) -> Mapping[str, Tensor]:
        """As `measure_model`."""
        raise NotImplementedError

    def measure_model(self, model: Model) -> Mapping[str, Tensor]:
        carried = self.begin(model)
        for index in range(self.num_iterations):
            carried = self.iterate(model, carried, torch.full_like(model.step, index))
        return self.end(model, carried)


def stacked(probes: Sequence[ModelProbe], measured: Mapping[str, Tensor], model: Model) -> Tensor:
    """What probes measured of a model, (quantities, A), as `measured_by` has it; of the whole model A times alike.

    Raises ValueError if they measured something else than they declare.
    """
    declared = measured_by(probes)
    if measured.keys() != declared.keys():
        names = ", ".join(type(probe).__name__ for probe in probes)
        raise ValueError(f"{names} measured {', '.join(measured)}; required, as declared: {', '.join(declared)}")
    like = model.missing()
    return torch.stack([measured[name].to(like.dtype).expand(model.num_layers) for name in declared])
