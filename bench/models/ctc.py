"""Connectionist temporal classification, and error rates of its most probable path, for lanes and captured steps.

Shapes: B utterances, T frames, V symbols of which 0 is the blank, S labels, U = 2 S + 1 states: labels with a blank
before, between and after them. Utterances and labels are ragged: what lies beyond their lengths is not read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.models import ctc_triton

if TYPE_CHECKING:
    from torch import Tensor

BLANK = 0
# The log of a probability of 0: with -inf, differences would be NaN. Sums of it over frames stay finite in float32.
LOG_ZERO = -1e30


def ctc_loss(
    log_p_BTV: Tensor,
    labels_BS: Tensor,
    num_frames_B: Tensor,
    num_labels_B: Tensor,
    *,
    is_reference: bool = False,
) -> Tensor:
    """-log of the probability of the labels in nats, (B,), of log-probabilities of symbols; labels are 1 to V - 1.

    The gradient is the closed form, minus the expected number of times that a frame emits a symbol, from one loop over
    frames in log space: torch's own loops over lanes and can't be captured. Labels that need more frames than there are
    (a frame each, and one between two that are equal) have loss inf and gradient 0. On CUDA the kernels of ctc_triton
    compute both, unless is_reference; a second derivative goes through the loop everywhere.
    Source: Graves et al. 2006, Eq. 5 to 16.
    """
    inputs = log_p_BTV, labels_BS, num_frames_B, num_labels_B
    has_kernels = not is_reference and ctc_triton.takes(log_p_BTV, labels_BS)
    loss_B, _ = _with_closed_form(ctc_triton.loss_and_posterior if has_kernels else loss_and_posterior)(*inputs)
    return loss_B


def loss_and_posterior(
    log_p_BTV: Tensor, labels_BS: Tensor, num_frames_B: Tensor, num_labels_B: Tensor
) -> tuple[Tensor, Tensor]:
    """`ctc_loss` (B,), and the probability that a frame emits a symbol given the labels, (B, T, V).

    Backward variables are forward ones of labels and frames in reverse order, each utterance's from its own end.
    """
    num_states_B = 2 * num_labels_B + 1
    states_BU = _with_blanks(labels_BS)
    frame_BT = _reversed_index(log_p_BTV.shape[1], num_frames_B)
    state_BU = _reversed_index(states_BU.shape[1], num_states_B)
    emitted_BTU = _emitted(log_p_BTV, states_BU, num_states_B)
    to_frame_BTU = frame_BT[..., None].expand_as(emitted_BTU)
    to_state_BTU = state_BU[:, None].expand_as(emitted_BTU)
    turned_BTU = emitted_BTU.gather(1, to_frame_BTU).gather(2, to_state_BTU)
    both = torch.cat([emitted_BTU, turned_BTU]), torch.cat([states_BU, states_BU.gather(1, state_BU)])
    alpha_BTU, turned_BTU = _forward_variables(*both).chunk(2)
    beta_BTU = turned_BTU.gather(2, to_state_BTU).gather(1, to_frame_BTU)
    through_BTU = alpha_BTU + beta_BTU - emitted_BTU  # the frame's own emission is in both
    log_total_B = through_BTU[:, 0].logsumexp(dim=-1)
    is_possible_B = log_total_B > LOG_ZERO / 2
    is_inside_BT = torch.arange(log_p_BTV.shape[1], device=log_p_BTV.device) < num_frames_B[:, None]
    counts_BT1 = (is_inside_BT & is_possible_B[:, None])[..., None]
    log_share_BTU = torch.where(counts_BT1, through_BTU - log_total_B[:, None, None], LOG_ZERO)
    index_BTU = states_BU[:, None].expand_as(log_share_BTU)
    posterior_BTV = torch.zeros_like(log_p_BTV).scatter_add(2, index_BTU, log_share_BTU.exp())
    return torch.where(is_possible_B, -log_total_B, torch.inf), posterior_BTV


def _with_blanks(labels_BS: Tensor) -> Tensor:
    """(B, U): a blank before each label, and one at the end."""
    pairs_BU = torch.stack([torch.full_like(labels_BS, BLANK), labels_BS], dim=-1).flatten(1)
    return torch.cat([pairs_BU, torch.full_like(labels_BS[:, :1], BLANK)], dim=1)


def _reversed_index(size: int, length_B: Tensor) -> Tensor:
    """(B, size): the place of each element when the first `length` are in reverse order; the others keep theirs."""
    place = torch.arange(size, device=length_B.device)
    last_B1 = length_B[:, None] - 1
    return torch.where(place <= last_B1, last_B1 - place, place)


def _emitted(log_p_BTV: Tensor, states_BU: Tensor, num_states_B: Tensor) -> Tensor:
    """Log-probability that a frame emits the symbol of a state, (B, T, U); of states beyond the last LOG_ZERO."""
    index_BTU = states_BU[:, None].expand(-1, log_p_BTV.shape[1], -1)
    is_state_BU = torch.arange(states_BU.shape[1], device=states_BU.device) < num_states_B[:, None]
    return torch.where(is_state_BU[:, None], log_p_BTV.gather(2, index_BTU), LOG_ZERO)


def _forward_variables(emitted_BTU: Tensor, states_BU: Tensor) -> Tensor:
    """Log-probability of all paths that are in a state at a frame, (B, T, U). Source: Graves et al. 2006, Eq. 6."""
    nothing_B2 = torch.full_like(emitted_BTU[:, 0, :2], LOG_ZERO)
    before_BU = torch.cat([torch.full_like(states_BU[:, :2], BLANK), states_BU[:, :-2]], dim=1)
    skips_BU = (states_BU != BLANK) & (states_BU != before_BU)  # from the label before, past the blank between
    skip_cost_BU = torch.where(skips_BU, 0.0, LOG_ZERO).to(emitted_BTU.dtype)
    state_BU = torch.cat([emitted_BTU[:, 0, :2], torch.full_like(emitted_BTU[:, 0, 2:], LOG_ZERO)], dim=1)
    reached = [state_BU]
    for emitted_BU in emitted_BTU.unbind(1)[1:]:
        padded_BU = torch.cat([nothing_B2, state_BU], dim=1)
        moved_BU = torch.logaddexp(state_BU, padded_BU[:, 1:-1])
        state_BU = torch.logaddexp(moved_BU, padded_BU[:, :-2] + skip_cost_BU) + emitted_BU
        reached.append(state_BU)
    return torch.stack(reached, dim=1)


@functools.cache
def _with_closed_form(computed: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., Any]:
    """`loss_and_posterior`, as `computed`, with the gradient of the loss in closed form."""

    class Posterior(torch.autograd.Function):
        """The posterior that is known, differentiable: a second derivative goes through the recursion."""

        generate_vmap_rule = True

        @staticmethod
        def forward(posterior: Tensor, log_p: Tensor, *lengths: Tensor) -> Tensor:
            return posterior.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            ctx.save_for_backward(*inputs[1:])

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
            log_p, *others = ctx.saved_tensors
            pulled = torch.func.vjp(lambda x: loss_and_posterior(x, *others)[1], log_p)[1](grads[0])
            return None, *pulled, None, None, None

    class Loss(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*inputs: Tensor) -> tuple[Tensor, Tensor]:
            return computed(*inputs)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(output[1], *inputs)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
            posterior_BTV = Posterior.apply(*ctx.saved_tensors)
            return -posterior_BTV * grads[0][:, None, None], None, None, None

    return Loss.apply
