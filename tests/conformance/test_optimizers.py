"""Every optimizer equals an independent implementation, step by step, and batches by vmap over lanes and layers.

A new entry of OPTIMIZERS needs a line in REFERENCES, the implementation to be compared with, and one in PUBLISHED.
"""

import dataclasses

import pytest
import torch
from torch.utils import _pytree as pytree

from bench.entry import load_class
from bench.optimizers import OPTIMIZERS
from bench.optimizers.base import Optimizer
from bench.optimizers.decay import Decaying
from bench.optimizers.sgd import SGD, SGDMomentum
from bench.testing.optimizer_steps import SHAPES, constants_of, draws, factor_at, scalar, trained
from bench.testing.optimizers import OPTIMIZER_PROPERTIES
from bench.testing.variants import ignored_parameters
from bench.training.compile import trace
from bench.training.lane import LaneProgram
from tests.conformance.optimizer_references import CHANGED, EXEMPT, EXEMPT_BY_ROLE, PUBLISHED, REFERENCES
from tests.trials import trial

SYNCHRONISING = ("_local_scalar_dense", "linalg", "nonzero", "svd", "eigh", "inverse", "solve")


@pytest.fixture(params=OPTIMIZERS)
def name(request) -> str:
    return request.param


@pytest.fixture
def optimizer(name) -> Optimizer:
    return load_class(OPTIMIZERS[name])()


@pytest.mark.parametrize("decays", EXEMPT)
@pytest.mark.parametrize("constants", [pytest.param("default", marks=pytest.mark.repetition), "changed"])
@pytest.mark.parametrize(("lr", "weight_decay"), [pytest.param(1e-3, 0.0, marks=pytest.mark.repetition), (0.3, 0.1)])
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


RATES = {"lr_query": 0.25, "lr_embedding": 3.0, "lr_method": 0.5, "lr_bias": 2.0}
GROUPS = {  # by hand: factors on the learning rate of names in SHAPES
    ("layers.*.query.weight",): 0.25,
    ("layers.*.key.weight", "layers.*.value.weight", "readout.weight"): 1.0,
    ("layers.*.query.bias",): 2.0,
    ("layers.*.method.gamma_q", "layers.*.query.gamma"): 0.5,
    ("embed.tokens", "embed.class_token"): 3.0,
}


def test_rates_and_decay_by_role_are_groups_of_the_reference(name, optimizer):
    """Each group in an optimizer of its own, as torch.optim's are."""
    assert sorted(key for group in GROUPS for key in group) == sorted(SHAPES)
    if isinstance(optimizer, Decaying):
        optimizer = dataclasses.replace(optimizer, decays="all", no_decay=list(EXEMPT_BY_ROLE))
    lr, weight_decay, reference = 0.05, 0.1, {key: torch.nn.Parameter(tensor) for key, tensor in draws(0).items()}
    steps = [
        REFERENCES[name]({key: reference[key] for key in group}, optimizer, factor * lr, weight_decay)
        for group, factor in GROUPS.items()
    ]
    for step, ours in enumerate(trained(dataclasses.replace(optimizer, **RATES), 0, lr, weight_decay)):
        for key, grad in draws(1000 + step).items():
            reference[key].grad = grad + reference[key].detach()
        for step_theirs in steps:
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


@pytest.mark.parametrize("words", OPTIMIZER_PROPERTIES)
def test_every_optimizer_has_every_property(optimizer, words):
    OPTIMIZER_PROPERTIES[words].check(optimizer)


def test_every_optimizer_has_a_reference():
    assert REFERENCES.keys() == OPTIMIZERS.keys()


class IgnoresMomentum(SGDMomentum):
    def update(self, name, p, grad, state, knobs, step):
        return SGD(decays=self.decays).update(name, p, grad, {}, knobs, step)[0], state


def test_an_ignored_parameter_is_found():
    assert ignored_parameters(IgnoresMomentum(), lambda entry: trained(entry, 0, 0.1, 0.1, 3)) == {"momentum"}


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
