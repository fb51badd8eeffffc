"""What an optimizer is: a pure function from a parameter and its gradient to the parameter after a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt

from bench.roles import RATES, Role, role_of

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]
Rate = Annotated[float, Gt(0)] | None  # factor on the learning rate; None: the learning rate itself


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Subclass it, declare constants as fields, override `init` and `update`.

    Each call sees one tensor of one model. name: that of the parameter, `layers.*.query.weight` for one of a layer (see
    bench.optimizers.layers: the stack may have another name), `embed.tokens`, `readout.weight`; weights are (inputs,
    outputs). A constant may be a number or a scalar tensor: plain arithmetic alone is made of it.
    lr_query to lr_other: factors on the learning rate of parameters of a role (bench.roles), as groups of torch.optim
    have learning rates of their own.
    """

    source: ClassVar[str] = "not stated"
    sources: ClassVar[tuple[str, ...]] = ()  # BibTeX keys of analysis/references/sources.bib, if `source` names any
    revision: ClassVar[int] = 0  # raised when what it trains changes: part of a trial's id, so results never mix
    ignores_scale: ClassVar[bool] = False  # whether a constant factor on all gradients changes nothing, but for eps
    knobs: ClassVar[tuple[str, ...]] = ("lr", "weight_decay")  # the lane knobs that `update` reads

    lr_query: Rate = None
    lr_key: Rate = None
    lr_value: Rate = None
    lr_output: Rate = None
    lr_mlp: Rate = None
    lr_embedding: Rate = None
    lr_readout: Rate = None
    lr_norm: Rate = None
    lr_method: Rate = None
    lr_bias: Rate = None
    lr_other: Rate = None

    @property
    def rates(self) -> dict[Role, float]:
        """Factors on the learning rate, of the roles that have one."""
        return {role: rate for role, name in RATES.items() if (rate := getattr(self, name)) is not None}

    def knobs_of(self, name: str, knobs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The knobs of a step as `update` of a tensor gets them: with the learning rate of its role."""
        rate, lr = self.rates.get(role_of(name)), knobs["lr"]
        return knobs if rate is None else {**knobs, "lr": (rate * lr).to(lr.dtype)}

    def init(self, name: str, p: Tensor) -> Tensors:
        """State before the first step, by moment; shapes may differ from that of `p`."""
        return {}

    def update(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> tuple[Tensor, Tensors]:
        """Parameter and state after one step; step counts from 0.

        knobs: scalars; lr is the peak learning rate times the schedule's factor, which is lr_factor, and times that of
        the tensor's role.
        """
        raise NotImplementedError

    def edge(self, knobs: Mapping[str, Tensor]) -> Tensor:
        """The sharpness above which a quadratic loss grows under a step's knobs, a scalar, if `says("edge")`.

        Sharpness is the largest eigenvalue of P^-1/2 H P^-1/2, H the Hessian and P the diagonal of `preconditioner`.
        """
        raise NotImplementedError

    def preconditioner(
        self, name: str, p: Tensor, grad: Tensor, state: Tensors, knobs: Mapping[str, Tensor], step: Tensor
    ) -> Tensor:
        """P, like p: by what `update` divides the average of gradients. For an optimizer that has an `edge`."""
        raise NotImplementedError

    def second_moment(self, state: Tensors, num_steps: Tensor) -> Tensor:
        """Average of squared gradients after so many steps, corrected for its start; if `says("second_moment")`."""
        raise NotImplementedError

    def says(self, name: str) -> bool:
        """Whether a function such as `edge` is declared for this `update`: by the class that has it, or by a heir."""
        owners = [next(each for each in type(self).__mro__ if of in vars(each)) for of in (name, "update")]
        return owners[0] is not Optimizer and issubclass(*owners)

    def evaluated(self, name: str, p: Tensor, state: Tensors) -> Tensor:
        """The parameter that evaluations and probes use, where it is not the one at which gradients are taken."""
        return p
