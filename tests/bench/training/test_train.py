"""A pack from its start to its results: what lanes begin with, how they end, what is measured on the way."""

import dataclasses
import math

import numpy
import polars as pl
import pytest
import torch
from torch.utils import _pytree as pytree

from bench.outcome import Outcome
from bench.trace import WHOLE_MODEL
from bench.training.lane import LaneProgram
from bench.training.pack import Pack
from bench.training.train import PackRun, train_pack
from tests.trials import lane_of, language_trial, trained, trial

A, B, C = trial(lr=0.1), trial(lr=0.4, seed=1), trial(lr=0.02, init_scale=3)
BAD = trial(lr=1e6, seed=1)
FINE = trial(lr=0.05, probe_every=1)


def values(trace: pl.DataFrame, quantity: str, layer: int = WHOLE_MODEL) -> list[float]:
    return trace.filter(quantity=quantity, layer=layer).sort("step")["value"].to_list()


def kept(run: PackRun, *names: str):
    state = run.state()["lanes"]
    return pytree.tree_leaves([state[name] for name in names])


def test_a_diverged_lane_is_recorded_at_its_first_non_finite_step():
    bad = trial(lr=1e6, seed=1, probe_every=1)
    result, trace = lane_of(bad, bad, FINE)
    losses, norms = values(trace, "loss"), values(trace, "grad_norm")
    finite = [math.isfinite(loss) and math.isfinite(norm) for loss, norm in zip(losses, norms, strict=True)]
    assert result.outcome is Outcome.DIVERGED
    assert result.final_loss == math.inf
    assert result.initial_loss is not None
    assert math.isfinite(result.initial_loss)
    assert result.diverged_step is not None
    assert finite == [True] * result.diverged_step + [False]
    assert trace["step"].max() == result.diverged_step
    completed, _ = lane_of(FINE, bad, FINE)
    assert completed.outcome is Outcome.COMPLETED
    assert completed.diverged_step is None


def test_params_that_are_not_finite_after_the_last_update_are_a_divergence():
    one_step = {"num_steps": 1, "final_loss_steps": 1}
    bad = trial(lr=1e39, workload_params=one_step)  # its first and last update: the loss before it is finite
    fine = trial(lr=0.1, workload_params=one_step)
    result, trace = lane_of(bad, bad, fine)
    assert (result.outcome, result.diverged_step, result.final_loss) == (Outcome.DIVERGED, 0, math.inf)
    assert values(trace, "loss") == pytest.approx([result.initial_loss])
    completed, _ = lane_of(fine, bad, fine)
    assert (completed.outcome, completed.diverged_step) == (Outcome.COMPLETED, None)


def test_a_blow_up_at_the_last_update_has_no_held_out_loss_of_its_own():
    bad = language_trial(lr=1e39, workload_params={"num_steps": 1, "final_loss_steps": 1})
    result, _ = lane_of(bad, bad)
    assert (result.outcome, result.held_out["val_loss"]) == (Outcome.DIVERGED, math.inf)


def test_a_diverged_lane_stays_as_it_was():
    run = PackRun(Pack(trials=(BAD, A)))
    run.advance(max_steps=1)
    assert run.num_frozen == 0
    run.advance(max_steps=4)
    assert run.num_frozen == 1
    parts = ("params", "buffers", "optimizer", "diverged_step")
    frozen = [leaf[0] for leaf in kept(run, *parts)]
    run.advance()
    assert all(torch.equal(now[0], then) for now, then in zip(kept(run, *parts), frozen, strict=True))
    assert all(leaf.isfinite().all() for leaf in frozen)


def test_a_pack_of_diverged_lanes_ends_early():
    """Of a million steps the first chunk is trained."""
    endless = {"num_steps": 1_000_000}
    run = PackRun(
        Pack(trials=tuple(trial(lr=1e30, seed=s, probe_every=10**6, workload_params=endless) for s in (0, 1)))
    )
    run.advance(max_seconds=0)  # one chunk of data
    assert run.done
    assert {result.outcome for result in run.results()} == {Outcome.DIVERGED}
    steps = [trace["step"].unique().to_list() for trace in run.traces().values()]
    assert steps == [[0], [0]]  # the only probed step before the end


def test_start_and_data_depend_on_the_seed_alone():
    """Lanes of a seed begin alike whatever their learning rate, lanes of other seeds do not."""
    lanes = (A, trial(lr=5), trial(seed=1), trial(seed=2**32))
    run = PackRun(Pack(trials=lanes))
    unlike = ((0, 2), (0, 3), (2, 3))
    for leaf in kept(run, "params"):
        torch.testing.assert_close(leaf[1], leaf[0], rtol=1e-5, atol=1e-7)
        assert all((leaf[i] - leaf[j]).abs().max() > 0.01 for i, j in unlike)
    run.advance()
    initial = [result.initial_loss for result in run.results()]
    first = [values(trace, "loss")[0] for trace in run.traces().values()]
    for losses in (initial, first):
        assert losses[1] == pytest.approx(losses[0], rel=1e-5)
        assert all(losses[i] != pytest.approx(losses[j], rel=1e-3) for i, j in unlike)


def test_losses_are_those_of_an_untrained_model_at_lr_0():
    """Initial loss and, at every step, the loss of the start on that step's batch; in float64, one model by hand.

    Steps, and those that the initial loss is a mean of, are more than are generated at a time.
    """
    length = {"num_steps": 150, "final_loss_steps": 70}
    still = trial(lr=0, seed=4, probe_every=1, workload_params=length)
    run = PackRun(Pack(trials=(still, trial(lr=1e-3, probe_every=1, workload_params=length))), dtype="float64")
    run.advance()
    program = LaneProgram.of(still)
    lane = program.start(torch.tensor(4), torch.tensor(1.0, dtype=torch.float64))
    batches = program.workload.batches(torch.tensor([4]), torch.arange(still.num_steps))
    losses = [
        program.evaluate(lane, {name: t[step, 0].double() for name, t in batches.items()}, torch.tensor(step))["loss"]
        for step in range(still.num_steps)
    ]
    losses = [loss.item() for loss in losses]
    assert values(run.traces()[still.id], "loss") == pytest.approx(losses, rel=1e-6)
    result = run.results()[0]
    assert result.initial_loss == pytest.approx(numpy.mean(losses[:70]), rel=1e-12)
    assert result.final_loss == pytest.approx(numpy.mean(losses[-70:]), rel=1e-12)


def test_final_loss_is_the_mean_of_the_last_losses():
    result, trace = lane_of(FINE, FINE)
    assert result.final_loss == pytest.approx(numpy.mean(values(trace, "loss")[-3:]), rel=1e-12)
    assert result.final_loss != pytest.approx(numpy.mean(values(trace, "loss")[-4:]), rel=1e-6)


def test_a_training_of_one_step_reports_its_only_loss():
    one = trial(workload_params={"num_steps": 1, "final_loss_steps": 100})
    result, trace = lane_of(one, one)
    assert values(trace, "loss") == [result.final_loss] == [result.initial_loss]
    assert trace["step"].unique().to_list() == [0]


@pytest.mark.parametrize("probe_every", [2, 7, 100])
def test_coarser_probing_gives_a_subset_of_the_same_values(probe_every):
    """Always with the first and the last step."""
    one = dataclasses.replace(FINE, probe_every=probe_every)
    _, every = lane_of(FINE, FINE)
    _, coarse = lane_of(one, one)
    steps = sorted({*range(0, one.num_steps, probe_every), one.num_steps - 1})
    assert coarse["step"].unique().sort().to_list() == steps
    assert every.filter(pl.col("step").is_in(steps)).equals(coarse)


def test_entropy_over_layers_is_summarised():
    deep = trial(workload_params={"depth": 2}, init_scale=20)
    _, trace = lane_of(deep, deep)
    per_layer = numpy.array([values(trace, "entropy", layer) for layer in range(2)])
    assert values(trace, "entropy_mean") == pytest.approx(per_layer.mean(axis=0), rel=1e-6)
    assert values(trace, "entropy_std") == pytest.approx(per_layer.std(axis=0), abs=1e-6)
    assert max(per_layer.std(axis=0)) > 1e-3


def test_results_come_in_the_order_of_the_pack_and_share_its_time():
    pack = (C, BAD, B, A)
    results, traces = trained(*pack)
    assert tuple(result.trial for result in results) == pack
    assert list(traces) == [one.id for one in pack]
    assert len({result.wall_s for result in results}) == 1
    assert results[0].wall_s > 0


def test_equal_packs_give_equal_results_in_any_order():
    """To the bit: the first of two packs trained again, now as the last."""
    packs = Pack(trials=(C, B)), Pack(trials=(A,)), Pack(trials=(C, B))
    (first, traces), _, (again, traces_again) = (train_pack(pack) for pack in packs)
    for one, other in zip(first, again, strict=True):
        assert dataclasses.replace(one, wall_s=0.0) == dataclasses.replace(other, wall_s=0.0)
        assert traces[one.trial.id].equals(traces_again[one.trial.id])
