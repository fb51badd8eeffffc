"""From when on RAdam adapts."""

import pytest
import torch

from bench.optimizers.radam import RAdam

KNOBS = {name: torch.tensor(value, dtype=torch.float64) for name, value in (("lr", 0.1), ("weight_decay", 0.0))}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_radam_is_a_mean_of_gradients_for_five_steps_and_free_of_their_scale_after(scale):
    """At beta2 0.999 the average of squares is longer than 5 from the sixth step on."""
    optimizer, p = RAdam(eps=1e-300), torch.zeros((), dtype=torch.float64)
    state, moves = optimizer.init("w", p), []
    for step in range(8):
        after, state = optimizer.update("w", p, torch.full_like(p, scale), state, KNOBS, torch.tensor(step))
        moves.append((p - after).item())
        p = after
    assert moves[:5] == pytest.approx([0.1 * scale] * 5, rel=1e-12)
    assert all(0 < move < 0.02 for move in moves[5:])
    assert moves[5] < moves[6] < moves[7]


def test_radam_with_a_short_second_moment_never_adapts():
    """beta2 0.6: its average is at most 4 steps long."""
    optimizer, p = RAdam(beta2=0.6), torch.zeros((), dtype=torch.float64)
    state = optimizer.init("w", p)
    for step in range(50):
        after, state = optimizer.update("w", p, torch.full_like(p, 7.0), state, KNOBS, torch.tensor(step))
        assert (p - after).item() == pytest.approx(0.7, rel=1e-12)
        p = after
