"""What is wrong with an entry is one line: what follows from a basic property that fails is not tried."""

import math
import re
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from bench.methods.base import Method
from bench.methods.linear import ROLES
from bench.methods.softmax import Softmax, masked_softmax
from bench.optimizers.base import Optimizer
from bench.optimizers.schedules import Schedule
from bench.probes.base import Probe
from bench.testing.check import check_entry
from bench.trace import Quantity
from bench.workloads.base import Workload
from bench.workloads.in_context_regression import InContextRegression
from tests.trials import SMALL

CALLS: list[int] = []


def made(base, **functions):
    """An entry of a class whose functions are these."""
    return dataclass(frozen=True, kw_only=True)(type("Made", (base,), {"__module__": __name__, **functions}))()


def method(weights=None, **functions):
    return made(Softmax, **({} if weights is None else {"weights": weights}), **functions)


def rows(of):
    """A method whose weights are these of queries, keys and mask."""
    return method(lambda self, q, k, mask, state: of(q, k, mask))


def p_of(q, k, mask):
    return masked_softmax(q @ k.mT, mask)


def counts(self, q, k, mask, state):
    CALLS.append(1)
    return p_of((1 + 0.1 * len(CALLS)) * q, k, mask)


def assigns(self, q, k, mask, state):
    self.last = q


def writes(self, q, k, mask, state):
    q *= 0.5
    return p_of(q, k, mask)


def writes_mask(self, q, k, mask, state):
    mask &= True
    return p_of(q, k, mask)


def registers(self, q, k, mask, state):
    self.register_buffer("last", q)


def detaches(self, q, k, mask, state):
    with torch.no_grad():
        return p_of(q, k, mask)


def branches(self, q, k, mask, state):
    return p_of(q / 2 if q.abs().max() > 3 else q, k, mask)


def indexes(self, q, k, mask, state):
    z = q @ k.mT
    return masked_softmax(torch.where(z < z[z < 3].mean(), z, z / 2), mask)


def divides(self, q, k, mask, state):
    z = (q @ k.mT).relu() * mask
    return z / z.sum(-1, keepdim=True)


def overflows(self, q, k, mask, state):
    z = (q @ k.mT).exp() * mask
    return z / z.sum(-1, keepdim=True)


def raises(self, q, k, mask, state):
    raise RuntimeError("not today\nnor tomorrow")


METHODS = [
    (rows(lambda q, k, mask: p_of(q, k, mask)[:, 0]), r"shape \(2, 12, 12\)"),
    (rows(lambda q, k, mask: p_of(q, k, mask).mT), r"required \(B, H, Q, K\)"),
    (rows(lambda q, k, mask: math.nan * p_of(q, k, mask)), "some are NaN under the mask full"),
    (method(divides), "a row whose sum is 0"),
    (method(overflows), "not finite where queries and keys are large"),
    (rows(lambda q, k, mask: 2 * p_of(q, k, mask) - mask / mask.sum(-1, keepdim=True)), "rows_are_signed"),
    (rows(lambda q, k, mask: 5 * p_of(q, k, mask)), "they sum to 5; divide each row"),
    (rows(lambda q, k, mask: (q @ k.mT).softmax(-1)), "a masked key gets 0.* multiply by the mask"),
    (rows(lambda q, k, mask: (q @ k.mT).softmax(-1) * mask), "divide each row by its sum"),
    (method(writes), "weights writes to what it is given; make new tensors"),
    (method(writes_mask), "weights writes to what it is given; make new tensors"),
    (method(counts), "something else for the same inputs; keep nothing between calls"),
    (rows(lambda q, k, mask: p_of(q + torch.randn(4), k, mask)), "take random numbers from what is passed"),
    (method(assigns), "cannot assign to field 'last': an entry keeps nothing between calls"),
    (rows(lambda q, k, mask: p_of(q / q.norm().item(), k, mask)), r"a value is looked at.*x\.item\(\)"),
    (rows(lambda q, k, mask: p_of(q * torch.ones(1, device="cuda:9"), k, mask)), "make tensors by device=q.device"),
    (method(registers), r"an entry is no nn\.Module; .* init_buffers"),
    (method(detaches), r"no gradient reaches .* \(test_wrong_entries\.py:\d+ in weights\)"),
    (method(branches), "Python branches on a tensor.*torch.where"),
    (method(indexes), r"a shape depends on values.*torch.where"),
    (rows(lambda q, k, mask: p_of(q.double(), k.double(), mask)), "float64 from queries in torch.float32; .*q.dtype"),
    (rows(lambda q, k, mask: p_of(q, k, mask).half()), "float16 from .*q.dtype"),
    (method(lambda self, q, k, mask, state: p_of(q / self.heat, k, mask)), "AttributeError: .*no attribute 'heat'"),
    (
        method(lambda self, q, k, mask, state: p_of(q / state["tau"], k, mask)),
        "state has no 'tau', it has step; init_params or",
    ),
    (method(raises), "RuntimeError: not today"),
    (rows(lambda q, k, mask: sys.exit(3)), "SystemExit: 3"),
    (rows(lambda q, k, mask: None), "weights gives nothing: a return is missing"),
    (rows(lambda q, k, mask: (p_of(q, k, mask), q)), "a tuple of Tensor, Tensor, required P"),
    (rows(lambda q, k, mask: np.ones(3)), "a ndarray, required P"),
    (method(lambda self, q, k, mask, state: self.weights(q, k, mask, state)), "RecursionError"),
    (method(normalize=lambda self, q, k, state: q), r"normalize gives a tensor, required queries and keys"),
    (method(linear=lambda self, role: None if role == ROLES[0] else Softmax.linear(self, role)), "required a Linear"),
    (method(init_buffers=lambda self, heads, draw: {"w": torch.randn(3)}), r"draw them by draw\(name, shape\)"),
    (method(init_params=lambda self, heads: {"w": 1.0}), "init_params gives a float as 'w', required a tensor"),
    (made(Method, weight=raises), "must override `weights`"),
]


def sgd(p, grad, knobs):
    return p - knobs["lr"] * grad


def optimizer(update, **functions):
    return made(Optimizer, update=update, knobs=("lr",), **functions)


def steps(of, **functions):
    """An optimizer whose step is this."""
    return optimizer(lambda self, name, p, grad, state, knobs, step: of(p, grad, state, knobs, step), **functions)


def steps_in_place(self, name, p, grad, state, knobs, step):
    p -= knobs["lr"] * grad
    return p, state


OPTIMIZERS = [
    (made(Optimizer), "must override `update`"),
    (steps(lambda p, grad, state, knobs, step: sgd(p, grad, knobs)), r"required the parameter and its state"),
    (optimizer(steps_in_place), "update writes to what it is given"),
    (steps(lambda p, grad, state, knobs, step: (sgd(p, grad, knobs), {"m": grad})), "the state of .* is m"),
    (
        steps(lambda p, grad, state, knobs, step: (p if step == 0 else sgd(p, grad, knobs), state)),
        "branches on a tensor",
    ),
    (steps(lambda p, grad, state, knobs, step: (p * knobs["gamma"], state)), "knobs has no 'gamma', it has lr,"),
    (steps(lambda p, grad, state, knobs, step: (sgd(p, state["m"], knobs), state)), "state has no 'm'.*init must"),
    (steps(lambda p, grad, state, knobs, step: (sgd(p.double(), grad, knobs), state)), "float32 are in torch.float64"),
    (steps(lambda p, grad, state, knobs, step: (sgd(p, grad, knobs).flatten(), state)), r"is \(12,\)"),
    (steps(lambda p, grad, state, knobs, step: (torch.linalg.svd(grad)[0], state)), r"for .*bias of shape \(5,\)"),
    (steps(lambda p, grad, state, knobs, step: (sgd(p, grad / grad.norm(), knobs), state)), "parameters of zero"),
    (
        steps(lambda p, grad, state, knobs, step: (sgd(p, grad, knobs), state), init=lambda self, name, p: {"n": 0}),
        "init gives an int as 'n'",
    ),
    (
        steps(lambda p, grad, state, knobs, step: print(step) or (sgd(p, grad, knobs), state)),
        r"\d+ lines, the first is 'tensor",
    ),
]

SCHEDULES = [
    (made(Schedule), "must override `decay`"),
    (
        made(Schedule, decay=lambda self, progress, *_: (1 + math.cos(math.pi * progress)) / 2),
        "a value is looked at.*math",
    ),
    (made(Schedule, decay=lambda self, progress, *_: 1.0 if progress < 0.5 else 0.1), "branches on a tensor"),
    (made(Schedule, decay=lambda self, progress, *_: 0.5 - progress), "0.5 at step 0 .*, required 1"),
]


def probe(measure=None, **of_quantity):
    whole = {"title": "t", "unit": "1", "low": 0.0, "high": lambda n: 1.0, "definition": "d", "per_layer": True}
    functions = {} if measure is None else {"measure": lambda self, layer: {"a": measure(layer)}}
    return made(Probe, quantities={"a": Quantity(**whole | of_quantity)}, **functions)


def largest(layer):
    return layer.mean_over_rows(layer.p_BHQK.amax(dim=-1))


PROBES = [
    (probe(), "must override `measure`"),
    (made(Probe, measure=lambda self, layer: {}), "declares no quantity"),
    (
        made(Probe, quantities=probe().quantities, measure=lambda self, layer: {"b": largest(layer)}),
        "measures b; declares a",
    ),
    (probe(lambda layer: largest(layer).item()), r"a is a float, required a tensor, on which \.item\(\)"),
    (probe(lambda layer: layer.p_BHQK.mean(-1)), "required a scalar"),
    (probe(lambda layer: layer.z_BHQK.amax()), r"not in \[0.0, 1.0\]"),
    (probe(lambda layer: layer.p_BHQK.amax(-1).mean()), "rows of padding change a; take means by layer.mean_over_rows"),
    (probe(lambda layer: largest(layer) if layer.p_BHQK.max() > 0.5 else 0 * largest(layer)), "branches on a tensor"),
    (probe(largest, high=1.0), "high is a float, required a function of the number of keys"),
    (probe(largest, title=""), "title, unit and definition must not be empty"),
    (probe(lambda layer: layer.weights.mean()), "no attribute 'weights'"),
]


def workload(**functions):
    made_class = type(made(InContextRegression, **functions))
    return made_class(**SMALL)


def changed(of, change):
    """A workload of which what a function gives is changed."""
    plain = getattr(InContextRegression, of)
    return workload(**{of: lambda self, *passed: change(plain(self, *passed))})


WORKLOADS = [
    (made(Workload), "must override `attention_layers`"),
    (
        changed("batches", lambda batches: {name: torch.randn_like(t) for name, t in batches.items()}),
        "by bench.randomness",
    ),
    (
        changed("batches", lambda batches: {name: t[:, 0] for name, t in batches.items()}),
        r"of 3 steps and 2 seeds, required",
    ),
    (changed("loss", lambda forward: forward.loss), "required a bench.workloads.base.Forward"),
    (
        changed("loss", lambda forward: forward._replace(loss=forward.loss.expand(3))),
        r"loss is a tensor \(3,\), required a scalar",
    ),
    (changed("loss", lambda forward: forward._replace(watched=[])), "watched: 0, stated: 1; pass `method`"),
    (changed("loss", lambda forward: forward._replace(loss=math.nan * forward.loss)), "the loss at the start is nan"),
    (
        changed("loss", lambda forward: forward._replace(objective=forward.objective * (2 if forward.loss > 3 else 1))),
        "branches on a",
    ),
    (changed("init", lambda made: made[0]), r"init gives a dict, required .* \(params, buffers\)"),
    (
        changed("init", lambda made: ({name: torch.randn_like(t) for name, t in made[0].items()}, made[1])),
        "draw them by draw",
    ),
    (workload(num_keys=property(lambda self: 3)), "num_keys is 3; the longest sequence of attention has"),
    (
        workload(
            init=lambda self, method, draw, scale: InContextRegression.init(self, method, draw, torch.ones_like(scale))
        ),
        "init_scale changes nothing",
    ),
    (
        workload(loss=lambda self, method, *passed: InContextRegression.loss(self, Softmax(), *passed)),
        "pass it on to the layers",
    ),
]
CASES = {"methods": METHODS, "optimizers": OPTIMIZERS, "schedules": SCHEDULES, "probes": PROBES, "workloads": WORKLOADS}


@pytest.mark.parametrize(
    ("field", "entry", "words"),
    [pytest.param(field, entry, words, id=f"{field}-{words}") for field in CASES for entry, words in CASES[field]],
)
def test_what_is_wrong_is_said_in_one_line(field, entry, words):
    (failed,) = [found for found in check_entry(field, entry) if not found.has_passed]
    assert re.search(words, failed.text), failed.text
    assert "\n" not in failed.text
