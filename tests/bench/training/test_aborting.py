"""A detector aborts lanes at the step at which it alarms of a run that is over, and never touches their neighbours."""

import dataclasses
import functools
import io
import math

import polars
import pytest
import torch
from torch.utils import _pytree as pytree

from analysis.scores.causes.detectors import DETECTORS, detector_records
from bench.outcome import Outcome, Result
from bench.probes import PROBES
from bench.training import living
from bench.training.aborting import Watch
from bench.training.pack import Pack
from bench.training.train import PackRun, train_pack
from tests.trials import choice, trial

NUM_STEPS = 40
LANES = ((0.01, 0), (1.0, 0), (0.01, 1), (3.0, 1))  # (lr, seed)
SIGNS = {"high": 1, "low": -1}
KINDS = ("max_logit", "entropy_slope", "gradient_z")


@functools.cache
def pack() -> Pack:
    probes = tuple(choice(PROBES, name) for name in ("entropy", "max_logit"))
    settings = {"optimizer": "sgd_momentum", "probe_every": 1, "workload_params": {"num_steps": NUM_STEPS}}
    trials = (trial(**settings, lr=lr, seed=seed) for lr, seed in LANES)
    return Pack(trials=tuple(dataclasses.replace(one, probes=probes) for one in trials))


@functools.cache
def whole() -> tuple[list[Result], dict[str, polars.DataFrame]]:
    """The pack without a watch."""
    return train_pack(pack())


@functools.cache
def records(kind: str, lane: int) -> list[tuple[int, float]]:
    """(step, signal) of a lane's records by what its whole run left."""
    one = pack().trials[lane]
    ended = whole()[0][lane].diverged_step
    schema = {"trial_id": polars.String, "lr": polars.Float64, "num_steps": polars.Int64}
    schema |= {"diverged_step": polars.Int64, "limit": polars.Float64}
    runs = polars.DataFrame([(one.id, one.knobs.lr, NUM_STEPS, ended, None)], schema=schema, orient="row")
    lot = whole()[1][one.id].with_columns(trial_id=polars.lit(one.id))
    return list(detector_records([lot], runs)[0].filter(detector=kind).select("step", "signal").iter_rows())


def watch_of(kind: str) -> tuple[Watch, int, int]:
    """A watch whose threshold a lane that fails crosses in the middle of its run, which lane, and when."""
    found = [(step, signal, lane) for lane in (1, 3) for step, signal in records(kind, lane)]
    step, now, lane = next(one for one in found if 3 <= one[0] < NUM_STEPS - 1 and math.isfinite(one[1]))
    before = max(signal for at, signal in records(kind, lane) if at < step)
    one = pack().trials[lane]
    limit = SIGNS[DETECTORS[kind].alarms_when] * (max(before, now - 1.0) + now) / 2
    return Watch(name=kind, thresholds={(one.workload.label, one.optimizer.label): limit}), lane, step


def first_alarm(kind: str, lane: int, watch: Watch) -> int | None:
    """The step at which the whole run's trace passes the threshold, before its last."""
    limit = SIGNS[DETECTORS[kind].alarms_when] * watch.threshold(pack().trials[lane])
    steps = [step for step, signal in records(kind, lane) if signal > limit]
    diverged = whole()[0][lane].diverged_step
    last = NUM_STEPS - 1 if diverged is None else diverged
    return next((step for step in steps if step < last), None)


@pytest.mark.parametrize("kind", KINDS)
def test_lanes_are_aborted_at_the_alarm_of_their_whole_run(kind):
    watch, lane, step = watch_of(kind)
    run = PackRun(pack(), watch=watch)
    run.advance()
    traces = run.traces()
    assert first_alarm(kind, lane, watch) == step
    for at, (result, expected) in enumerate(zip(run.results(), whole()[0], strict=True)):
        alarm = first_alarm(kind, at, watch)
        trace, full = traces[result.trial.id], whole()[1][result.trial.id]
        assert result.aborted_step == alarm
        if alarm is None:
            assert (result.outcome, result.final_loss) == (expected.outcome, expected.final_loss)
            assert trace.equals(full), "neighbours train on, to the bit"
        else:
            assert (result.outcome, result.final_loss, result.diverged_step) == (Outcome.ABORTED, None, None)
            assert result.message.startswith(f"{kind}: ")
            assert trace.equals(full.filter(polars.col("step") <= alarm))


def test_an_aborted_lane_trains_no_more_and_leaves_the_pack(monkeypatch):
    monkeypatch.setattr(living, "TRACE_SECONDS_PER_OPERATION", 0.0)
    monkeypatch.setattr("bench.training.chunk.MAX_STEPS", 2)
    watch, _, _ = watch_of("max_logit")
    run = PackRun(pack(), watch=watch, may_be_fused=False)
    run.advance()
    frozen = sum(one.outcome is not Outcome.COMPLETED for one in run.results())
    assert run.num_frozen == frozen > 0
    assert run.num_computed == len(LANES) - frozen


@pytest.mark.parametrize("may_be_fused", [True, False])
def test_a_run_that_aborts_goes_on_bit_for_bit(may_be_fused):
    watch, _, step = watch_of("max_logit")
    straight, files = PackRun(pack(), watch=watch, may_be_fused=may_be_fused), []
    for stop in (step, step + 1):
        straight.advance(max_steps=stop - straight.step)
        file = io.BytesIO()
        torch.save(straight.state(), file)
        files.append(file.getvalue())
    straight.advance()
    for file in files:
        run = PackRun(pack(), watch=watch, may_be_fused=may_be_fused)
        run.load(torch.load(io.BytesIO(file), weights_only=True))
        run.advance()
        assert all(trace.equals(straight.traces()[name]) for name, trace in run.traces().items())
        pairs = zip(pytree.tree_leaves(run.state()), pytree.tree_leaves(straight.state()), strict=True)
        for own, expected in pairs:
            if isinstance(own, torch.Tensor):
                torch.testing.assert_close(own, expected, rtol=0, atol=0, equal_nan=True)


def test_a_checkpoint_without_a_watch_is_none_of_a_run_with_one():
    plain = PackRun(pack())
    plain.advance(max_steps=2)
    with pytest.raises(ValueError, match="keeps something else"):
        PackRun(pack(), watch=watch_of("max_logit")[0]).load(plain.state())


def test_a_result_that_was_not_aborted_is_written_as_before():
    plain, aborted = whole()[0][0].to_dict(), PackRun(pack(), watch=watch_of("max_logit")[0])
    assert "aborted_step" not in plain
    aborted.advance()
    found = next(one for one in aborted.results() if one.outcome is Outcome.ABORTED)
    assert Result.from_dict(found.to_dict()) == found
