"""Cross entropy, accuracy and calibration equal PyTorch's and an independent implementation in numpy.

Shapes: E examples, V classes.
"""

import numpy
import pytest
import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy

from bench.models.classify import NUM_BINS, calibration_error, cross_entropy, measures

NUM_EXAMPLES, NUM_CLASSES = 600, 7


def predictions(seed: int = 0, scale: float = 3.0, shape: tuple[int, ...] = (NUM_EXAMPLES,)):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn((*shape, NUM_CLASSES), generator=generator, dtype=torch.float64)
    return logits, torch.randint(NUM_CLASSES, shape, generator=generator)


def numpy_calibration_error(logits_EV: torch.Tensor, targets_E: torch.Tensor) -> float:
    """Guo et al. 2017, Eq. 3, by sorting examples into bins (k / K, (k + 1) / K]."""
    z_EV = logits_EV.numpy()
    p_EV = numpy.exp(z_EV - z_EV.max(axis=1, keepdims=True))
    p_EV /= p_EV.sum(axis=1, keepdims=True)
    confidence_E, correct_E = p_EV.max(axis=1), p_EV.argmax(axis=1) == targets_E.numpy()
    bin_E = numpy.digitize(confidence_E, numpy.linspace(0, 1, NUM_BINS + 1)[1:-1], right=True)
    weights = numpy.bincount(bin_E, minlength=NUM_BINS) / len(bin_E)
    gaps = [
        abs(correct_E[bin_E == k].mean() - confidence_E[bin_E == k].mean()) if weights[k] else 0.0
        for k in range(NUM_BINS)
    ]
    return float((weights * gaps).sum())


@pytest.mark.parametrize("shape", [(NUM_EXAMPLES,), (20, 30)])
def test_loss_is_pytorchs_and_the_z_loss_the_mean_square_of_the_log_of_the_sum(shape):
    logits, targets = predictions(shape=shape)
    loss, log_total_squared = cross_entropy(logits, targets)
    expected = torch_cross_entropy(logits.flatten(0, -2), targets.flatten())
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(log_total_squared, logits.exp().sum(-1).log().square().mean(), rtol=1e-13, atol=0)
    torch.testing.assert_close(measures(logits, targets)["loss"], expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 30.0])
def test_accuracy_and_calibration_error_equal_numpys(scale):
    logits, targets = predictions(scale=scale)
    found = measures(logits, targets)
    assert found["accuracy"].item() == numpy.mean(logits.numpy().argmax(axis=1) == targets.numpy())
    expected = numpy_calibration_error(logits, targets)
    assert calibration_error(found["calibration_gap_K"]).item() == pytest.approx(expected, rel=1e-12)


def test_means_over_batches_are_those_of_the_whole():
    """Gaps average; their absolute values do not."""
    logits, targets = predictions(shape=(6, 100))
    batches = [measures(*batch) for batch in zip(logits, targets, strict=True)]
    for name, of_whole in measures(logits, targets).items():
        mean = torch.stack([batch[name] for batch in batches]).mean(dim=0)
        torch.testing.assert_close(mean, of_whole, rtol=1e-12, atol=1e-15)


def test_calibration_error_reaches_its_bounds():
    """Sure and right: 0. Sure and wrong: 1. Sure, and right in 3 of 4 cases: 1/4."""
    sure = torch.tensor([[100.0, 0.0]]).expand(4, 2)
    for targets, expected in (([0, 0, 0, 0], 0.0), ([1, 1, 1, 1], 1.0), ([0, 0, 1, 0], 0.25)):
        gap_K = measures(sure, torch.tensor(targets))["calibration_gap_K"]
        assert calibration_error(gap_K).item() == pytest.approx(expected, abs=1e-6)


def test_gaps_of_different_bins_do_not_cancel():
    """A prediction at 0.9 that is right and one at 0.99 that is wrong: (0.1 + 0.99) / 2."""
    logits = torch.tensor([[0.9, 0.1], [0.99, 0.01]], dtype=torch.float64).log()
    gap_K = measures(logits, torch.tensor([0, 1]))["calibration_gap_K"]
    assert calibration_error(gap_K).item() == pytest.approx((0.1 + 0.99) / 2, rel=1e-12)
    assert gap_K.nonzero().flatten().tolist() == [13, 14]


def test_large_logits_stay_finite():
    logits = torch.tensor([[1e4, 0.0], [-1e4, 1e4]])
    loss, log_total_squared = cross_entropy(logits, torch.tensor([0, 0]))
    assert loss.item() == pytest.approx(1e4)
    assert log_total_squared.item() == pytest.approx(1e8)
    assert all(value.isfinite().all() for value in measures(logits, torch.tensor([0, 0])).values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_measured_in_float32(dtype):
    logits, targets = predictions()
    logits = logits.to(dtype)
    for found, expected in zip(cross_entropy(logits, targets), cross_entropy(logits.float(), targets), strict=True):
        assert found.dtype == torch.float32
        assert found == expected
    for name, value in measures(logits, targets).items():
        assert torch.equal(value, measures(logits.float(), targets)[name])


def test_measures_under_vmap_equal_a_loop():
    logits, targets = predictions(shape=(3, 50))
    together = torch.func.vmap(measures)(logits, targets)
    for index in range(3):
        for name, value in measures(logits[index], targets[index]).items():
            torch.testing.assert_close(together[name][index], value, rtol=1e-13, atol=1e-16)
