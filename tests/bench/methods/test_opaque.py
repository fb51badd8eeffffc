"""A function into which transforms do not look: its gradients, its lanes, and no second derivative.

Shapes: L lanes, B batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from bench.methods.fast.fold import fold
from bench.methods.fast.opaque import opaque

CALLS: list[tuple[str, tuple[int, ...]]] = []  # which of the two ran, on what shape


def power() -> Callable[..., torch.Tensor]:
    """a x^exponent where `where` allows, else 0; of the mask, the third tensor, there is no gradient."""

    def forward(exponent: int, x: torch.Tensor, a: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
        CALLS.append(("forward", tuple(x.shape)))
        y = a * x**exponent
        return y if where is None else y * where

    def backward(exponent: int, grad: torch.Tensor, x: torch.Tensor, a: torch.Tensor, where: Any) -> tuple:
        CALLS.append(("backward", tuple(grad.shape)))
        grad = grad if where is None else grad * where
        return grad * a * exponent * x ** (exponent - 1), grad * x**exponent

    def fold_inputs(num_lanes: int, in_dims: Sequence[Any], tensors: Sequence[Any]) -> list[Any]:
        return [x if x is None else fold(x, dim, num_lanes) for x, dim in zip(tensors, in_dims, strict=True)]

    return opaque(forward, backward, fold_inputs)


def plain(exponent: int, x: torch.Tensor, a: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
    y = a * x**exponent
    return y if where is None else y * where


def inputs(*lanes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, a = (torch.randn(*lanes, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return x, a


MASK = torch.tensor([[True, False, True], [False, True, True]])


@pytest.mark.parametrize("where", [None, MASK])
def test_output_and_gradients_are_those_of_forward_and_backward(where):
    for of in (0, 1):
        actual, expected = (
            torch.func.grad_and_value(lambda x, a, run=run: run(3, x, a, where).sum(), of)(*inputs())
            for run in (power(), plain)
        )
        torch.testing.assert_close(actual, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (None, 0), (1, 0)])
@pytest.mark.parametrize("where", [None, MASK])
def test_lanes_are_folded_into_the_batch_and_run_once(in_dims, where):
    """One call forward and one backward of all three lanes, whichever inputs they share."""
    tensors = [
        stacked.movedim(0, dim) if dim is not None else own
        for dim, stacked, own in zip(in_dims, inputs(3), inputs(), strict=True)
    ]

    def gradients(run: Callable[..., torch.Tensor]) -> Callable[..., Any]:
        return torch.func.vmap(torch.func.grad(lambda x, a: run(2, x, a, where).sum(), (0, 1)), in_dims)

    expected = gradients(plain)(*tensors)
    CALLS.clear()
    actual = gradients(power())(*tensors)
    torch.testing.assert_close(actual, expected, rtol=1e-14, atol=0)
    assert CALLS == [("forward", (6, 3)), ("backward", (6, 3))]


def test_a_gradient_of_all_lanes_together():
    """Of vmap inside; all lanes share one input."""
    x, a = inputs(3)[0], inputs()[1]

    def total(run: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda x, a: torch.func.vmap(lambda x, a: run(2, x, a, None), (0, None))(x, a).square().sum()

    actual, expected = (torch.func.grad(total(run), (0, 1))(x, a) for run in (power(), plain))
    torch.testing.assert_close(actual, expected, rtol=1e-13, atol=0)


def test_what_is_inside_is_not_recorded():
    """A trace of its vmap and gradient has what ran, not what batching or differentiating its parts would add."""
    x, a = inputs(3)
    CALLS.clear()
    torch.func.vmap(torch.func.vjp(lambda x, a: power()(2, x, a, None), x[0], a[0])[1])(torch.ones(5, 2, 3).double())
    assert CALLS == [("forward", (2, 3)), ("backward", (10, 3))]


def test_a_second_derivative_raises():
    x, a = inputs()
    first = torch.func.grad(lambda x: power()(2, x, a, None).sum())
    with pytest.raises(NotImplementedError):
        torch.func.grad(lambda x: first(x).square().sum())(x)
