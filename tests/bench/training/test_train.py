"""The keystone: a lane's results and trace are those of its solo run, whatever shares the pack."""

import dataclasses
import math

import numpy
import polars as pl
import pytest
import torch
from torch.utils import _pytree as pytree

from bench.entry import load_class, parameters
from bench.held_out import HELD_OUT
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS
from bench.probes import build_probes
from bench.probes.base import quantities_of
from bench.trace import TRACE_COLUMNS, TRAINING_QUANTITIES, WHOLE_MODEL
from bench.training.lane import LaneProgram
from bench.training.pack import Pack
from bench.training.train import PackRun, train_pack
from bench.trial import Outcome, Trial
from tests.trials import language_trial, trained, trial

A, B, C = trial(lr=0.1), trial(lr=0.4, seed=1), trial(lr=0.02, init_scale=3)
BAD = trial(lr=1e6, seed=1)
FINE = trial(lr=0.05, probe_every=1)
# PyTorch's sigmoid rounds by where in memory a number lies: lanes of these methods equal their solo runs to rounding.
ROUNDED = {"sigmoid_attention"}


def lane_of(one: Trial, *pack: Trial):
    """Result without its time, and trace, of one trial in a pack."""
    results, traces = trained(*pack)
    result = next(result for result in results if result.trial == one)
    return dataclasses.replace(result, wall_s=0.0), traces[one.id]


def assert_same_lane(one: Trial, pack: tuple[Trial, ...], other: tuple[Trial, ...]) -> None:
    (result, trace), (other_result, other_trace) = lane_of(one, *pack), lane_of(one, *other)
    assert result == other_result
    assert trace.equals(other_trace)


def assert_close_lane(one: Trial, pack: tuple[Trial, ...], other: tuple[Trial, ...]) -> None:
    """To rounding: 1e-4 of a value."""
    (result, trace), (other_result, other_trace) = lane_of(one, *pack), lane_of(one, *other)
    for field in dataclasses.fields(result):
        value, expected = getattr(result, field.name), getattr(other_result, field.name)
        assert value == (pytest.approx(expected, rel=1e-4) if isinstance(expected, float) else expected)
    assert trace.drop("value").equals(other_trace.drop("value"))
    numpy.testing.assert_allclose(trace["value"], other_trace["value"], rtol=1e-4, atol=1e-6)


def values(trace: pl.DataFrame, quantity: str, layer: int = WHOLE_MODEL) -> list[float]:
    return trace.filter(quantity=quantity, layer=layer).sort("step")["value"].to_list()


def kept(run: PackRun, *names: str):
    state = run.state()["lanes"]
    return pytree.tree_leaves([state[name] for name in names])


@pytest.mark.parametrize("method", METHODS)
def test_lane_matches_solo_run_for_every_method(method):
    a, b, bad = (trial(method=method, **knobs) for knobs in ({"lr": 0.1}, {"lr": 0.4, "seed": 1}, {"lr": 1e30}))
    compare = assert_close_lane if method in ROUNDED else assert_same_lane
    compare(a, (b, a, bad), (a,))


@pytest.mark.parametrize("optimizer", ["sgd_momentum", "adam"])
def test_lane_matches_solo_run_with_optimizer_state(optimizer):
    settings = {"optimizer": optimizer, "schedule": "cosine", "weight_decay": 0.1, "grad_clip": 1.0}
    a, b = trial(lr=0.1, warmup_steps=3, **settings), trial(lr=0.3, seed=2, **settings)
    assert_same_lane(a, (b, a), (a,))


@pytest.mark.parametrize("pack", [(C, B, A), (C, BAD, B, A), (B, A), (A, C)])
def test_lane_matches_solo_run_in_any_company(pack):
    """Other order, another number of lanes, another number of seeds."""
    assert_same_lane(A, pack, (A,))


@pytest.mark.parametrize(
    "settings",
    [pytest.param({"dropout": 0.2}, marks=pytest.mark.slow), {"model": "llama_1m", "depth": 1, "z_loss": 1e-3}],
)
def test_lane_matches_solo_run_of_a_language_model(settings):
    """Held-out data, dropout, several heads, token embeddings; also beside a lane that diverges."""
    a, b, bad = (
        language_trial(workload_params=settings, **knobs) for knobs in ({}, {"lr": 0.03, "seed": 1}, {"lr": 1e30})
    )
    assert_same_lane(a, (b, a, bad), (a,))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_lane_matches_solo_run_of_a_language_model_for_every_method(method):
    """In float64 to 1e-9, whatever a kernel rounds otherwise in a pack."""
    lanes = tuple(language_trial(method=method, lr=lr, seed=seed) for lr, seed in ((0.01, 0), (0.03, 1)))
    histories = []
    for pack in (lanes, lanes[1:]):
        run = PackRun(Pack(trials=pack), dtype="float64")
        run.advance()
        histories.append(run.state()["history"])
    together, solo = histories
    for quantity, expected in solo.items():
        lane_axis = 0 if quantity == "initial_loss" else 1
        found = together[quantity].select(lane_axis, 1)
        torch.testing.assert_close(found, expected.select(lane_axis, 0), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_lane_matches_solo_run_at_the_papers_size(method):
    size = {"num_steps": 30, "final_loss_steps": 10, "batch_size": 128, "num_pairs": 20, "dimension": 3, "depth": 5}
    lanes = tuple(
        trial(method=method, workload_params=size, lr=lr, seed=seed) for seed in range(3) for lr in (1e-3, 0.1, 1, 10)
    )
    compare = assert_close_lane if method in ROUNDED else assert_same_lane
    compare(lanes[5], lanes, lanes[5:6])


def test_a_diverged_lane_never_touches_its_neighbours():
    for one in (A, B, C):
        assert_same_lane(one, (C, BAD, B, A), (C, B, A))


def test_a_diverged_lane_is_recorded_at_its_first_non_finite_step():
    bad = trial(lr=1e6, seed=1, probe_every=1)
    result, trace = lane_of(bad, bad, FINE)
    losses, norms = values(trace, "loss"), values(trace, "grad_norm")
    finite = [math.isfinite(loss) and math.isfinite(norm) for loss, norm in zip(losses, norms, strict=True)]
    assert result.outcome is Outcome.DIVERGED
    assert result.final_loss == math.inf
    assert math.isfinite(result.initial_loss)
    assert finite == [True] * result.diverged_step + [False]
    assert trace["step"].max() == result.diverged_step
    completed, _ = lane_of(FINE, bad, FINE)
    assert completed.outcome is Outcome.COMPLETED
    assert completed.diverged_step is None


def test_a_diverged_lane_stays_as_it_was():
    run = PackRun(Pack(trials=(BAD, A)))
    run.advance(max_steps=1)
    assert run.num_diverged == 0
    run.advance(max_steps=4)
    assert run.num_diverged == 1
    parts = ("params", "buffers", "optimizer", "diverged_step")
    frozen = [leaf[0] for leaf in kept(run, *parts)]
    run.advance()
    assert all(torch.equal(now[0], then) for now, then in zip(kept(run, *parts), frozen, strict=True))
    assert all(leaf.isfinite().all() for leaf in frozen)


def test_a_pack_of_diverged_lanes_ends_early():
    """A million steps would take minutes."""
    endless = {"num_steps": 1_000_000}
    run = PackRun(
        Pack(trials=tuple(trial(lr=1e30, seed=s, probe_every=10**6, workload_params=endless) for s in (0, 1)))
    )
    run.advance()
    assert run.done
    assert run.wall_s < 30
    assert {result.outcome for result in run.results()} == {Outcome.DIVERGED}
    assert {trace["step"].max() for trace in run.traces().values()} == {0}  # the only probed step before the end


def test_start_and_data_depend_on_the_seed_alone():
    """Lanes of a seed begin alike whatever their learning rate, lanes of other seeds do not."""
    lanes = (A, trial(lr=5), trial(seed=1), trial(seed=2**32))
    run = PackRun(Pack(trials=lanes))
    for leaf in kept(run, "params"):
        assert torch.equal(leaf[0], leaf[1])
        assert len({tuple(lane.flatten().tolist()) for lane in leaf}) == 3
    run.advance()
    assert len({result.initial_loss for result in run.results()}) == 3
    first = [values(trace, "loss")[0] for trace in run.traces().values()]
    assert first[0] == first[1]
    assert len(set(first)) == 3


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


@pytest.mark.parametrize("method", METHODS)
def test_traces_hold_every_quantity_within_its_bounds(method):
    one = trial(method=method, lr=0.1)
    result, trace = lane_of(one, trial(method=method, lr=0.4, seed=1), one, trial(method=method, lr=1e30))
    assert result.outcome is Outcome.COMPLETED
    assert trace.schema == {column: getattr(pl, kind) for column, kind in TRACE_COLUMNS.items()}
    all_quantities = TRAINING_QUANTITIES | quantities_of(build_probes(None))
    quantities = {name: quantity for name, quantity in all_quantities.items() if name not in HELD_OUT}
    assert set(trace["quantity"]) == set(quantities)
    workload = LaneProgram.of(one).workload
    for name, quantity in quantities.items():
        part = trace.filter(quantity=name)
        layers = range(workload.num_layers) if quantity.per_layer else [WHOLE_MODEL]
        assert sorted(part["layer"].unique()) == list(layers)
        assert part.select("step", "layer").is_duplicated().sum() == 0
        assert len(part) == 4 * len(layers)  # steps 0, 3, 6 and the last
        assert part["value"].is_finite().all()
        assert part["value"].min() >= quantity.low - 1e-5
        assert part["value"].max() <= quantity.high(workload.num_keys) + 1e-5


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


def test_equal_packs_give_equal_results():
    (first, first_traces), (again, again_traces) = trained(A), train_pack(Pack(trials=(A,)))
    assert dataclasses.replace(first[0], wall_s=0.0) == dataclasses.replace(again[0], wall_s=0.0)
    assert first_traces[A.id].equals(again_traces[A.id])


def constants_of(optimizer: str) -> dict[str, float]:
    """Defaults of the constants that are fractions."""
    declared = parameters(load_class(OPTIMIZERS[optimizer]))
    return {name: default for name, (_, default) in declared.items() if isinstance(default, float)}


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(name, marks=[] if name in ("adamw", "rmsprop") else pytest.mark.slow)
        for name in OPTIMIZERS
        if constants_of(name)
    ],
)
def test_lanes_with_constants_of_their_own_train_as_alone(optimizer):
    """A lane for each constant, which is a tensor in the pack and a number in the lane's solo run."""
    changed = [{name: 0.5 * default} for name, default in constants_of(optimizer).items()]
    lanes = [trial(optimizer=optimizer, optimizer_params=params, lr=0.01) for params in changed]
    together = losses_of(*lanes, trial(optimizer=optimizer, lr=0.01))
    for lane, one in enumerate(lanes):
        torch.testing.assert_close(together[:, lane], losses_of(one)[:, 0], rtol=1e-6, atol=1e-7)


def losses_of(*lanes: Trial) -> torch.Tensor:
    run = PackRun(Pack(trials=lanes))
    run.advance()
    return run.state()["history"]["loss"]
