"""Dropout keeps the mean, and its masks depend on seed, step and stream alone."""

import pytest
import torch

from bench.models.dropout import Dropout


def dropped(rate: float = 0.25, seed: int = 0, step: int = 0, stream: str = "a", x=None) -> torch.Tensor:
    x = torch.ones(40_000) if x is None else x
    return Dropout(rate=rate, seed=torch.tensor(seed), step=torch.tensor(step))(stream, x)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.9])
def test_dropout_keeps_the_mean(rate):
    """Elements are 0 or 1 / (1 - rate); the share that is kept within 4 standard errors of a binomial."""
    y = dropped(rate)
    assert y.unique().tolist() == [0.0, pytest.approx(1 / (1 - rate), rel=1e-6)]
    standard_error = (rate * (1 - rate) / len(y)) ** 0.5
    assert (y > 0).float().mean().item() == pytest.approx(1 - rate, abs=4 * standard_error)
    assert y.mean().item() == pytest.approx(1, abs=4 * standard_error / (1 - rate))


def test_the_mask_depends_on_seed_step_and_stream_alone():
    x = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    kept = dropped(x=x) != 0
    assert torch.equal(dropped(x=10 * x) != 0, kept)
    assert torch.equal((dropped(x=x.double()) != 0).flatten(), dropped(x=torch.ones(400)) != 0)
    for other in ({"seed": 1}, {"step": 1}, {"stream": "b"}):
        assert not torch.equal(dropped(x=x, **other) != 0, kept)


@pytest.mark.parametrize("settings", [{"rate": 0.0, "seed": torch.tensor(0)}, {"rate": 0.5}])
def test_dropout_of_rate_0_or_without_a_seed_does_nothing(settings):
    x = torch.ones(5)
    assert Dropout(step=torch.tensor(0), **settings)("a", x) is x


def test_dropout_under_vmap_equals_a_loop_and_keeps_the_dtype():
    seeds, x = torch.tensor([0, 2**35]), torch.ones(2, 3, 5, dtype=torch.bfloat16)

    def drop(seed, x):
        return Dropout(rate=0.5, seed=seed, step=torch.tensor(3))("a", x)

    together = torch.func.vmap(drop)(seeds, x)
    assert together.dtype == torch.bfloat16
    assert torch.equal(together, torch.stack([drop(seed, one) for seed, one in zip(seeds, x, strict=True)]))
