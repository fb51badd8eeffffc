"""Schedule-free AdamW evaluates the average of its iterates, as the reference does after eval()."""

import pytest
import pytorch_optimizer
import torch

from bench.optimizers.schedule_free import ScheduleFreeAdamW

NUM_STEPS = 12


def draw(seed: int) -> torch.Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def knobs(lr: float, weight_decay: float = 0.1) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(x, dtype=torch.float64) for name, x in (("lr", lr), ("weight_decay", weight_decay))}


@pytest.mark.parametrize("beta1", [0.9, 0.5])
def test_evaluated_weights_equal_those_of_the_references_eval_mode(beta1):
    """At every step, the reference switched to eval() and back."""
    ours, p = ScheduleFreeAdamW(beta1=beta1), draw(0)
    state = ours.init("p", p)
    theirs = torch.nn.Parameter(p.clone())
    reference = pytorch_optimizer.ScheduleFreeAdamW([theirs], betas=(beta1, 0.999), weight_decay=0.1)
    assert torch.equal(ours.evaluated("p", p, state), p)
    for step in range(NUM_STEPS):
        lr = 0.1 * min(1, (step + 1) / 4) * (1 - step / 20)
        reference.param_groups[0]["lr"] = lr
        theirs.grad = draw(step + 1)
        reference.step()
        p, state = ours.update("p", p, draw(step + 1), state, knobs(lr), torch.tensor(step))
        reference.eval()
        torch.testing.assert_close(ours.evaluated("p", p, state), theirs.detach(), rtol=1e-11, atol=1e-12)
        assert not torch.allclose(p, theirs.detach(), rtol=1e-3) or step == 0
        reference.train()


def test_evaluated_weights_are_the_mean_of_the_iterates_at_a_constant_rate():
    optimizer, p = ScheduleFreeAdamW(), draw(0)
    state, iterates = optimizer.init("p", p), []
    for step in range(NUM_STEPS):
        p, state = optimizer.update("p", p, draw(step + 1), state, knobs(0.1), torch.tensor(step))
        iterates.append(state["z"])
        mean = torch.stack(iterates).mean(0)
        torch.testing.assert_close(optimizer.evaluated("p", p, state), mean, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(p, 0.9 * mean + 0.1 * state["z"], rtol=1e-11, atol=1e-12)


def test_steps_at_rate_0_change_nothing():
    optimizer, p = ScheduleFreeAdamW(), draw(0)
    state = optimizer.init("p", p)
    moved, state = optimizer.update("p", p, draw(1), state, knobs(0.0), torch.tensor(0))
    assert torch.equal(moved, p)
    assert torch.equal(optimizer.evaluated("p", moved, state), p)
