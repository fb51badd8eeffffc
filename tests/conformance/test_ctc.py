"""CTC by the kernels of ctc_triton.py is torch's and the loop's: on CUDA, and in Triton's interpreter without.

Shapes: L lanes, B utterances, T frames, V symbols, S labels.
"""

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional

from bench.derivatives import hessian_product, with_gradient
from bench.models import ctc_triton
from bench.models.ctc import ctc_loss
from bench.training.compile import trace
from bench.training.pack import Pack
from bench.training.train import PackRun
from tests.trials import trial

HAS_CUDA = torch.cuda.is_available()
DEVICE = "cuda" if HAS_CUDA else "cpu"
INTERPRETER = "TRITON_INTERPRET"  # Triton asks for it where kernels are defined, and again where they run
with pytest.MonkeyPatch.context() as _environment:
    if not HAS_CUDA:
        _environment.setenv(INTERPRETER, "1")
    pytest.importorskip("triton")
    import bench.models.ctc_kernels  # noqa: F401

pytestmark = [
    pytest.mark.gpu if HAS_CUDA else pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # NumPy adds infinities
    pytest.mark.filterwarnings("default"),
]
ON_GPU = (pytest.mark.gpu, pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device"))
NUM_FRAMES = torch.tensor([24, 19, 13, 24, 15, 1])  # the fifth has not enough
NUM_LABELS = torch.tensor([9, 7, 4, 1, 14, 0])
# Utterances, frames, symbols, labels: a program's places all in use, and one more; tiles of symbols; one label.
SIZES = [(2, 8, 5, 3), (2, 8, 5, 4), (1, 4, 70, 255), (2, 5, 130, 60), (2, 3, 2, 1)]


@pytest.fixture(scope="module", autouse=True)
def kernels() -> Iterator[None]:
    """They run wherever a loss is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if not HAS_CUDA:
            patch.setenv(INTERPRETER, "1")
            patch.setattr(ctc_triton, "takes", lambda log_p, labels: True)
        yield


def utterances(*lanes: int, sizes: tuple[int, int, int, int] = (6, 24, 12, 14)) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (..., B, T, V) of all sizes in float64, and labels (..., B, S) with repeats."""
    num, num_frames, num_symbols, num_labels = sizes
    generator = torch.Generator().manual_seed(0)
    scores = 8 * torch.randn(*lanes, num, num_frames, num_symbols, generator=generator, dtype=torch.float64)
    labels = torch.randint(1, num_symbols, (*lanes, num, num_labels), generator=generator)
    if num_labels > 3:
        labels[..., 3] = labels[..., 2]
    return scores.to(DEVICE), labels.to(DEVICE)


def lengths(sizes: tuple[int, ...] | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Ragged: frames and labels of each utterance."""
    if sizes is None:
        return NUM_FRAMES.to(DEVICE), NUM_LABELS.to(DEVICE)
    num, num_frames, _, num_labels = sizes
    ones = torch.ones(num, dtype=torch.int64, device=DEVICE)
    fits = min(num_labels, num_frames // 2)
    return num_frames * ones, (ones * num_labels).index_fill(0, torch.zeros(1, dtype=torch.int64, device=DEVICE), fits)


def loss_and_gradient(scores_BTV, labels_BS, lengths, *, is_reference=False):
    def summed(at):
        loss_B = ctc_loss(at["x"].log_softmax(-1), labels_BS, *lengths, is_reference=is_reference)
        return loss_B.sum(), loss_B

    grads, loss_B = with_gradient(summed, {"x": scores_BTV})
    return loss_B, grads["x"]


def of_torch(scores_BTV, labels_BS, lengths):
    """On the CPU in float64."""
    leaf = scores_BTV.cpu().double().requires_grad_()
    inputs = leaf.log_softmax(-1).transpose(0, 1), labels_BS.cpu(), *(x.cpu() for x in lengths)
    loss_B = functional.ctc_loss(*inputs, reduction="none", zero_infinity=False)
    is_finite_B = loss_B.isfinite()
    grad_BTV = torch.autograd.grad(loss_B[is_finite_B].sum(), leaf)[0]
    return loss_B.detach(), torch.where(is_finite_B[:, None, None], grad_BTV, 0.0)  # torch's are NaN


def assert_torchs(found, expected, *, rtol, atol):
    """Value and gradient of feasible utterances, and inf and 0 of the others."""
    loss_B, grad_BTV = (x.cpu().double() for x in found)
    torch.testing.assert_close(loss_B, expected[0], rtol=rtol, atol=atol)
    torch.testing.assert_close(grad_BTV, expected[1], rtol=0, atol=atol)


def test_value_and_gradient_of_every_lane_are_torchs():
    scores_LBTV, labels_LBS = utterances(2)
    found = torch.func.vmap(lambda x, y: loss_and_gradient(x, y, lengths()))(scores_LBTV, labels_LBS)
    for lane, (x, y) in enumerate(zip(scores_LBTV, labels_LBS, strict=True)):
        expected = of_torch(x, y, lengths())
        assert expected[0].isinf().tolist() == [False, False, False, False, True, False]
        assert_torchs([each[lane] for each in found], expected, rtol=1e-12, atol=1e-12)


def test_lanes_may_share_utterances_and_labels():
    scores_LBTV, labels_LBS = utterances(2)
    for dims in ((0, None), (None, 0)):
        x, y = scores_LBTV if dims[0] == 0 else scores_LBTV[0], labels_LBS if dims[1] == 0 else labels_LBS[0]
        found = torch.func.vmap(lambda x, y: loss_and_gradient(x, y, lengths()), dims)(x, y)
        alone = loss_and_gradient(
            scores_LBTV[-1] if dims[0] == 0 else x, labels_LBS[-1] if dims[1] == 0 else y, lengths()
        )
        for each, own in zip(found, alone, strict=True):
            torch.testing.assert_close(each[-1], own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
def test_every_size_is_torchs(sizes):
    x, y = utterances(sizes=sizes)
    assert_torchs(loss_and_gradient(x, y, lengths(sizes)), of_torch(x, y, lengths(sizes)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", [(3, 60, 29, 20), pytest.param((8, 1500, 29, 200), marks=ON_GPU)])
def test_single_precision_is_no_further_from_the_exact_than_the_loop(sizes):
    """Sums of as many logs as there are frames: of their rounding, which walks at random, twice the expected deviation.

    Gradients: twice the loop's deviation, or that of its rounding.
    """
    x, y = utterances(sizes=sizes)
    exact = of_torch(x, y, lengths(sizes))
    found, loop = (
        [each.cpu().double() for each in loss_and_gradient(x.float(), y, lengths(sizes), is_reference=is_reference)]
        for is_reference in (False, True)
    )
    num_frames = sizes[1]
    torch.testing.assert_close(found[0], exact[0], rtol=2 * num_frames**0.5 * 2**-24, atol=0)
    far, allowed = ((each[1] - exact[1]).abs().max().item() for each in (found, loop))
    assert far <= max(2 * allowed, 1e-5)


def test_what_lies_beyond_the_lengths_is_not_read():
    x, y = utterances()
    num_frames_B, num_labels_B = lengths()
    is_inside_BT = torch.arange(x.shape[1], device=DEVICE) < num_frames_B[:, None]
    other_x = torch.where(is_inside_BT[..., None], x, torch.nan)
    other_y = torch.where(torch.arange(y.shape[1], device=DEVICE) < num_labels_B[:, None], y, 1)
    found, other = (
        ctc_triton.loss_and_posterior(a, b, num_frames_B, num_labels_B) for a, b in ((x, y), (other_x, other_y))
    )
    assert all(torch.equal(a, b) for a, b in zip(found, other, strict=True))
    assert not found[1][~is_inside_BT].any()


def test_what_is_not_a_number_is_seen():
    x, y = utterances()
    x[1, 5, 0] = torch.nan
    losses = [ctc_loss(x, y, *lengths(), is_reference=each) for each in (False, True)]
    assert losses[0].isfinite().tolist() == losses[1].isfinite().tolist() == [True, False, True, True, False, True]


def test_second_derivatives_are_the_loops():
    x, y = utterances()
    feasible = [0, 1, 2, 3, 5]
    x, y, own = x[feasible], y[feasible], [each[feasible] for each in lengths()]
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(DEVICE)

    def product(is_reference):
        def summed(at):
            return ctc_loss(at["x"].log_softmax(-1), y, *own, is_reference=is_reference).sum()

        return hessian_product(summed, {"x": x}, {"x": direction})[1]["x"]

    torch.testing.assert_close(product(False), product(True), rtol=0, atol=1e-11)


@pytest.mark.parametrize("num_lanes", [1, 2])
def test_a_step_has_the_operation_once_and_trains_as_by_the_loop(num_lanes, monkeypatch):
    settings = {"num_words": 1, "batch_size": 2, "model": "ctc_100k", "num_steps": 4, "eval_utterances": 2}
    trials = tuple(
        trial(workload="speech_recognition", workload_params=settings, seed=seed) for seed in range(num_lanes)
    )
    losses, names = [], []
    for has_kernels in (True, False):
        if not has_kernels:
            monkeypatch.setattr(ctc_triton, "takes", lambda log_p, labels: False)
        run = PackRun(Pack(trials=trials), device=DEVICE)
        traced, _ = trace(run._stacked.train, (run._lanes, run._chunk, run._knobs, run._counters["step"]))
        names.append([str(node.target) for node in traced.graph.nodes if node.op == "call_function"])
        run.advance(max_steps=3)
        losses.append(run.state()["history"]["loss"][:3])
    assert [each.count("bench.ctc.default") for each in names] == [1, 0]
    assert [any("logaddexp" in name for name in each) for each in names] == [False, True]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")
def test_the_same_inputs_give_the_same_bits():
    """Symbols that several states share are summed in one order."""
    x, y = (each.to(DEVICE) for each in utterances(4, sizes=(16, 400, 29, 100)))
    log_p, labels = x.float().log_softmax(-1).flatten(0, 1), y.flatten(0, 1)
    num_frames, num_labels = (torch.full((64,), each, device=DEVICE) for each in (400, 100))
    first, *others = (ctc_triton.loss_and_posterior(log_p, labels, num_frames, num_labels) for _ in range(5))
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")
def test_the_kernels_take_what_a_program_can_hold():
    labels = torch.ones(1, ctc_triton.MAX_PLACES, dtype=torch.int64, device=DEVICE)
    log_p = torch.zeros(1, 2, 3, device=DEVICE)
    kinds = (log_p, labels[:, 1:]), (log_p, labels), (log_p.half(), labels[:, 1:]), (log_p.cpu(), labels[:, 1:])
    assert [ctc_triton.takes(*each) for each in kinds] == [True, False, False, False]
