"""Combinations of a suite that are valid, and of which it can be proved that they change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from bench.entry import load_class
from bench.methods import METHODS
from bench.methods.base import Method
from bench.optimizers import OPTIMIZERS
from bench.suite.suite import Suite


def without_effect(suite: Suite) -> Iterator[str]:
    """In words, a line each: methods that scale the loss, under optimizers that divide gradients by their own size."""
    classes = {choice.label: load_class(OPTIMIZERS.get(choice.name, choice.name)) for choice in suite.optimizers}
    deaf = [label for label, one in classes.items() if one.ignores_scale]
    for choice in suite.methods:
        scales = load_class(METHODS.get(choice.name, choice.name)).scale_loss is not Method.scale_loss
        if scales and deaf:
            yield (
                f"{choice.label} scales the loss, which has no effect under {', '.join(deaf)}: a constant factor "
                "leaves its update as it is, but for eps; what is left is how averages lag behind a factor that changes"
            )
