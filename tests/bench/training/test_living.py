"""Lanes that diverged leave the pack: what is left trains as it would have, and goes on bit for bit after a resume."""

import dataclasses
import functools
import io

import pytest
import torch
from torch.utils import _pytree as pytree

from bench.interventions import INTERVENTIONS
from bench.outcome import Outcome
from bench.training import chunk, living
from bench.training.pack import Pack
from bench.training.train import PackRun
from tests.repetitions import one_of_each_kind
from tests.trials import LEAN, choice, trial

KINDS = {
    "plain": {"method": "sigma_reparam_qk", "optimizer": "sgd_momentum"},
    "language": {
        "workload": "language_modeling",
        "optimizer": "adamw",
        "workload_params": LEAN | {"dropout": 0.2, "num_micro_batches": 2},
    },
}
LANES = ((0.1, 0), (1e30, 0), (0.05, 1), (1e30, 1))  # (lr, seed): two diverge at once
CHUNK = 2  # steps between two looks at who has diverged
ROUNDING = 1e-3  # a trial in another company, as in test_company


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(chunk, "MAX_STEPS", CHUNK)
    monkeypatch.setattr(living, "TRACE_SECONDS_PER_OPERATION", 0.0)  # always worth it


@functools.cache
def pack_of(kind: str) -> Pack:
    return Pack(trials=tuple(trial(**KINDS[kind], lr=lr, seed=seed) for lr, seed in LANES))


def whole_run(kind: str, monkeypatch: pytest.MonkeyPatch) -> PackRun:
    """All lanes stay."""
    monkeypatch.setattr(living, "TRACE_SECONDS_PER_OPERATION", float("inf"))
    run = PackRun(pack_of(kind))
    run.advance()
    assert run.num_computed == len(LANES)
    return run


@pytest.mark.parametrize("kind", one_of_each_kind(KINDS, ["plain"]))
def test_outcomes_and_traces_are_those_of_the_whole_pack(kind, monkeypatch):
    run = PackRun(pack_of(kind))
    run.advance()
    assert (run.num_computed, run.num_frozen) == (2, 2)
    assert run.is_frozen == [False, True, False, True]
    whole = whole_run(kind, monkeypatch)
    for result, expected in zip(run.results(), whole.results(), strict=True):
        assert (result.outcome, result.diverged_step) == (expected.outcome, expected.diverged_step)
        assert result.initial_loss == expected.initial_loss
        assert result.final_loss == pytest.approx(expected.final_loss, rel=ROUNDING)
        assert result.held_out.keys() == expected.held_out.keys()
        for name, value in expected.held_out.items():
            assert result.held_out[name] == (None if value is None else pytest.approx(value, rel=ROUNDING))
    assert [result.outcome for result in run.results()].count(Outcome.DIVERGED) == 2
    expected_traces = whole.traces()
    for lane, (trial_id, trace) in enumerate(run.traces().items()):
        expected = expected_traces[trial_id]
        assert trace.drop("value").equals(expected.drop("value"))
        if run.is_frozen[lane]:
            assert trace.equals(expected)
        values, others = (torch.tensor(each["value"].to_list()) for each in (trace, expected))
        torch.testing.assert_close(values, others, rtol=ROUNDING, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "steps"), [("plain", (1, 2, 5)), pytest.param("language", (5,), marks=pytest.mark.repetition)]
)
def test_a_run_goes_on_bit_for_bit_from_before_and_after_lanes_left(kind, steps):
    whole, files = PackRun(pack_of(kind)), {}
    for step in steps:  # 1 is before, at 2 lanes are about to leave
        whole.advance(max_steps=step - whole.step)
        file = io.BytesIO()
        torch.save(whole.state(), file)
        files[step] = file.getvalue()
    whole.advance()
    for step, file in files.items():
        run = PackRun(pack_of(kind))
        run.load(torch.load(io.BytesIO(file), weights_only=True))
        assert run.num_computed == (2 if step == 5 else 4)
        run.advance()
        traces = whole.traces()
        assert all(trace.equals(traces[trial_id]) for trial_id, trace in run.traces().items())
        pairs = zip(pytree.tree_leaves(run.state()), pytree.tree_leaves(whole.state()), strict=True)
        for own, expected in pairs:
            if isinstance(own, torch.Tensor):
                torch.testing.assert_close(own, expected, rtol=0, atol=0, equal_nan=True)


def test_a_state_is_loaded_into_a_run_that_has_got_on():
    run = PackRun(pack_of("plain"))
    run.advance(max_steps=1)
    state = run.state()
    run.advance()
    expected = run.traces()
    run.load(state)
    assert run.num_computed == 4
    run.advance()
    assert all(trace.equals(expected[trial_id]) for trial_id, trace in run.traces().items())


def test_lanes_that_left_are_not_seen_inside():
    run = PackRun(pack_of("plain"))
    run.advance(max_steps=3)
    params, _, weights = run.look()
    for tensor in (*params.values(), *weights):
        is_there = tensor.isfinite().reshape(len(LANES), -1).all(dim=1).tolist()
        assert is_there == [True, False, True, False]


def test_lanes_stay_where_too_few_steps_are_left(monkeypatch):
    monkeypatch.undo()
    run = PackRun(pack_of("plain"))
    run.advance()
    assert (run.num_computed, run.num_frozen) == (4, 2)


def test_an_intervention_moves_with_its_lane():
    """Twins stay equal to the bit until it acts, after lanes before them have left."""
    lost = [trial(seed=seed, lr=1e30, probe_every=1) for seed in range(2)]
    twin = trial(seed=2, probe_every=1)
    sharpened = dataclasses.replace(twin, intervention=choice(INTERVENTIONS, "temperature", from_step=6))
    run = PackRun(Pack(trials=(*lost, twin, sharpened)))
    run.advance()
    assert run.num_computed == 2
    losses = [run.traces()[one.id].filter(quantity="loss").sort("step")["value"].to_list() for one in (twin, sharpened)]
    assert [a == b for a, b in zip(*losses, strict=True)] == [True] * 6 + [False] * 2
