"""A run that was interrupted goes on bit for bit: from any step, through a file, with every kept tensor."""

import dataclasses
import functools
import io

import pytest
import torch
from torch.utils import _pytree as pytree

from bench.optimizers.layers import layers_of, stack_layers
from bench.training.pack import Pack
from bench.training.train import PackRun
from tests.trials import LEAN, trained, trial

# A language model is evaluated on held-out data before steps 0, 3 and 6 and at the end.
KINDS = {
    "plain": {},
    "momentum_and_kept_vectors": {"optimizer": "sgd_momentum", "method": "sigma_reparam_qk", "schedule": "cosine"},
    "language": {
        "workload": "language_modeling",
        "optimizer": "adamw",
        "workload_params": LEAN | {"dropout": 0.2, "num_micro_batches": 2},
    },
}
STEPS = (0, 4, 6, 8)  # of 8; 0 is before the first advance, 6 is about to be probed
RESUMED = [*((kind, step) for kind in KINDS for step in STEPS if (kind == "language") == (step == 4)), ("language", 6)]
SELDOM = [("plain", 0), ("language", 4), *((kind, 8) for kind in KINDS)]  # ends and repetitions: not at every change


@functools.cache
def pack_of(kind: str) -> Pack:
    """A lane that completes, one that diverges and one of another seed."""
    return Pack(trials=tuple(trial(**KINDS[kind], lr=lr, seed=seed) for lr, seed in ((0.1, 0), (1e30, 0), (0.05, 1))))


@functools.cache
def run_of(kind: str) -> tuple[PackRun, dict[int, bytes]]:
    """A run to the end, and files of its states on the way."""
    run, files = PackRun(pack_of(kind)), {}
    for step in STEPS:
        if step:
            run.advance(max_steps=step - run.step)
        assert run.step == step
        file = io.BytesIO()
        torch.save(run.state(), file)
        files[step] = file.getvalue()
    return run, files


def states_of(kind: str) -> dict[int, bytes]:
    return run_of(kind)[1]


def read(file: bytes) -> dict:
    return torch.load(io.BytesIO(file), weights_only=True)


def timeless(results) -> list:
    return [dataclasses.replace(result, wall_s=0.0) for result in results]


@pytest.mark.parametrize(
    ("kind", "step"),
    [pytest.param(*case, marks=pytest.mark.slow if case in SELDOM else ()) for case in RESUMED],
)
def test_a_loaded_run_continues_bit_for_bit(kind, step):
    pack = pack_of(kind)
    run = PackRun(pack)
    run.load(read(states_of(kind)[step]))
    assert run.step == step
    run.advance()
    whole = run_of(kind)[0]
    assert timeless(run.results()) == timeless(whole.results())
    traces = whole.traces()
    assert all(trace.equals(traces[trial_id]) for trial_id, trace in run.traces().items())
    final = pytree.tree_leaves(read(states_of(kind)[8])["lanes"])
    assert all(torch.equal(a, b) for a, b in zip(pytree.tree_leaves(run.state()["lanes"]), final, strict=True))


def test_state_holds_momentum_and_kept_vectors():
    lanes = read(states_of("momentum_and_kept_vectors")[6])["lanes"]
    assert lanes["optimizer"].keys() == stack_layers(lanes["params"], layers_of("layers", 1)).keys()
    assert all(state.keys() == {"momentum"} for state in lanes["optimizer"].values())
    assert {name.rpartition(".")[2] for name in lanes["buffers"]} == {"left", "right"}


def test_state_holds_what_was_measured():
    """Of a language model at step 4: both losses so far, and the evaluations at 0 and 3."""
    history = read(states_of("language")[4])["history"]
    assert history["initial_loss"].isfinite().all()
    assert history["loss"].isfinite()[:, 0].tolist() == [True] * 4 + [False] * 4
    assert history["val"].isfinite()[:, 0].tolist() == [[True] * 4] * 2 + [[False] * 4] * 2


def test_a_state_is_a_snapshot():
    run = PackRun(pack_of("plain"))
    run.advance(max_steps=1)
    state = run.state()
    before = [leaf.clone() for leaf in pytree.tree_leaves(state["lanes"])]
    run.advance(max_steps=2)
    assert all(torch.equal(a, b) for a, b in zip(pytree.tree_leaves(state["lanes"]), before, strict=True))


def test_time_adds_up_over_interruptions():
    run = PackRun(pack_of("plain"))
    run.load(read(states_of("plain")[6]))
    spent = run.wall_s
    assert spent > 0
    run.advance()
    assert run.wall_s > spent
    assert sum(result.wall_s for result in run.results()) == pytest.approx(run.wall_s)


def test_a_state_of_another_pack_is_refused():
    other = PackRun(Pack(trials=pack_of("plain").trials[::-1]))
    with pytest.raises(ValueError, match=f"checkpoint of pack {pack_of('plain').id}, this is pack {other.pack.id}"):
        other.load(read(states_of("plain")[6]))


@pytest.mark.parametrize("part", ["lanes", "history"])
def test_a_state_of_a_version_that_keeps_something_else_is_refused_and_changes_nothing(part):
    """A further tensor, one less, or one of another shape, as an earlier version's probes had."""
    run = PackRun(pack_of("plain"))
    before, state = run.state(), read(states_of("plain")[6])
    name = next(name for name, tensor in state[part].items() if isinstance(tensor, torch.Tensor))
    others = [
        {**state[part], "more": torch.zeros(1)},
        {key: value for key, value in state[part].items() if key != name},
        {**state[part], name: torch.zeros(1, 2, 3, 4, 5)},
    ]
    for other in others:
        with pytest.raises(ValueError, match="is of a version that keeps something else"):
            run.load({**state, part: other})
    assert run.step == 0
    torch.testing.assert_close(run.state()["lanes"], before["lanes"], rtol=0, atol=0)


def test_a_dry_step_keeps_nothing():
    run = PackRun(pack_of("momentum_and_kept_vectors"))
    before = run.state()
    run.dry_step()
    after = run.state()
    assert after["step"] == 0
    for part in ("lanes", "history"):
        a, b = pytree.tree_leaves(after[part]), pytree.tree_leaves(before[part])
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("limit", [{"max_steps": 37}, {"max_seconds": 0}])
def test_interruptions_across_chunks_of_data_change_nothing(limit):
    """More steps than are generated at a time, in parts; even a call without time gets on."""
    long = trial(workload_params={"num_steps": 150, "final_loss_steps": 70}, lr=0.01, probe_every=50)
    run = PackRun(Pack(trials=(long,)))
    steps = [0]
    while not run.done:
        run.advance(**limit)
        steps.append(run.step)
        assert steps[-1] > steps[-2]
    assert len(steps) > 3
    assert timeless(run.results()) == timeless(trained(long)[0])
