"""How the lanes of a pack stand while it trains."""

import pytest

from bench.training.pack import make_packs
from bench.training.train import PackRun
from tests.trials import trial


def test_a_standing_is_the_last_loss_and_the_least_mean_entropy_of_the_trace():
    trials = [trial(lr=lr, workload_params={"num_steps": 12}, probe_every=3) for lr in (0.01, 0.1)]
    (pack,) = make_packs(trials, max_lanes=2)
    run = PackRun(pack, device="cpu")
    run.advance(max_steps=7)
    halfway = run.standing
    run.advance()
    for one in trials:
        trace = run.traces()[one.id]
        loss = trace.filter(quantity="loss").filter(step=11)["value"].item()
        entropy = trace.filter(quantity="entropy_mean")["value"].min()
        assert run.standing[one.id] == pytest.approx((loss, entropy), rel=1e-6)
        early = trace.filter(quantity="entropy_mean").filter(trace.filter(quantity="entropy_mean")["step"] < 7)
        assert halfway[one.id][1] == pytest.approx(early["value"].min(), rel=1e-6)
