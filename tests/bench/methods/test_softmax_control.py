"""The control is softmax in function, in training too, and another computation."""

import pytest
import torch

from bench.methods.softmax import Softmax
from bench.methods.softmax_control import SoftmaxControl
from tests.bench.methods.naive import MASKS, queries_and_keys, randn
from tests.trials import trained, trial


@pytest.mark.parametrize("mask", MASKS)
def test_weights_and_their_gradients_are_softmaxs(mask):
    q, k = queries_and_keys(MASKS[mask])
    cotangent = randn(9, *Softmax().weights(q, k, MASKS[mask], {}).shape)

    def found(method):
        def loss(q, k):
            p = method.weights(q, k, MASKS[mask], {})
            return (p * cotangent).sum(), p

        return torch.func.grad(loss, argnums=(0, 1), has_aux=True)(q, k)

    torch.testing.assert_close(found(SoftmaxControl()), found(Softmax()), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_large_logits_neither_overflow_nor_vanish(shift):
    q, k = torch.ones(1, 1, 3, 1), shift + randn(0, 1, 1, 5, 1).float()
    mask_QK = torch.ones(3, 5, dtype=torch.bool)
    found, expected = (method.weights(q, k, mask_QK, {}) for method in (SoftmaxControl(), Softmax()))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_rounding_differs():
    """Else the floor would be 0 wherever softmax takes the dense path too."""
    q, k = (x.float() for x in queries_and_keys())
    found, expected = (method.weights(q, k, MASKS["full"], {}) for method in (SoftmaxControl(), Softmax()))
    assert not torch.equal(found, expected)
    assert SoftmaxControl.control_of == "softmax"


def test_a_run_differs_by_rounding_and_not_by_more():
    losses = [trained(trial(lr=0.03, method=method))[0][0].final_loss for method in ("softmax", "softmax_control")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
