"""Training by the kernels of tiny.py equals training by the dense reference, where their own tests run them."""

import pytest
import torch

from bench.training.compile import trace
from bench.training.inductor import Compiling
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Trial
from tests.conformance.test_tiny_attention import HAS_CUDA, INTERPRETER, ON_PROCESSOR, force, operations
from tests.trials import LEAN, language_trial, trial

# NumPy, which interprets, warns of rows that are 0/0; Inductor warns on its own account.
pytestmark = pytest.mark.filterwarnings("default", "ignore::RuntimeWarning")
PAPER_METHODS = (
    "softmax",
    "window_softmax",
    "relu_kernel",
    "elu_kernel",
    "sigmoid_kernel",
    "qk_layernorm_weight_clipped",
    "sigma_reparam_qk",
)


@pytest.fixture(params=ON_PROCESSOR)
def processor(request, monkeypatch) -> str:
    """Where training runs by the kernels."""
    monkeypatch.delenv(INTERPRETER, raising=False)
    if request.param == "interpreter":
        monkeypatch.setenv(INTERPRETER, "1")
        force(monkeypatch)
    return "cpu"


def losses(
    trials: list[Trial], device: str, *, num_steps: int, is_reference: bool, compiling: Compiling = "never"
) -> tuple[torch.Tensor, list[str]]:
    """Of all steps and lanes, (steps, lanes), and the operations of a step."""
    run = PackRun(Pack(trials=tuple(trials)), device=device, is_reference=is_reference, compiling=compiling)
    run.advance(max_steps=num_steps)
    step = (run._lanes, run._chunk, run._knobs, run._counters["step"])
    traced, _ = trace(run._stacked.train, step)
    assert run.uncompiled == ()
    return run.state()["history"]["loss"][:num_steps].double(), operations(traced)


def assert_trained_alike(
    actual: torch.Tensor, own: list[str], expected: torch.Tensor, without: list[str], *, num_layers: int, rtol: float
) -> None:
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=0)
    assert not any("tiny" in name for name in without)
    assert own.count("bench.tiny_attention.default") == num_layers
    assert own.count("bench.tiny_attention_backward.default") == num_layers


@pytest.mark.parametrize(
    ("method", "num_lanes"), [("softmax", 1), ("window_softmax", 2), ("relu_kernel", 2), ("qk_layernorm_free", 2)]
)
def test_training_on_a_processor_equals_the_reference(method, num_lanes, processor):
    trials = [trial(method=method, seed=seed, lr=0.03) for seed in range(num_lanes)]
    expected, without = losses(trials, processor, num_steps=4, is_reference=True)
    actual, own = losses(trials, processor, num_steps=4, is_reference=False)
    assert_trained_alike(actual, own, expected, without, num_layers=1, rtol=1e-4)


def test_training_of_a_language_model_equals_the_reference(processor):
    """Two causal heads; what is checkpointed is computed once more."""
    small = {"checkpointing": True, "batch_size": 2, "num_steps": 3, "final_loss_steps": 1, "eval_batches": 1}
    trials = [language_trial(workload_params=LEAN | small)]
    (expected, _), (actual, own) = (
        losses(trials, processor, num_steps=3, is_reference=value) for value in (True, False)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=0)
    assert own.count("bench.tiny_attention.default") == 2


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")
@pytest.mark.parametrize(
    ("method", "num_lanes", "is_compiled"),
    [
        *((method, 6, False) for method in PAPER_METHODS),
        ("softmax", 1, False),
        ("softmax", 6, True),
        ("relu_kernel", 6, True),
        ("softmax", 1, True),
    ],
)
def test_training_on_cuda_equals_the_reference(method, num_lanes, is_compiled):
    """The reference captured; the kernels captured, or called by what Inductor compiled."""
    size = {"batch_size": 32, "depth": 2, "num_pairs": 20, "dimension": 3, "num_steps": 30}
    trials = [trial(method=method, seed=seed, lr=0.03, workload_params=size) for seed in range(num_lanes)]
    expected, without = losses(trials, "cuda", num_steps=10, is_reference=True)
    compiling: Compiling = "always" if is_compiled else "never"
    actual, own = losses(trials, "cuda", num_steps=10, is_reference=False, compiling=compiling)
    assert_trained_alike(actual, own, expected, without, num_layers=2, rtol=2e-3)
