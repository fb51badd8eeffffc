"""Functions of tensors into which torch.func's transforms do not look, with a gradient and lanes of their own.

Forward and backward run below all transforms, so that none records or batches what is inside. They are differentiated
once: a second derivative raises NotImplementedError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.fast.fold import fold

if TYPE_CHECKING:
    from torch import Tensor

# Number of lanes, where each tensor has them (None: all lanes share it), and the tensors -> those with lanes as batch.
Fold = Callable[[int, Sequence[Any], Sequence[Any]], list[Any]]


def opaque(
    forward: Callable[..., Tensor], backward: Callable[..., tuple[Tensor, ...]], fold_inputs: Fold
) -> Callable[..., Any]:
    """forward(settings, *tensors) -> Tensor, with backward(settings, grad, *tensors) -> gradients of the first tensors.

    A tensor may be None; `settings` is anything else. The output and the gradients have the batch first, as many lanes
    as `fold_inputs` puts there.
    """

    class Forward(torch.autograd.Function):
        @staticmethod
        def forward(settings: Any, *tensors: Tensor | None) -> Tensor:
            return forward(settings, *tensors)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            ctx.settings = inputs[0]
            ctx.save_for_backward(*inputs[1:])

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
            of_first = Backward.apply(ctx.settings, *grads, *ctx.saved_tensors)
            assert of_first is not None
            return None, *of_first, *[None] * (len(ctx.saved_tensors) - len(of_first))

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Tensor, int]:
            output = Forward.apply(args[0], *fold_inputs(info.batch_size, in_dims[1:], args[1:]))
            assert output is not None
            return output.unflatten(0, (info.batch_size, -1)), 0

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(settings: Any, grad: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
            return backward(settings, grad, *tensors)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            raise NotImplementedError("second derivatives")

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[tuple[Tensor, ...], int]:
            settings, grad, *tensors = args
            inputs = fold_inputs(info.batch_size, in_dims[2:], tensors)
            grads = Backward.apply(settings, fold(grad, in_dims[1], info.batch_size), *inputs)
            assert grads is not None
            return tuple(x.unflatten(0, (info.batch_size, -1)) for x in grads), 0

    return Forward.apply
