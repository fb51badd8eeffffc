"""Every optimizer equals an independent implementation, step by step, and batches by vmap over lanes and layers.

A new entry of OPTIMIZERS needs a line in REFERENCES, the implementation to be compared with, and one in PUBLISHED.
"""

import dataclasses

import pytest
import torch
from torch.utils import _pytree as pytree

from bench.entry import load_class, parameters
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.optimizers.decay import Decaying
from bench.optimizers.layers import over_layers
from bench.optimizers.schedules import Cosine
from bench.optimizers.sgd import SGD, SGDMomentum
from bench.training.compile import trace
from bench.training.lane import LaneProgram
from tests.conformance.optimizer_references import CHANGED, EXEMPT, PUBLISHED, REFERENCES, SHAPES
from tests.trials import trial
from tests.variants import ignored_parameters

NUM_STEPS = 25
SYNCHRONISING = ("_local_scalar_dense", "linalg", "nonzero", "svd", "eigh", "inverse", "solve")


@pytest.fixture(params=OPTIMIZERS)
def name(request) -> str:
    return request.param


@pytest.fixture
def optimizer(name) -> Optimizer:
    return load_class(OPTIMIZERS[name])()


def constants_of(optimizer: Optimizer) -> list[str]:
    """Names of its parameters but `decays`, which is a choice of tensors."""
    return [key for key in parameters(type(optimizer)) if key != "decays"]


def draws(seed: int, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(shape, generator=generator, dtype=dtype) for key, shape in SHAPES.items()}


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def knobs_at(factor: torch.Tensor, lr: float, weight_decay: float) -> dict[str, torch.Tensor]:
    return {"lr": lr * factor, "lr_factor": factor, "weight_decay": scalar(weight_decay)}


def factor_at(step: int) -> torch.Tensor:
    """A cosine after warmup."""
    return Cosine(final_fraction=0.1).factor(torch.tensor(step), scalar(5.0), NUM_STEPS)


def start(optimizer: Optimizer, params: dict) -> dict:
    return {key: optimizer.init(key, p) for key, p in params.items()}


def stepped(optimizer: Optimizer, params: dict, grads: dict, state: dict, knobs: dict, step: int) -> tuple[dict, dict]:
    pairs = {k: optimizer.update(k, p, grads[k], state[k], knobs, torch.tensor(step)) for k, p in params.items()}
    return {key: pair[0] for key, pair in pairs.items()}, {key: pair[1] for key, pair in pairs.items()}


def trained(optimizer: Optimizer, seed: int, lr: float, weight_decay: float, num_steps: int = NUM_STEPS) -> list:
    """Parameters after every step of made-up gradients."""
    params = draws(seed)
    state = start(optimizer, params)
    seen = []
    for step in range(num_steps):
        grads = {key: g + params[key] for key, g in draws(1000 + step).items()}
        params, state = stepped(optimizer, params, grads, state, knobs_at(factor_at(step), lr, weight_decay), step)
        seen.append(params)
    return seen


@pytest.mark.parametrize("decays", EXEMPT)
@pytest.mark.parametrize("constants", ["default", "changed"])
@pytest.mark.parametrize(("lr", "weight_decay"), [(1e-3, 0.0), (0.3, 0.1)])
def test_every_step_equals_the_reference(name, optimizer, lr, weight_decay, constants, decays):
    """Two optimizers of the reference, one without weight decay, where `decays` leaves tensors out."""
    if constants == "changed":
        optimizer = type(optimizer)(**{key: CHANGED[key] for key in constants_of(optimizer)})
    if "weight_decay" in optimizer.knobs:
        optimizer = dataclasses.replace(optimizer, decays=decays)
    elif decays != "matrices":
        pytest.skip("has no weight decay")
    reference = {key: torch.nn.Parameter(tensor) for key, tensor in draws(0).items()}
    step_theirs = REFERENCES[name](reference, optimizer, lr, weight_decay)
    for step, ours in enumerate(trained(optimizer, 0, lr, weight_decay)):
        for key, grad in draws(1000 + step).items():
            reference[key].grad = grad + reference[key].detach()
        step_theirs(float(factor_at(step)))
        expected = {key: p.detach() for key, p in reference.items()}
        torch.testing.assert_close(ours, expected, rtol=1e-9 if name == "shampoo" else 1e-11, atol=1e-12)


def test_defaults_are_the_published_ones(name):
    optimizer = load_class(OPTIMIZERS[name])()
    defaults = {key: getattr(optimizer, key) for key in constants_of(optimizer)}
    assert defaults == pytest.approx(PUBLISHED[name], rel=1e-12)


def test_gains_biases_and_scalars_of_methods_do_not_decay_unless_asked(optimizer):
    assert isinstance(optimizer, Decaying) == ("weight_decay" in optimizer.knobs)
    assert getattr(optimizer, "decays", "matrices") == "matrices"


def test_every_optimizer_has_a_reference():
    assert REFERENCES.keys() == OPTIMIZERS.keys()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vmapped_lanes_equal_separate_runs(optimizer, dtype):
    """Three lanes with their own parameters, learning rates and weight decays, in one precision throughout."""
    by_lane = {"lr": [1e-3, 0.1, 0.5], "lr_factor": [0.2, 1.0, 0.7], "weight_decay": [0.0, 0.1, 0.01]}
    knobs = {key: torch.tensor(values, dtype=dtype) for key, values in by_lane.items()}
    models = [(draws(seed, dtype), start(optimizer, draws(seed, dtype))) for seed in range(3)]
    together = pytree.tree_map(lambda *leaves: torch.stack(leaves), *models)
    for step in range(5):
        grads = draws(10 + step, dtype)
        update = torch.func.vmap(
            lambda params, state, own, grads=grads, step=step: stepped(optimizer, params, grads, state, own, step)
        )
        together = update(*together, knobs)
        models = [
            stepped(optimizer, params, grads, state, {key: values[lane] for key, values in knobs.items()}, step)
            for lane, (params, state) in enumerate(models)
        ]
    assert {leaf.dtype for leaf in pytree.tree_leaves(together[0])} == {dtype}
    dtypes = [
        pytree.tree_map(lambda leaf: leaf.dtype, state) for state in (together[1], start(optimizer, draws(0, dtype)))
    ]
    assert dtypes[0] == dtypes[1]
    alone = pytree.tree_map(lambda *leaves: torch.stack(leaves), *models)
    rtol, atol = (1e-4, 1e-6) if dtype == torch.float32 else (1e-11, 1e-13)
    torch.testing.assert_close(together, alone, rtol=rtol, atol=atol)


def test_layers_at_once_equal_layer_by_layer(optimizer):
    """Start, step and evaluated weights of three layers' tensors."""
    layers = [draws(seed) for seed in range(3)]
    knobs = knobs_at(scalar(0.5), 0.1, 0.1)
    for key in (key for key in SHAPES if key.startswith("layers")):

        def run(p, grad, key=key):
            state = optimizer.init(key, p)
            for step in range(3):
                p, state = optimizer.update(key, p, grad, state, knobs, torch.tensor(step))
            return p, state, optimizer.evaluated(key, p, state)

        stacked = torch.stack([layer[key] for layer in layers])
        each = [run(layer[key], layer[key].cos()) for layer in layers]
        expected = pytree.tree_map(lambda *leaves: torch.stack(leaves), *each)
        torch.testing.assert_close(over_layers(run, key, stacked, stacked.cos()), expected, rtol=1e-11, atol=1e-13)


def test_constants_may_be_tensors_that_differ_between_lanes(optimizer):
    constants = [key for key in constants_of(optimizer) if isinstance(getattr(optimizer, key), float)]
    changed = {key: CHANGED[key] for key in constants}
    by_lane = {key: torch.stack([scalar(getattr(optimizer, key)), scalar(CHANGED[key])]) for key in constants}
    before, grads, knobs = draws(0), [draws(1 + step) for step in range(3)], knobs_at(scalar(1.0), 0.1, 0.1)

    def run(**own):
        entry = dataclasses.replace(optimizer, **own)
        params, state = before, start(entry, before)
        for step in range(3):
            params, state = stepped(entry, params, grads[step], state, knobs, step)
        return params, {key: entry.evaluated(key, p, state[key]) for key, p in params.items()}

    each = [run(), run(**changed)]
    together = torch.func.vmap(lambda own: run(**own))(by_lane) if constants else run()
    expected = pytree.tree_map(lambda *leaves: torch.stack(leaves), *each) if constants else each[0]
    torch.testing.assert_close(together, expected, rtol=1e-11, atol=1e-13)


def test_state_keeps_its_structure_and_inputs_are_not_written(optimizer):
    params, grads = draws(0), draws(1)
    state = start(optimizer, params)
    _, new = stepped(optimizer, params, grads, state, knobs_at(scalar(1.0), 0.1, 0.1), 0)
    described = [pytree.tree_map(lambda t: (t.shape, t.dtype), tree) for tree in (state, new)]
    assert described[0] == described[1]
    torch.testing.assert_close((params, grads), (draws(0), draws(1)), rtol=0, atol=0)
    torch.testing.assert_close(state, start(optimizer, params), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_and_parameters_of_zero_leave_all_finite(optimizer, dtype):
    params = {key: torch.zeros_like(p) for key, p in draws(0, dtype).items()}
    zeros, state = params, start(optimizer, params)
    knobs = {key: value.to(dtype) for key, value in knobs_at(scalar(1.0), 0.1, 0.1).items()}
    for step, grads in enumerate([zeros, zeros, draws(1, dtype), zeros, draws(2, dtype)]):
        params, state = stepped(optimizer, params, grads, state, knobs, step)
        assert all(leaf.isfinite().all() for leaf in pytree.tree_leaves((params, state)))
        assert step < 2 or all(params[key].any() for key, shape in SHAPES.items() if shape)


def test_every_parameter_changes_training(optimizer):
    assert ignored_parameters(optimizer, lambda entry: trained(entry, 0, 0.1, 0.1, 3)) == set()


class IgnoresMomentum(SGDMomentum):
    def update(self, name, p, grad, state, knobs, step):
        return SGD(decays=self.decays).update(name, p, grad, {}, knobs, step)[0], state


def test_an_ignored_parameter_is_found():
    assert ignored_parameters(IgnoresMomentum(), lambda entry: trained(entry, 0, 0.1, 0.1, 3)) == {"momentum"}


class Recorded(dict):
    """Knobs that remember which were read."""

    def __init__(self, knobs):
        super().__init__(knobs)
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


def test_knobs_are_those_that_are_read(optimizer):
    params, knobs = draws(0), Recorded(knobs_at(scalar(1.0), 0.1, 0.1))
    stepped(optimizer, params, draws(1), start(optimizer, params), knobs, 0)
    assert knobs.read == set(optimizer.knobs)


@pytest.mark.parametrize("knob", ["lr", "weight_decay"])
def test_every_knob_that_is_named_changes_training(optimizer, knob):
    """Weight decay those tensors that decay."""
    knobs = {"lr": 0.1, "weight_decay": 0.1}
    one, other = (trained(optimizer, 0, **(knobs | {knob: value}), num_steps=1)[0] for value in (0.1, 0.2))
    changed = {key for key in SHAPES if not torch.equal(one[key], other[key])}
    left_out = EXEMPT["matrices"] if knob == "weight_decay" else []
    assert changed == (set(SHAPES) - set(left_out) if knob in optimizer.knobs else set())


def test_source_is_stated(optimizer):
    assert optimizer.source != Optimizer.source
    assert type(optimizer).__doc__


@pytest.mark.slow
def test_a_traced_step_of_training_equals_an_eager_one(name):
    """Of a model with two layers; in the trace nothing that would wait for the device."""
    program = LaneProgram.of(trial(optimizer=name, method="qk_layernorm_free", workload_params={"depth": 2}))
    knobs = {"lr": 0.1, "weight_decay": 0.1, "grad_clip": 1.0, "warmup_steps": 2.0}
    lane = program.start(torch.tensor(1), scalar(1.0))
    batch = program.workload.batches(torch.tensor([1]), torch.tensor([0]))
    batch = {key: tensor[0, 0].double() for key, tensor in batch.items()}
    arguments = (lane, batch, {key: scalar(value) for key, value in knobs.items()}, torch.tensor(0))
    traced, out_spec = trace(program.train, arguments)
    operations = {str(node.target) for node in traced.graph.nodes}
    assert not [operation for operation in operations if any(word in operation for word in SYNCHRONISING)]
    found = pytree.tree_unflatten(traced(*pytree.tree_leaves(arguments)), out_spec)
    expected = program.train(*arguments)
    assert expected[0]["alive"]
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)
