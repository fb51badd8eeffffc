"""CTC on CUDA by two kernels: all paths of an utterance in one launch, however many frames it has.

In operations on tensors a frame is a dozen of them, each waiting for the last. A graph holds the kernels as the
operation `bench::ctc`, which Inductor calls as it is. They sum in one order: the same inputs give the same bits.
Shapes: B utterances, T frames, V symbols of which 0 is the blank, S labels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.methods.fast.fold import fold
from bench.methods.fast.tiny import is_triton_installed

if TYPE_CHECKING:
    from torch import Tensor

MAX_PLACES = 1024  # of labels and one more: a program keeps them in registers
PLACES_PER_WARP = 128
TILE_ELEMENTS = 4096  # of symbols by places


def takes(log_p_BTV: Tensor, labels_BS: Tensor) -> bool:
    """Whether the kernels run on these."""
    is_known = log_p_BTV.dtype in (torch.float32, torch.float64) and labels_BS.shape[-1] < MAX_PLACES
    return is_known and log_p_BTV.device.type == "cuda" and is_triton_installed()


def loss_and_posterior(
    log_p_BTV: Tensor, labels_BS: Tensor, num_frames_B: Tensor, num_labels_B: Tensor
) -> tuple[Tensor, Tensor]:
    """As bench.models.ctc.loss_and_posterior, by the kernels, under vmap too; not differentiable."""
    return _operation()(log_p_BTV, labels_BS, num_frames_B, num_labels_B)


def _kernels() -> Any:
    from bench.models import ctc_kernels  # imports Triton

    return ctc_kernels


def _run(log_p: Tensor, labels: Tensor, num_frames: Tensor, num_labels: Tensor) -> tuple[Tensor, Tensor]:
    log_p_BTV, labels_BS, *lengths = (x.contiguous() for x in (log_p, labels, num_frames, num_labels))
    (num_utterances, num_frames_most, num_symbols), num_labels_most = log_p_BTV.shape, labels_BS.shape[1]
    sizes = num_utterances, num_frames_most, num_symbols, num_labels_most
    num_places = 1 << num_labels_most.bit_length()  # the least power of two above
    settings = {"P": num_places, "num_warps": max(1, num_places // PLACES_PER_WARP)}
    loss_B, posterior_BTV = log_p_BTV.new_empty(num_utterances), torch.empty_like(log_p_BTV)
    reached_2BTKW = log_p_BTV.new_empty(2, num_utterances, num_frames_most, 2, num_labels_most + 1)
    inputs = log_p_BTV, labels_BS, *lengths, reached_2BTKW
    kernels = _kernels()
    with torch.cuda.device_of(log_p):
        kernels.reach[num_utterances, 2](*inputs, *sizes, **settings)
        num_tile_symbols = max(1, TILE_ELEMENTS // num_places)
        kernels.emit[num_utterances, num_frames_most](
            *inputs,
            loss_B,
            posterior_BTV,
            *sizes,
            X=min(num_tile_symbols, 1 << (num_symbols - 1).bit_length()),
            **settings,
        )
    return loss_B, posterior_BTV


@functools.cache
def _operation() -> Callable[..., tuple[Tensor, Tensor]]:
    """The operation, with the rule for lanes; at the first call it is registered."""
    ctc = torch.library.custom_op(
        "bench::ctc",
        _run,
        mutates_args=(),
        schema="(Tensor log_p, Tensor labels, Tensor num_frames, Tensor num_labels) -> (Tensor, Tensor)",
    )

    @ctc.register_fake
    def _(log_p: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        return log_p.new_empty(log_p.shape[:1]), torch.empty_like(log_p, memory_format=torch.contiguous_format)

    @ctc.register_vmap
    def _(info: Any, in_dims: Sequence[Any], *tensors: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        folded = [fold(x, dim, info.batch_size) for x, dim in zip(tensors, in_dims, strict=True)]
        loss, posterior = ctc(*folded)
        return (loss.unflatten(0, (info.batch_size, -1)), posterior.unflatten(0, (info.batch_size, -1))), (0, 0)

    return ctc
