"""Rows of attention weights: not negative, summing up as declared, over allowed keys alone, within bounds."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import State
from bench.methods.mask import Mask
from bench.probes.attention import frobenius_norm, row_entropies, row_mass, uniform_entropy
from bench.probes.base import Attention
from bench.testing.method_case import NUM_BATCH, MethodCase
from bench.testing.properties import Property, require

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-5  # of sums of some ten numbers in float32


def have_their_shape(case: MethodCase) -> str:
    """P is (B, H, Q, K) in the dtype of queries: nothing is left to broadcasting."""
    expected: tuple[int, ...] = ()
    advice = "make tensors by dtype=q.dtype, and keep it"
    for is_single, (name, mask) in itertools.product((False, True), case.masks.items()):
        case = dataclasses.replace(case, is_single=is_single)
        p_BHQK = case.some_weights(mask)
        expected = (NUM_BATCH, case.heads.num_heads, mask.num_queries, mask.num_keys)
        require(
            tuple(p_BHQK.shape) == expected,
            f"shape {tuple(p_BHQK.shape)} under the mask {name}, required (B, H, Q, K) = {expected}",
        )
        require(p_BHQK.dtype == case.dtype, f"{p_BHQK.dtype} from queries in {case.dtype}; {advice}")
    return f"(B, H, Q, K) = {expected}"


def are_finite(case: MethodCase) -> str:
    """Of queries and keys as at the start of training."""
    for name, mask in case.masks.items():
        p_BHQK = case.some_weights(mask)
        what = "NaN" if p_BHQK.isnan().any() else "infinite"
        advice = "a row whose sum is 0 or too large must not be divided by it"
        require(bool(p_BHQK.isfinite().all()), f"some are {what} under the mask {name}; {advice}")
    return f"under {len(case.masks)} masks"


def are_not_negative(case: MethodCase) -> str:
    """P >= 0, unless the method declares rows that are signed."""
    least = min(case.some_weights(mask).nan_to_num(0).min().item() for mask in case.masks.values())
    require(
        least >= 0 or case.method.rows_are_signed,
        f"the least is {least:.3g}; make them positive, or declare `rows_are_signed = True` (entropies are then those "
        "of |P| divided by its sum)",
    )
    return f"least {least:.2g}{', declared signed' if case.method.rows_are_signed else ''}"


def sum_to_what_is_declared(case: MethodCase) -> str:
    """Every row to 1, unless the method declares otherwise; a row without any weight is none."""
    sums = [case.some_weights(mask).sum(dim=-1).flatten() for mask in case.masks.values()]
    finite = torch.cat([of_mask[of_mask.isfinite()] for of_mask in sums])
    if not finite.numel():
        return "none is finite here"
    low, high = finite.min().item(), finite.max().item()
    measured = (
        f"they sum to {low:.6g}" if math.isclose(low, high, rel_tol=1e-5) else f"sums from {low:.3g} to {high:.3g}"
    )
    if case.method.rows_sum_to_one:
        require(
            max(abs(low - 1), abs(high - 1)) <= ROUNDING,
            f"{measured}; divide each row by its sum, or declare `rows_sum_to_one = False` (entropies are then those "
            "of rows divided by their sums)",
        )
        return measured
    return f"{measured}, declared"


def keep_to_allowed_keys(case: MethodCase) -> str:
    """Masked keys get exactly 0."""
    for name, mask in case.masks.items():
        hidden = case.some_weights(mask).masked_select(~case.method.restrict(mask).allowed_B1QK)
        most = hidden.abs().nan_to_num(0).max().item() if hidden.numel() else 0.0
        require(most == 0, f"a masked key gets {most:.3g} under the mask {name}; required 0: multiply by the mask")
    return "0 each"


def allowed_keys_are_some_of_the_mask(case: MethodCase) -> str:
    """`restrict` gives booleans, no key beyond the mask's, and each row at least one."""
    for name, mask in case.masks.items():
        kept = case.method.restrict(mask).allowed_B1QK
        require(str(kept.dtype) == "torch.bool", f"{kept.dtype} under the mask {name}; required torch.bool")
        require(not (kept & ~mask.allowed_B1QK).any(), f"keys that the mask {name} hides are allowed")
        require(kept.any(dim=-1).all(), f"a row is left without a key under the mask {name}")
    return f"under {len(case.masks)} masks"


def entropy_norm_and_mass_are_bounded(case: MethodCase) -> str:
    """Entropy between 0 and that of uniform rows, mass and norm between what rows of K keys can have."""
    largest = 0.0
    for mask in case.masks.values():
        for scale in (1e-2, 1, 1e3):
            layer = _layer(case, mask, scale)
            num_queries, num_keys = mask.num_queries, mask.num_keys
            entropy, most = row_entropies(layer).mean().item(), uniform_entropy(layer).item()
            require(-ROUNDING <= entropy <= most + ROUNDING, f"entropy {entropy:.3g}, required one in [0, {most:.3g}]")
            largest = max(largest, entropy)
            if case.method.rows_sum_to_one and not case.method.rows_are_signed:
                mass, norm = row_mass(layer).item(), frobenius_norm(layer).item()
                require(0 <= mass <= num_keys, f"row mass {mass:.3g}, required one in [0, {num_keys}]")
                # Prop. 5.3 for Q rows of K keys: the 2-norm of a row that sums to 1 lies in [1 / sqrt K, 1].
                low, high = math.sqrt(num_queries / num_keys), math.sqrt(num_queries)
                require(
                    low - ROUNDING <= norm <= high + ROUNDING,
                    f"norm {norm:.3g}, required one in [{low:.3g}, {high:.3g}]",
                )
    return f"entropy at most {largest:.3g} nats"


def weights_follow_from_logits(case: MethodCase) -> str:
    """Other logits give other weights, unless the method declares that it reads none."""
    mask = case.masks["full"]
    q_BHQD, k_BHKD = case.queries_and_keys(3, mask)
    method = case.method

    class Sharper(type(method)):
        def logits(self, q_BHQD: Tensor, k_BHKD: Tensor, mask_B1QK: Tensor, state: State) -> Tensor:
            return 2 * super().logits(q_BHQD, k_BHKD, mask_B1QK, state)

    sharper = Sharper(**{field.name: getattr(method, field.name) for field in dataclasses.fields(method)})
    state = case.state(1)
    plain, other = (one.weights(q_BHQD, k_BHKD, mask.allowed_B1QK, state) for one in (method, sharper))
    follows = not torch.equal(plain, other)
    require(
        follows == method.reads_logits,
        "they do; declare `reads_logits = True`"
        if follows
        else "they do not; read `self.logits(q, k, mask, state)`, or declare `reads_logits = False`",
    )
    return "they do" if follows else "declared to read none"


def _layer(case: MethodCase, mask: Mask, scale: float) -> Attention:
    """What probes see of queries and keys that were multiplied by `scale`."""
    q_BHQD, k_BHKD = case.queries_and_keys(3, mask)
    return Attention(
        z_BHQK=q_BHQD @ k_BHKD.mT,
        p_BHQK=case.weights(scale * q_BHQD, scale * k_BHKD, mask, case.state(1)),
        mask_B1QK=case.method.restrict(mask).allowed_B1QK,
        rows_sum_to_one=case.method.rows_sum_to_one,
        rows_are_signed=case.method.rows_are_signed,
    )


# Of methods whose logits a suite intervenes in; to others it does not matter.
FOLLOWS_LOGITS = Property(of="weights", check=weights_follow_from_logits, is_sampled=True)

# What follows from one that fails is not tried.
ROW_PROPERTIES: dict[str, Property] = {
    "weights have their shape and dtype": Property(
        of="weights", check=have_their_shape, is_sampled=True, is_basic=True
    ),
    "weights are finite": Property(of="weights", check=are_finite, is_basic=True),
    "weights are not negative": Property(of="weights", check=are_not_negative, is_sampled=True, is_basic=True),
    "rows sum to what is declared": Property(
        of="weights", check=sum_to_what_is_declared, is_sampled=True, is_basic=True
    ),
    "masked keys get nothing": Property(of="weights", check=keep_to_allowed_keys, is_sampled=True, is_basic=True),
    "allowed keys are some of the mask's": Property(
        of="restrict", check=allowed_keys_are_some_of_the_mask, is_sampled=True, is_basic=True
    ),
}
BOUNDS = {"entropy, norm and mass are bounded": Property(of="weights", check=entropy_norm_and_mass_are_bounded)}
