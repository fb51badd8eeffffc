"""What a step costs: counted by hand for attention alone, and extended from two examples without error."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.suite import find_suite, load_suite
from bench.training import step_cost as counted
from bench.training.lane import LaneProgram
from bench.training.step_cost import step_cost
from bench.trial import Trial
from tests.repetitions import one_of_each_kind
from tests.trials import language_trial, trial


@pytest.mark.parametrize("depth", [1, 3])
def test_the_cost_of_attention_alone_is_that_by_hand(depth):
    """T = 6 tokens of width 3, 4 sequences, and 2 for a multiplication with its addition.

    Each product of a forward pass has two of the backward pass, but that with the input of the first layer one; and
    the targets are products of the data.
    """
    tokens, width, sequences = 6, 3, 4
    projections = 3 * 2 * tokens * width**2 * (3 * depth - 1)
    attention = 2 * 2 * tokens**2 * width * 3 * depth
    targets = 2 * tokens * 2
    cost = step_cost(trial(workload_params={"depth": depth}))
    assert cost.step_flops == sequences * (projections + attention + targets)
    assert cost.num_parameters == 3 * width**2 * depth


@pytest.mark.parametrize(
    "method", one_of_each_kind(["softmax", "l2_attention", "relu_kernel", "gated_attention"], ["l2_attention"])
)
@pytest.mark.parametrize("is_computed", [True, False])
def test_two_examples_tell_of_the_whole_batch(method, is_computed, monkeypatch):
    """Also where a method's weights are products, which no batch makes more; and without computing anything."""
    monkeypatch.setattr(counted, "MAX_COMPUTED", 2e11 if is_computed else 0)
    one = language_trial(method=method)
    program, zero = LaneProgram.of(one, is_reference=True), torch.tensor(0)
    batch = {name: x[0, 0] for name, x in program.workload.batches(zero[None], zero[None]).items()}
    lane = program.start(zero, torch.ones(()))
    with FlopCounterMode(display=False) as counter:
        program.gradients(lane, batch, zero, zero)
    cost = step_cost(one)
    assert cost.step_flops == counter.get_total_flops()
    assert cost.num_parameters == sum(p.numel() for p in lane["params"].values())


def products(num_tokens: int, width: int, mlp_width: int, num_keys: int | None = None) -> int:
    """FLOPs forward of a block of self-attention over one example; of cross-attention, without MLP, with num_keys."""
    if num_keys is None:
        return 2 * num_tokens * (4 * width**2 + 2 * width * mlp_width) + 4 * num_tokens**2 * width
    return 2 * (2 * num_tokens + 2 * num_keys) * width**2 + 4 * num_tokens * num_keys * width


def block(width: int, mlp_width: int) -> int:
    """Parameters of a block: four projections, an MLP, two norms, all with biases."""
    return 4 * width**2 + 2 * width * mlp_width + 4 * width + mlp_width + width + 4 * width


def first_of(suite: str) -> Trial:
    return next(iter(load_suite(find_suite(suite)).expand()))


# What differentiates to tokens is done three times, forward and twice back; what reads data alone, twice.
def test_a_language_model_costs_what_it_does_by_hand():
    (batch, tokens, width, depth, mlp, vocabulary) = (8, 256, 128, 6, 512, 256)
    cost = step_cost(first_of("lm_small"))
    embeddings, last_norm = (vocabulary + tokens) * width, 2 * width
    assert cost.num_parameters == embeddings + depth * block(width, mlp) + last_norm
    readout = 2 * tokens * width * vocabulary
    assert cost.step_flops == 3 * batch * (depth * products(tokens, width, mlp) + readout)


def test_a_vision_transformer_costs_what_it_does_by_hand():
    (batch, patches, pixels, width, depth, mlp, classes) = (64, 16, 4, 64, 4, 256, 10)
    cost = step_cost(first_of("vit_digits"))
    embeddings = pixels * width + width + width + (patches + 1) * width
    assert cost.num_parameters == embeddings + depth * block(width, mlp) + 2 * width + (width + 1) * classes
    forward = depth * products(patches + 1, width, mlp) + 2 * width * classes
    assert cost.step_flops == batch * (3 * forward + 2 * 2 * patches * pixels * width)


def test_an_encoder_decoder_costs_what_it_does_by_hand():
    (batch, source, target, width, depth, mlp, vocabulary) = (32, 115, 106, 128, 2, 512, 32)
    cost = step_cost(first_of("mt_numbers"))
    cross = 4 * width**2 + 4 * width + 2 * width
    assert cost.num_parameters == vocabulary * width + depth * (2 * block(width, mlp) + cross)
    blocks = products(source, width, mlp) + products(target, width, mlp) + products(target, width, mlp, source)
    assert cost.step_flops == 3 * batch * (depth * blocks + 2 * target * width * vocabulary)


def test_speech_recognition_costs_what_it_does_by_hand():
    """172 frames of 40 bands, of which a window of 7 is seen at every third; the loss multiplies no matrices."""
    (batch, frames, window, width, depth, mlp, symbols) = (16, -(-172 // 3), 7 * 40, 128, 6, 512, 29)
    cost = step_cost(first_of("asr_digits"))
    assert cost.num_parameters == (window + 1) * 2 * width + depth * block(width, mlp) + (width + 1) * symbols
    forward = depth * products(frames, width, mlp) + 2 * frames * width * symbols
    assert cost.step_flops == batch * (3 * forward + 2 * 2 * frames * window * 2 * width)


def test_contrastive_learning_costs_what_it_does_by_hand():
    """Each of 2 x 64 views is compared with all; positions are fixed."""
    (views, patches, pixels, width, depth, mlp, hidden, out) = (2 * 64, 16, 4, 128, 6, 512, 256, 64)
    cost = step_cost(first_of("ssl_digits"))
    projector = width * hidden + hidden**2 + hidden * out
    embeddings = pixels * width + width + width
    assert cost.num_parameters == embeddings + depth * block(width, mlp) + 2 * width + projector + 4 * hidden
    forward = depth * products(patches + 1, width, mlp) + 2 * projector + 2 * views * out
    assert cost.step_flops == views * (3 * forward + 2 * 2 * patches * pixels * width)
