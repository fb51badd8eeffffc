"""CTC equals torch's, gradient and all, under lanes, and has the second derivative that finite differences have.

Shapes: L lanes, B utterances, T frames, V symbols, S labels.
"""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

from bench.derivatives import hessian_product, with_gradient
from bench.models.ctc import ctc_loss, loss_and_posterior

L, B, T, V, S = 3, 6, 40, 12, 9
NUM_FRAMES = torch.tensor([40, 33, 25, 40, 20, 1])
NUM_LABELS = torch.tensor([9, 7, 4, 1, 9, 0])


@pytest.fixture(scope="module")
def utterances():
    """Scores (L, B, T, V) of all sizes, and labels (L, B, S) with repeats."""
    generator = torch.Generator().manual_seed(0)
    scores_LBTV = torch.randn(L, B, T, V, generator=generator, dtype=torch.float64)
    scores_LBTV[1] *= 30
    labels_LBS = torch.randint(1, V, (L, B, S), generator=generator)
    labels_LBS[:, :, 3] = labels_LBS[:, :, 2]
    return scores_LBTV, labels_LBS


def ours(scores_BTV, labels_BS):
    return ctc_loss(scores_BTV.log_softmax(-1), labels_BS, NUM_FRAMES, NUM_LABELS)


def theirs(scores_BTV, labels_BS):
    log_p_TBV = scores_BTV.log_softmax(-1).transpose(0, 1)
    return functional.ctc_loss(log_p_TBV, labels_BS, NUM_FRAMES, NUM_LABELS, reduction="none")


def gradient(function, scores_BTV, labels_BS):
    return with_gradient(lambda at: (function(at["x"], labels_BS).sum(), ()), {"x": scores_BTV})[0]["x"]


def test_value_and_gradient_of_every_lane_are_torchs(utterances):
    losses_LB = torch.func.vmap(ours)(*utterances)
    grads_LBTV = torch.func.vmap(lambda x, y: gradient(ours, x, y))(*utterances)
    for lane, (x, y) in enumerate(zip(*utterances, strict=True)):
        torch.testing.assert_close(losses_LB[lane], theirs(x, y), rtol=1e-12, atol=1e-12)
        leaf = x.clone().requires_grad_()
        expected = torch.autograd.grad(theirs(leaf, y).sum(), leaf)[0]
        torch.testing.assert_close(grads_LBTV[lane], expected, rtol=0, atol=1e-12)


def test_what_lies_beyond_the_lengths_is_not_read(utterances):
    x, y = utterances[0][0], utterances[1][0]
    other_x = torch.where((torch.arange(T) < NUM_FRAMES[:, None])[..., None], x, 1e3)
    other_y = torch.where(torch.arange(S) < NUM_LABELS[:, None], y, 1)
    assert torch.equal(ours(x, y), ours(other_x, other_y))
    assert not gradient(ours, other_x, y)[1, 33:].any()


def test_labels_that_need_more_frames_than_there_are_cost_inf_and_have_no_gradient():
    log_p_BTV = torch.zeros(3, 4, 3, dtype=torch.float64).log_softmax(-1)
    labels_BS = torch.tensor([[1, 1, 2], [1, 2, 1], [1, 2, 1]])
    num_frames_B, num_labels_B = torch.tensor([3, 3, 2]), torch.tensor([3, 3, 3])  # a repeat takes a frame more
    loss_B, posterior_BTV = loss_and_posterior(log_p_BTV, labels_BS, num_frames_B, num_labels_B)
    expected = functional.ctc_loss(log_p_BTV.transpose(0, 1), labels_BS, num_frames_B, num_labels_B, reduction="none")
    torch.testing.assert_close(loss_B, expected)
    assert loss_B.isinf().tolist() == [True, False, True]
    assert not posterior_BTV[[0, 2]].any()
    assert posterior_BTV[1].sum(-1).tolist() == [1, 1, 1, 0]


def test_single_precision_keeps_long_utterances(utterances):
    """Of 200 frames and scores of 30: logs of probabilities far below the smallest float."""
    x = utterances[0][1].repeat(1, 5, 1)
    num_frames_B, num_labels_B = 5 * NUM_FRAMES, NUM_LABELS
    exact = loss_and_posterior(x.log_softmax(-1), utterances[1][1], num_frames_B, num_labels_B)
    single = loss_and_posterior(x.float().log_softmax(-1), utterances[1][1], num_frames_B, num_labels_B)
    torch.testing.assert_close(single[0].double(), exact[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(single[1].double(), exact[1], rtol=0, atol=2e-3)


def test_products_with_the_hessian_are_differences_of_gradients(utterances):
    x, y = utterances[0][0], utterances[1][0]
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, product = hessian_product(lambda at: ours(at["x"], y).sum(), {"x": x}, {"x": direction})
    nearby = [gradient(ours, x + step * direction, y) for step in (1e-6, -1e-6)]
    torch.testing.assert_close(product["x"], (nearby[0] - nearby[1]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_a_traced_gradient_has_few_operations_a_frame_and_none_that_waits(utterances):
    traced = make_fx(torch.func.vmap(lambda x, y: gradient(ours, x, y)))(*utterances)
    traced.graph.eliminate_dead_code()
    names = [str(node.target) for node in traced.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if "local_scalar" in name or "nonzero" in name or "_ctc_loss" in name]
    assert sum("logaddexp" in name for name in names) == 2 * (T - 1)
    views = ("getitem", "slice", "unsqueeze", "expand", "view", "unbind", "select", "transpose")
    assert sum(not any(view in name for view in views) for name in names) <= 8 * T
