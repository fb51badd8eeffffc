"""What a step costs: counted by hand for attention alone, and extended from two examples without error."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.training import step_cost as counted
from bench.training.lane import LaneProgram
from bench.training.step_cost import step_cost
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
