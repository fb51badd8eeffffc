"""Parameters of tests: one of each kind for every change, the others under the marker `repetition`."""

from collections.abc import Collection, Hashable, Iterable

import pytest

from bench.methods import METHODS

# A method that is fused, of sums over keys, dense, with kept vectors, with limits on projections, with further
# projections, with draws, and with learned tensors of its own.
KINDS_OF_METHODS = {
    "softmax", "relu_kernel", "sigmoid_attention", "sigma_reparam", "qk_clip", "gated_attention", "favor_plus",
    "qk_layernorm_gradient_clipped",
}  # fmt: skip


def one_of_each_kind(names: Iterable[Hashable], kinds: Collection[Hashable]) -> list:
    """All names as parameters; those that are not in `kinds` are repetitions. Raises ValueError for an unknown kind."""
    names, kinds = list(names), set(kinds)
    if unknown := kinds - set(names):
        raise ValueError(
            f"{', '.join(sorted(map(str, unknown)))}: no such parameter; there are {', '.join(map(str, names))}"
        )
    return [pytest.param(name, marks=() if name in kinds else pytest.mark.repetition) for name in names]


EACH_METHOD = one_of_each_kind(METHODS, KINDS_OF_METHODS)
