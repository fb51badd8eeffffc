"""A rule prunes the lanes of settings that it takes no further, and never touches their neighbours."""

import functools
import io
import math

import polars
import pytest
import torch
from torch.utils import _pytree as pytree

from analysis.scores.pruning import Peer, Rule
from bench.outcome import Outcome, Result
from bench.training import living
from bench.training.pack import Pack, setting
from bench.training.pruning import Judged, Pruning
from bench.training.train import PackRun, train_pack
from tests.trials import SMALL, trial

NUM_STEPS = 40
LRS, SEEDS = (1e-4, 0.01, 3.0), (0, 1)
RULE = Rule(worse_than="median", first_step=4, num_steps=NUM_STEPS, startup=1)  # rungs 4, 12, 36


@functools.cache
def pack() -> Pack:
    settings = {"optimizer": "sgd_momentum", "probe_every": 1, "workload_params": {"num_steps": NUM_STEPS}}
    return Pack(trials=tuple(trial(**settings, lr=lr, seed=seed) for lr in LRS for seed in SEEDS))


@functools.cache
def whole() -> tuple[list[Result], dict[str, polars.DataFrame]]:
    """The pack with a rule that prunes nothing: what it saw is in the results."""
    run = PackRun(pack(), pruning=pruning(math.inf))
    run.advance()
    return run.results(), run.traces()


def pruning(*losses: float) -> Pruning:
    """Settings must keep below a peer that has these losses at the rungs, or below them all with one number."""
    at = dict(zip(RULE.rungs, losses * (len(RULE.rungs) if len(losses) == 1 else 1), strict=True))
    peer = Peer(
        number=0, seen={rung: dict.fromkeys(SEEDS, loss) for rung, loss in at.items()}, final=dict.fromkeys(SEEDS, 0.0)
    )
    groups: dict[str, dict[int, str]] = {}
    for one in pack().trials:
        groups.setdefault(setting(one), {})[one.seed] = one.id
    return Pruning(
        settings=tuple(
            Judged(number=1 + place, ids=ids, rule=RULE, peers=(peer,)) for place, ids in enumerate(groups.values())
        )
    )


def seen(rung: int) -> list[float]:
    """The mean loss of each setting at a rung."""
    losses = [result.rung_losses[rung] for result in whole()[0]]
    return [sum(losses[2 * place : 2 * place + 2]) / 2 for place in range(len(LRS))]


def between() -> Pruning:
    """Prunes the worst setting after 4 steps and the next after 12."""
    least, middle, worst = sorted(seen(4))
    assert least < middle < worst
    later = sorted(min(pair) for pair in zip(seen(4), seen(12), strict=True))
    return pruning((middle + worst) / 2, (later[0] + later[1]) / 2, math.inf)


def test_a_rule_alone_changes_nothing():
    plain, traces = train_pack(pack())
    assert [one.final_loss for one in whole()[0]] == [one.final_loss for one in plain]
    assert all(traces[name].equals(whole()[1][name]) for name in traces)
    assert "rung_losses" not in plain[0].to_dict()
    assert Result.from_dict(whole()[0][0].to_dict()) == whole()[0][0]


def test_settings_are_pruned_at_their_rungs_and_their_neighbours_train_on_to_the_bit():
    run = PackRun(pack(), pruning=between())
    run.advance()
    traces = run.traces()
    ends = [result.pruned_step for result in run.results()]
    assert sorted({end for end in ends if end is not None}) == [3, 11]
    assert ends[::2] == ends[1::2], "seeds of a setting end together"
    for result, expected in zip(run.results(), whole()[0], strict=True):
        full = whole()[1][result.trial.id]
        if result.pruned_step is None:
            assert (result.outcome, result.final_loss) == (expected.outcome, expected.final_loss)
            assert traces[result.trial.id].equals(full)
            assert result.rung_losses == expected.rung_losses
        else:
            assert (result.outcome, result.final_loss) == (Outcome.PRUNED, None)
            assert result.message == f"pruned by median after {result.pruned_step + 1} steps"
            assert traces[result.trial.id].equals(full.filter(polars.col("step") <= result.pruned_step))
            kept = {rung: loss for rung, loss in expected.rung_losses.items() if rung <= result.pruned_step + 1}
            assert result.rung_losses == kept
            assert Result.from_dict(result.to_dict()) == result


def test_what_a_rule_sees_is_a_mean_of_the_last_losses_at_most_the_loss_at_init():
    for result in whole()[0]:
        assert result.initial_loss is not None
        losses = whole()[1][result.trial.id].filter(quantity="loss").sort("step")["value"].to_list()
        for rung, loss in result.rung_losses.items():
            own = losses[rung - min(SMALL["final_loss_steps"], max(rung // 4, 1)) : rung]
            mean = sum(own) / len(own) if len(losses) >= rung and all(map(math.isfinite, own)) else math.inf
            assert loss == pytest.approx(min(mean, result.initial_loss), rel=5.01e-4)


def test_any_part_of_the_pack_is_pruned_the_same_and_half_a_setting_is_not():
    run = PackRun(pack(), pruning=between())
    run.advance()
    ends = {result.trial.id: result.pruned_step for result in run.results()}
    for trials in (pack().trials[4:] + pack().trials[:2], pack().trials[2:4], pack().trials[::-1]):
        part = PackRun(Pack(trials=trials), pruning=between())
        part.advance()
        assert {result.trial.id: result.pruned_step for result in part.results()} == {
            one.id: ends[one.id] for one in trials
        }
    half = PackRun(Pack(trials=pack().trials[::2]), pruning=between())
    half.advance()
    assert all(result.pruned_step is None for result in half.results())


def test_pruned_lanes_leave_the_pack(monkeypatch):
    monkeypatch.setattr(living, "TRACE_SECONDS_PER_OPERATION", 0.0)
    monkeypatch.setattr("bench.training.chunk.MAX_STEPS", 2)
    run = PackRun(pack(), pruning=between(), may_be_fused=False)
    run.advance()
    assert run.num_frozen == 4
    assert run.num_computed == 2


@pytest.mark.parametrize("may_be_fused", [True, False])
def test_a_run_that_prunes_goes_on_bit_for_bit(may_be_fused):
    straight, files = PackRun(pack(), pruning=between(), may_be_fused=may_be_fused), []
    for stop in (3, 5, 12):
        straight.advance(max_steps=stop - straight.step)
        file = io.BytesIO()
        torch.save(straight.state(), file)
        files.append(file.getvalue())
    straight.advance()
    for file in files:
        run = PackRun(pack(), pruning=between(), may_be_fused=may_be_fused)
        run.load(torch.load(io.BytesIO(file), weights_only=True))
        run.advance()
        assert [one.pruned_step for one in run.results()] == [one.pruned_step for one in straight.results()]
        pairs = zip(pytree.tree_leaves(run.state()), pytree.tree_leaves(straight.state()), strict=True)
        for own, expected in pairs:
            if isinstance(own, torch.Tensor):
                torch.testing.assert_close(own, expected, rtol=0, atol=0, equal_nan=True)
