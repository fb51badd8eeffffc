"""QK-Clip holds each head's largest logit at tau, in both models; heads below it are left alone."""

import dataclasses

import pytest
import torch

from bench.methods.qk_clip import QKClip
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.training.lane import LaneProgram
from bench.trial import Trial
from tests.bench.methods.naive import FULL, queries_and_keys, randn
from tests.trials import language_trial, trial

STEP = torch.tensor(0)


def test_heads_shrink_by_the_root_of_their_excess():
    query_CHD, key_CHD = randn(0, 5, 4, 2), randn(1, 5, 4, 2)
    largest_H = torch.tensor([-300.0, 99.0, 100.0, 400.0])
    factor_H1 = torch.tensor([1, 1, 1, 0.5], dtype=torch.float64)[:, None]
    query, key = QKClip().limit_projections(query_CHD, key_CHD, largest_H, STEP)
    torch.testing.assert_close((query, key), (query_CHD * factor_H1, key_CHD * factor_H1), rtol=1e-7, atol=0)
    unclipped = QKClip().limit_projections(query_CHD, key_CHD, torch.full((4,), 100.0), STEP)
    assert all(torch.equal(x, y) for x, y in zip(unclipped, (query_CHD, key_CHD), strict=True))


def test_attention_is_softmaxs():
    q, k = queries_and_keys()
    assert torch.equal(QKClip().weights(q, k, FULL, {}), Softmax().weights(q, k, FULL, {}))


def largest_logits(program: LaneProgram, lane: dict, batch: dict) -> torch.Tensor:
    """(layers, heads)."""
    counters = {name: torch.tensor(0) for name in ("step", "seed", "draw")}
    buffers = lane["buffers"] | counters
    seen = program.workload.loss(program.method, lane["params"], buffers, batch, Mode(max_logits=True))
    return torch.stack(seen.watched)


def around_a_still_step(one: Trial) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest logits on a batch before and after a step on it with learning rate 0."""
    program = LaneProgram.of(one)
    knobs = {name: torch.tensor(value, dtype=torch.float64) for name, value in dataclasses.asdict(one.knobs).items()}
    lane = program.start(torch.tensor(0), knobs["init_scale"])
    batches = program.workload.batches(torch.tensor([0]), torch.tensor([0]))
    batch = {n: t[0, 0].double() if t.is_floating_point() else t[0, 0] for n, t in batches.items()}
    after, _, _ = program.train(lane, batch, knobs, torch.tensor(0))
    return largest_logits(program, lane, batch), largest_logits(program, after, batch)


@pytest.mark.parametrize("init_scale", [1.0, 50.0])
def test_in_context_regression_keeps_to_tau(init_scale):
    before, after = around_a_still_step(
        trial(method="qk_clip", method_params={"tau": 2.0}, lr=0, init_scale=init_scale)
    )
    assert (before > 2).all() == (init_scale == 50)
    torch.testing.assert_close(after, before.clamp_max(2), rtol=1e-6, atol=0)


def test_language_models_keep_to_tau_head_by_head():
    def of(tau: float) -> Trial:
        size = {"model": "wortsman_2m", "width": 16, "num_heads": 4}  # without biases
        return language_trial(method="qk_clip", method_params={"tau": tau}, lr=0, workload_params=size)

    before, _ = around_a_still_step(of(1e9))
    tau = before.median().item()  # some heads pass it, some do not
    before, after = around_a_still_step(of(tau))
    assert 0 < (before > tau).sum() < before.numel()
    torch.testing.assert_close(after, before.clamp_max(tau), rtol=1e-6, atol=0)
