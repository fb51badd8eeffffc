"""The colour, dash and shape of each method: of a shipped one the same in every figure."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from bench.methods import METHODS

NUM_COLOURS, NUM_STYLES = 7, 5  # of chart_style


class Look(NamedTuple):
    """Places in the palette, and among dashes and shapes; no two methods have both alike."""

    colour: int
    style: int


def _family(colour: int, *names: str) -> dict[str, Look]:
    return {name: Look(colour, style) for style, name in enumerate(names)}


# Methods of one kind share a colour; the first of each, drawn solid, are those of Hong & Lee 2025, Table 1. A shipped
# method without a line here has a look that is free, in the order of METHODS.
METHOD_LOOKS: dict[str, Look] = {
    **_family(0, "sigma_reparam_qk", "sigma_reparam", "spectral_norm", "spectral_norm_qk", "lipschitz_norm"),
    **_family(1, "qk_layernorm_weight_clipped", "qk_layernorm_free", "qk_layernorm_fixed",
              "qk_layernorm_gradient_clipped", "qk_norm"),
    **_family(2, "relu_kernel", "favor_plus", "cosformer", "l2_attention"),
    **_family(3, "elu_kernel", "weight_norm", "weight_norm_qk", "gated_attention"),
    **_family(4, "sigmoid_kernel", "sigmoid_attention", "thermostat_logits", "thermostat_loss"),
    **_family(5, "window_softmax", "soft_capping", "log_n_scaling", "qk_clip"),
    **_family(6, "softmax", "softmax_control", "softmax_one", "norm_softmax", "norm_softmax_bounded"),
}  # fmt: skip


@functools.cache
def shipped_looks() -> dict[str, Look]:
    """The look of every shipped method."""
    by_name = {name: METHOD_LOOKS[name] for name in METHODS if name in METHOD_LOOKS}
    for name in METHODS:
        if name not in by_name:
            by_name[name] = _free(None, {*METHOD_LOOKS.values(), *by_name.values()})
    return by_name


def looks(labels: Sequence[str]) -> list[Look]:
    """The look of each label of a figure, all different for up to 35 labels.

    A shipped method has its own. A variant of one, `softmax(temperature=2.0)`, beside it another style of its colour;
    any other method a colour that nothing else of the figure has, as long as there is one.
    """
    shipped = shipped_looks()
    taken = {label: shipped[label] for label in labels if label in shipped}
    for label in labels:
        if label not in taken:
            taken[label] = _free(shipped.get(label.partition("(")[0]), set(taken.values()))
    return [taken[label] for label in labels]


def _free(wanted: Look | None, taken: set[Look]) -> Look:
    """The wanted look if it is free, another style of its colour, or else the first that is free."""
    every = [Look(colour, style) for style, colour in itertools.product(range(NUM_STYLES), range(NUM_COLOURS))]
    colours = {look.colour for look in taken}
    likes = [] if wanted is None else [wanted, *(look for look in every if look.colour == wanted.colour)]
    fresh = [look for look in every if look.colour not in colours]
    return next((look for look in (*likes, *fresh, *every) if look not in taken), every[len(taken) % len(every)])
