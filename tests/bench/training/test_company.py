"""The keystone: a lane's results and trace are those of its solo run, whatever shares the pack.

Packs of one size run the same kernels: there a lane is the same to the bit, whatever its neighbours do. Other sizes run
other kernels, which round otherwise on many processors: there a lane is its solo run to rounding, as ROUNDING has it.
"""

import dataclasses
import functools

import numpy
import polars as pl
import pytest
import torch

from bench.entry import load_class, parameters
from bench.held_out import HELD_OUT
from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS
from bench.outcome import Outcome
from bench.probes import build_probes
from bench.probes.base import quantities_of
from bench.trace import TRACE_COLUMNS, TRAINING_QUANTITIES, WHOLE_MODEL
from bench.training.lane import LaneProgram
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.trial import Trial
from tests.repetitions import EACH_METHOD, KINDS_OF_METHODS, one_of_each_kind
from tests.trials import lane_of, language_trial, trial

A, B, C = trial(lr=0.1), trial(lr=0.4, seed=1), trial(lr=0.02, init_scale=3)
BAD = trial(lr=1e6, seed=1)
# Relative, of a lane in float32 from its solo run in float64. Measured over 8 steps: 3e-5 of norm_softmax, at most 8e-6
# of the others; a kick of one unit in the last place of every batched product adds as much again.
ROUNDING = 1e-3

# Of each kind, and the first of each file: others of a file differ from it in a constant or in which layers they wrap.
FIRST = {target.partition(":")[0]: name for name, target in reversed(METHODS.items())}
EVERY_METHOD = one_of_each_kind(METHODS, {*FIRST.values(), *KINDS_OF_METHODS})


@functools.cache
def alone_in_float64(one: Trial):
    """As `lane_of`, of a solo run that hardly rounds."""
    run = advanced(one, dtype="float64")
    return dataclasses.replace(run.results()[0], wall_s=0.0), run.traces()[one.id]


def advanced(*pack: Trial, dtype: str) -> PackRun:
    run = PackRun(Pack(trials=pack), dtype=dtype)
    run.advance()
    return run


def assert_same_lane(one: Trial, pack: tuple[Trial, ...], other: tuple[Trial, ...]) -> None:
    """To the bit, in two packs of one size and with as many seeds."""
    assert (len(pack), len({each.seed for each in pack})) == (len(other), len({each.seed for each in other}))
    (result, trace), (other_result, other_trace) = lane_of(one, *pack), lane_of(one, *other)
    assert result == other_result
    assert trace.equals(other_trace)


def assert_lane_is_solo_run(one: Trial, pack: tuple[Trial, ...]) -> None:
    (result, trace), (solo_result, solo_trace) = lane_of(one, *pack), alone_in_float64(one)
    for field in dataclasses.fields(result):
        value, expected = getattr(result, field.name), getattr(solo_result, field.name)
        assert value == (pytest.approx(expected, rel=ROUNDING) if isinstance(expected, float) else expected)
    assert trace.drop("value").equals(solo_trace.drop("value"))
    numpy.testing.assert_allclose(trace["value"], solo_trace["value"], rtol=ROUNDING, atol=1e-6)


def assert_lane_is_solo_run_in_float64(one: Trial, pack: tuple[Trial, ...]) -> None:
    """To 1e-9, which rounding leaves untouched."""
    together, solo = (advanced(*lanes, dtype="float64").state()["history"] for lanes in (pack, (one,)))
    for quantity, expected in solo.items():
        lane_axis = 0 if quantity == "initial_loss" else 1
        lane = together[quantity].select(lane_axis, pack.index(one))
        torch.testing.assert_close(lane, expected.select(lane_axis, 0), rtol=1e-9, atol=1e-12)


def beside(method: str) -> tuple[Trial, tuple[Trial, ...]]:
    """A trial, and a pack of it, of another seed and of a lane that diverges."""
    a, b, bad = trial(method=method, lr=0.1), trial(method=method, lr=0.4, seed=1), trial(method=method, lr=1e30)
    return a, (b, a, bad)


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_lane_matches_solo_run_for_every_method(method):
    assert_lane_is_solo_run(*beside(method))


@pytest.mark.parametrize("method", EACH_METHOD)
def test_a_lane_is_the_same_whatever_its_neighbours_do(method):
    """Neighbours of other seeds, knobs and endings."""
    a, pack = beside(method)
    others = (trial(method=method, lr=0.2, seed=2, init_scale=3, weight_decay=0.1), trial(method=method, lr=0.03))
    assert_same_lane(a, pack, (others[0], a, others[1]))


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_traces_hold_every_quantity_within_its_bounds(method):
    one, pack = beside(method)
    result, trace = lane_of(one, *pack)
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
        values = part["value"].to_list()
        assert min(values) >= quantity.low - 1e-5
        assert max(values) <= quantity.high(workload.num_keys) + 1e-5


@pytest.mark.parametrize("optimizer", ["sgd_momentum", "adam"])
def test_lane_matches_solo_run_with_optimizer_state(optimizer):
    settings = {"optimizer": optimizer, "schedule": "cosine", "weight_decay": 0.1, "grad_clip": 1.0}
    a, b = trial(lr=0.1, warmup_steps=3, **settings), trial(lr=0.3, seed=2, **settings)
    assert_lane_is_solo_run(a, (b, a))
    assert_same_lane(a, (b, a), (trial(lr=0.01, seed=3, **settings), a))


@pytest.mark.parametrize("pack", [(C, B, A), (C, BAD, B, A), (B, A), (A, C)])
def test_lane_matches_solo_run_in_any_company(pack):
    """Other order, another number of lanes, another number of seeds."""
    assert_lane_is_solo_run(A, pack)


@pytest.mark.parametrize(
    "settings",
    [pytest.param({"dropout": 0.2}, marks=pytest.mark.slow), {"model": "llama_1m", "depth": 1, "z_loss": 1e-3}],
)
def test_lane_matches_solo_run_of_a_language_model(settings):
    """Held-out data, dropout, several heads, token embeddings; also beside a lane that diverges."""
    a, b, bad = (
        language_trial(workload_params=settings, **knobs) for knobs in ({}, {"lr": 0.03, "seed": 1}, {"lr": 1e30})
    )
    assert_lane_is_solo_run_in_float64(a, (b, a, bad))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_lane_matches_solo_run_of_a_language_model_for_every_method(method):
    lanes = tuple(language_trial(method=method, lr=lr, seed=seed) for lr, seed in ((0.01, 0), (0.03, 1)))
    assert_lane_is_solo_run_in_float64(lanes[1], lanes)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_lane_matches_solo_run_at_the_papers_size(method):
    size = {"num_steps": 30, "final_loss_steps": 10, "batch_size": 128, "num_pairs": 20, "dimension": 3, "depth": 5}
    lanes = tuple(
        trial(method=method, workload_params=size, lr=lr, seed=seed) for seed in range(3) for lr in (1e-3, 0.1, 1, 10)
    )
    assert_lane_is_solo_run_in_float64(lanes[5], lanes)


def test_a_diverged_lane_never_touches_its_neighbours():
    for one in (A, B, C):
        assert_same_lane(one, (C, BAD, B, A), (C, trial(lr=0.3, seed=1), B, A))


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
        torch.testing.assert_close(together[:, lane], losses_of(one)[:, 0], rtol=1e-9, atol=1e-12)


def losses_of(*lanes: Trial) -> torch.Tensor:
    return advanced(*lanes, dtype="float64").state()["history"]["loss"]
