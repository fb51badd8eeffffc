"""What an attention method is.

Shapes: B batch, H heads, Q queries, K keys, D width of a head, C channels of the model; of a mask (_B1QK) B and Q may
be 1 and stand for all. A method is written for one model; bench.training.lanes batches models by torch.func.vmap, so a
method uses tensor operations only and never looks at values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.methods.linear import Draw, Linear, PlainLinear
from bench.methods.mask import Mask, MaskKind
from bench.methods.precision import as_multiplied, widened, without_autocast

if TYPE_CHECKING:
    from torch import Tensor


# Of one layer: what init_params and init_buffers gave, `step` (int64, from 0), and Mask.state of padded examples.
State = dict[str, "Tensor"]
FastPath = Literal["sdpa", "linear", "tiny", "dense"]  # of bench.methods.fast; dense is the reference itself


@dataclass(frozen=True, kw_only=True)
class Heads:
    """The shape of one layer's attention."""

    num_heads: int
    width: int  # of a head's queries and keys
    num_keys: int  # N, the longest sequence


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method under test: subclass it, declare its parameters as fields, override what differs.

    Most methods override `weights` alone; what reads Z = Q K^T overrides `logits`. `weights` and `logits` are the
    reference, dense and obvious; `attend` may be faster and must equal `weights(...) @ v`. `normalize`, `weights` and
    `logits` see float32 or float64 and no autocast, whatever a model multiplies in (bench.methods.precision); `attend`
    sees what is multiplied.
    """

    source: ClassVar[str] = "not stated"
    sources: ClassVar[tuple[str, ...]] = ()  # BibTeX keys of analysis/references/sources.bib, if `source` names any
    revision: ClassVar[int] = 0  # raised when what it trains changes: part of a trial's id, so results never mix
    control_of: ClassVar[str] = ""  # of an A/A control: the name of the method whose function it has
    controls: ClassVar[str] = "nothing"  # what the method holds back: variance, norm, spectral norm, rows
    use_when: ClassVar[str] = ""  # what it is for: a line for who chooses among methods
    rows_sum_to_one: ClassVar[bool] = True
    rows_are_signed: ClassVar[bool] = False  # P may be negative, as where rows are subtracted
    ties_query_and_key: ClassVar[bool] = False  # one projection serves both
    reads_logits: ClassVar[bool] = True  # `weights` follow from `logits`, so that what changes these changes those
    reads_max_logits: ClassVar[bool] = False  # `limit_projections` is to be called after every update
    # What it is in cross-attention. own: itself; softmax: plain softmax, its `restrict` is left out, as it rests on
    # positions of one sequence.
    in_cross: ClassVar[Literal["own", "softmax"]] = "own"
    roles: ClassVar[tuple[str, ...]] = ()  # further projections of a layer's input, as wide as its queries

    def init_params(self, heads: Heads) -> dict[str, Tensor]:
        """Learned tensors of one layer beside its projections; the first dimension is num_heads, or 1 if shared."""
        return {}

    def init_buffers(self, heads: Heads, draw: Draw) -> dict[str, Tensor]:
        """Tensors of one layer that are not trained; the first dimension is num_heads, or 1 if shared.

        draw(name, shape) gives standard normals that depend on the trial's seed, the layer and the name alone.
        """
        return {}

    def linear(self, role: str) -> Linear:
        """The parametrisation of a linear layer; role is one of bench.methods.linear.ROLES or of `roles`."""
        return PlainLinear()

    def fused_roles(self) -> tuple[str, ...]:
        """Roles of a layer whose weights stand side by side in one matrix, which `linear` of the first parametrises."""
        return ()

    def value_weight(self, value_CHD: Tensor, query_CHD: Tensor) -> Tensor:
        """The weight by which a layer's input becomes values, (C, H, D), from the two projections' own."""
        return value_CHD

    def logit_scale(self, default: float) -> float:
        """The factor on normalised queries; the model's own is `default`, such as 1/sqrt(D)."""
        return default

    def normalize(self, q_BHQD: Tensor, k_BHKD: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Queries and keys before positions are rotated in and queries are scaled."""
        return q_BHQD, k_BHKD

    def restrict(self, mask: Mask) -> Mask:
        """The keys that each query may attend to: a subset of those that the model allows (Mask.restricted)."""
        return mask

    def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        """Z, (B, H, Q, K), as the row function sees it; what masked keys hold has no meaning."""
        return q_BHQD @ k_BHKD.mT

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
        """P, (B, H, Q, K): masked keys get 0; rows sum to 1 unless `rows_sum_to_one` is False.

        P >= 0 unless `rows_are_signed`; entropies are then those of |P|, each row divided by its sum.
        """
        raise NotImplementedError

    def fast_path(self, heads: Heads, kind: MaskKind, *, has_tiny: bool) -> FastPath:
        """How `attend` computes under a mask of this kind; for a subclass with a reference of its own it must be dense.

        has_tiny: whether bench.methods.fast.tiny runs on what is computed, in its dtype and on its device.
        """
        return "dense"

    def attend(self, q_BHQD: Tensor, k_BHKD: Tensor, v_BHKD: Tensor, mask: Mask, state: State) -> Tensor:
        """P V, (B, H, Q, D); may be computed without P."""
        return weighted_sum(dense_weights(self, q_BHQD, k_BHKD, mask, state), v_BHKD)

    def combine(self, o_BHQD: Tensor, projected: dict[str, Tensor]) -> Tensor:
        """What the layer's output projection reads; `projected` holds one (B, H, Q, D) for each of `roles`."""
        return o_BHQD

    def scale_loss(self, loss: Tensor, step: Tensor) -> Tensor:
        """The loss whose gradient is taken; traces and scores see the plain one."""
        return loss

    def limit_grads(self, grads: dict[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        """Gradients of one layer's `init_params` tensors as the optimizer sees them; step counts from 0."""
        return grads

    def limit_params(self, params: dict[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        """One layer's `init_params` tensors after the update of a step; step counts from 0."""
        return params

    def limit_projections(
        self, query_CHD: Tensor, key_CHD: Tensor, max_logit_H: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One layer's query and key weights after the update of a step, which counts from 0.

        max_logit_H: the largest logit of each head on the step's batch, before the update.
        """
        return query_CHD, key_CHD

    def gammas(self, state: State, query: dict[str, Tensor], key: dict[str, Tensor]) -> tuple[Tensor, Tensor] | None:
        """Factors, of any shape, of one layer's queries and of its keys, to look at; None if the method has none.

        query, key: what is trained of the layer's two projections, by short names; the same twice where they are tied.
        """
        gamma_query = self.linear("query").gamma(query)
        gamma_key = self.linear("query" if self.ties_query_and_key else "key").gamma(key)
        return None if gamma_query is None or gamma_key is None else (gamma_query, gamma_key)


def dense_weights(method: Method, q_BHQD: Tensor, k_BHKD: Tensor, mask: Mask, state: State) -> Tensor:
    """P of the method's reference, (B, H, Q, K), in float32 at least and untouched by autocast."""
    with without_autocast(q_BHQD):
        return method.weights(widened(q_BHQD), widened(k_BHKD), mask.allowed_B1QK, state | mask.state)


def dense_logits(method: Method, q_BHQD: Tensor, k_BHKD: Tensor, mask: Mask, state: State) -> Tensor:
    """Z of the method, (B, H, Q, K), in float32 at least and untouched by autocast."""
    with without_autocast(q_BHQD):
        return method.logits(widened(q_BHQD), widened(k_BHKD), mask.allowed_B1QK, state | mask.state)


def weighted_sum(p_BHQK: Tensor, v_BHKD: Tensor) -> Tensor:
    """P V, (B, H, Q, D), in the dtype in which values are multiplied."""
    return as_multiplied(p_BHQK, like=v_BHKD) @ as_multiplied(v_BHKD, like=v_BHKD)
