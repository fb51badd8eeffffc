"""Training on fast paths equals training on the dense reference: losses, gradients and what is observed."""

import pytest
import torch

from bench.methods.fast.fused import CHUNK_TOKENS
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Trial
from tests.trials import LEAN, language_trial

LONG = 2 * CHUNK_TOKENS + 13  # above every threshold; no multiple of a chunk


def histories(*trials: Trial, dtype: str) -> list[dict[str, torch.Tensor]]:
    """All that training records: by the dense reference, and by the automatic path."""
    seen = []
    for is_reference in (True, False):
        run = PackRun(Pack(trials=trials), dtype=dtype, is_reference=is_reference)
        run.advance()
        seen.append(run.state()["history"])
    return seen


def long_trial(method: str, seed: int = 0, **settings) -> Trial:
    size = {"context": LONG, "num_steps": 3, "batch_size": 2, "eval_batches": 1}
    return language_trial(method=method, seed=seed, workload_params=LEAN | size | settings)


@pytest.mark.parametrize(
    "name",
    [
        "softmax",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("window_softmax", "qk_layernorm_free", "relu_kernel")
        ),
    ],
)
@pytest.mark.usefixtures("no_vmap_fallback")
def test_a_language_model_trains_as_with_the_reference(name):
    expected, actual = histories(long_trial(name, seed=0), long_trial(name, seed=1), dtype="float64")
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(("name", "checkpointing"), [("softmax", False), ("relu_kernel", True)])
def test_a_single_lane_trains_as_with_the_reference(name, checkpointing):
    expected, actual = histories(long_trial(name, checkpointing=checkpointing), dtype="float64")
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", ["softmax", pytest.param("relu_kernel", marks=pytest.mark.slow)])
def test_lanes_in_mixed_precision_train_as_with_the_reference(name):
    trials = [long_trial(name, seed, precision="bfloat16") for seed in range(2)]
    expected, actual = (history["loss"] for history in histories(*trials, dtype="float32"))
    torch.testing.assert_close(actual, expected, rtol=1e-2, atol=0)
