"""What every probe of attention keeps to: PROBE_PROPERTIES, by what they say.

Shapes: B batch, H heads, Q queries, K keys.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.probes.base import MERGES, Attention, Probe, measured_by, merge, observe, quantities_of
from bench.testing.basics import probe_basics
from bench.testing.method_case import mask_named
from bench.testing.properties import Property, require, require_close
from bench.training.history import OVER_LAYERS

if TYPE_CHECKING:
    from torch import Tensor

BATCH, HEADS, TOKENS = 4, 2, 5
MASKS = ("full", "causal", "last_key_hidden", "padded")
ROWS = ("sum_to_one", "need_not")


def attention(seed: int, mask: str = "causal", rows: str = "sum_to_one") -> Attention:
    """Made-up logits and their softmax, whose rows are scaled where they need not sum to 1."""
    generator, of_batch = torch.Generator().manual_seed(seed), mask_named(mask, TOKENS, BATCH)
    allowed_B1QK = of_batch.allowed_B1QK
    z_BHQK = 3 * torch.randn(BATCH, HEADS, TOKENS, TOKENS, generator=generator, dtype=torch.float64)
    p_BHQK = z_BHQK.masked_fill(~allowed_B1QK, -math.inf).softmax(dim=-1)
    if rows == "need_not":
        p_BHQK = p_BHQK * torch.rand(BATCH, HEADS, TOKENS, 1, generator=generator, dtype=torch.float64)
    return Attention(
        z_BHQK=z_BHQK,
        p_BHQK=p_BHQK,
        mask_B1QK=allowed_B1QK,
        num_keys_BQ=of_batch.num_keys_BQ,
        rows_sum_to_one=rows == "sum_to_one",
    )


def quantities_are_declared_whole(probe: Probe) -> str:
    """Each is measured, or sums up one of the same probe that is measured in every layer."""
    for name, quantity in probe.quantities.items():
        words = (quantity.title, quantity.unit, quantity.definition)
        require(all(words), f"{name}: title, unit and definition must not be empty")
        require(quantity.low <= quantity.high(TOKENS), f"{name}: low {quantity.low} above high {quantity.high(TOKENS)}")
        merges = (quantity.merge, quantity.merge_heads or "mean")
        require(MERGES.keys() >= set(merges), f"{name}: merge must be one of {', '.join(MERGES)}")
        if quantity.over_layers is not None:
            require(quantity.over_layers[1] in OVER_LAYERS, f"{name}: over_layers must be {' or '.join(OVER_LAYERS)}")
    return ", ".join(probe.quantities)


def measures_what_is_declared_within_bounds(probe: Probe) -> str:
    """A scalar for each quantity that is per layer, for rows that sum to 1 and that need not."""
    seen: dict[str, list[float]] = {name: [] for name in measured_by([probe])}
    for mask, rows in ((mask, rows) for mask in MASKS for rows in ROWS):
        measured = probe.measure(attention(0, mask, rows))
        for name, value in measured.items():
            quantity = quantities_of([probe])[name]
            low, high = quantity.low, quantity.high(TOKENS)
            require(value.shape == (), f"{name} has shape {tuple(value.shape)}, required a scalar")
            require(
                low - 1e-12 <= value.item() <= high + 1e-12, f"{name} is {value.item():.4g}, not in [{low}, {high}]"
            )
            seen[name].append(value.item())
    return ", ".join(f"{name} {min(values):.3g} to {max(values):.3g}" for name, values in seen.items())


def equal_parts_merge_to_the_whole(probe: Probe) -> str:
    """Of batch and heads, as each quantity's `merge` says."""
    evidence = ""
    for size, mask, rows in itertools.product((1, 2, 4), ("causal", "padded"), ROWS):
        layer = attention(1, mask, rows)
        parts = [[observe([probe], part) for part in of_head] for of_head in _parts(layer, size)]
        what = f"parts of {size} sequences and one head merged, and the whole"
        evidence = require_close(merge([probe], parts), observe([probe], layer), what, rtol=1e-13, atol=0)
    return evidence


def lanes_equal_a_loop(probe: Probe) -> str:
    """To rounding: a probe is batched over the lanes of a pack."""
    evidence = ""
    for rows in ROWS:
        layers = [attention(seed, rows=rows) for seed in range(3)]

        def of(z_BHQK: Tensor, p_BHQK: Tensor, like: Attention = layers[0]) -> Tensor:
            return observe([probe], dataclasses.replace(like, z_BHQK=z_BHQK, p_BHQK=p_BHQK))

        z_LBHQK, p_LBHQK = (torch.stack([getattr(layer, name) for layer in layers]) for name in ("z_BHQK", "p_BHQK"))
        expected = torch.stack([observe([probe], layer) for layer in layers])
        together = torch.func.vmap(of)(z_LBHQK, p_LBHQK)
        evidence = require_close(together, expected, "lanes together and one by one", rtol=1e-13, atol=0)
    return evidence


def masked_logits_change_nothing(probe: Probe) -> str:
    """Logits of keys that are not allowed hold anything."""
    for mask in ("causal", "last_key_hidden", "padded"):
        layer = attention(2, mask)
        changed = dataclasses.replace(layer, z_BHQK=layer.z_BHQK.masked_fill(~layer.mask_B1QK, 1e30))
        what = f"a quantity depends on logits that the mask {mask} hides; fill them by ~layer.mask_B1QK"
        require(torch.equal(observe([probe], layer), observe([probe], changed)), what)
    return "3 masks"


def padding_changes_nothing(probe: Probe) -> str:
    """Rows of padding hold anything that is finite; no quantity counts them."""
    advice = "take means by layer.mean_over_rows, which leaves them out"
    for rows in ROWS:
        layer = attention(3, "padded", rows)
        is_padding_B1Q1 = (layer.keys_of_rows == 0)[..., None]
        others = attention(4, "padded", rows)
        changed = dataclasses.replace(
            layer,
            z_BHQK=layer.z_BHQK.where(~is_padding_B1Q1, 10 * others.z_BHQK),
            p_BHQK=layer.p_BHQK.where(~is_padding_B1Q1, others.p_BHQK),
        )
        expected, actual = observe([probe], layer), observe([probe], changed)
        require(torch.equal(actual, expected), f"rows of padding change {', '.join(measured_by([probe]))}; {advice}")
    return "they do not count"


PROBE_PROPERTIES: dict[str, Property] = {
    **probe_basics("measure", lambda probe: probe.measure(attention(0))),
    "quantities are declared whole": Property(
        of="quantities", check=quantities_are_declared_whole, is_sampled=True, is_basic=True
    ),
    "what is declared is measured, within bounds": Property(
        of="measure", check=measures_what_is_declared_within_bounds, is_sampled=True, is_basic=True
    ),
    "lanes equal a loop": Property(of="measure", check=lanes_equal_a_loop, is_basic=True),
    "equal parts merge to the whole": Property(of="measure", check=equal_parts_merge_to_the_whole),
    "masked logits change nothing": Property(of="measure", check=masked_logits_change_nothing),
    "padding changes nothing": Property(of="measure", check=padding_changes_nothing),
}


def _parts(layer: Attention, size: int) -> Iterator[Iterator[Attention]]:
    """For each head, parts of `size` sequences."""
    for h in range(HEADS):
        yield (
            dataclasses.replace(
                layer,
                z_BHQK=layer.z_BHQK[b : b + size, h : h + 1],
                p_BHQK=layer.p_BHQK[b : b + size, h : h + 1],
                mask_B1QK=layer.mask_B1QK if len(layer.mask_B1QK) == 1 else layer.mask_B1QK[b : b + size],
                num_keys_BQ=None if layer.num_keys_BQ is None else layer.num_keys_BQ[b : b + size],
                of_all_BQ=layer.num_keys_BQ,
            )
            for b in range(0, BATCH, size)
        )
