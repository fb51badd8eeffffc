"""What every optimizer keeps to: OPTIMIZER_PROPERTIES, by what they say."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from torch.utils import _pytree as pytree

from bench.entry import parameters
from bench.lazy import torch
from bench.optimizers.base import Optimizer
from bench.optimizers.layers import over_layers
from bench.testing.basics import OPTIMIZER_BASICS
from bench.testing.optimizer_steps import (
    NO_MATRICES,
    SHAPES,
    constants_of,
    draws,
    knobs_at,
    scalar,
    start,
    stepped,
    trained,
)
from bench.testing.properties import Property, is_finite, require, require_close, stacked
from bench.testing.variants import ignored_parameters, other_values, untried_parameters

if TYPE_CHECKING:
    from torch import Tensor

FIRST_STEPS = 8  # enough for what acts after a few: RAdam adapts from its sixth on


def state_keeps_its_structure(optimizer: Optimizer) -> str:
    """Names, shapes and dtypes of parameters and state stay after a step, which writes to none of its inputs."""
    params, grads = draws(0), draws(1)
    state = start(optimizer, params)
    after, new = stepped(optimizer, params, grads, state, knobs_at(scalar(1.0), 0.1, 0.1), 0)
    for what, trees in (("the parameter", (params, after)), ("the state", (state, new))):
        for key in SHAPES:
            before, now = (_described(tree[key]) for tree in trees)
            require(before == now, f"{what} of {key} is {now} after a step, {before} before")
    written = [(params, draws(0)), (grads, draws(1)), (state, start(optimizer, params))]
    for tree, fresh in written:
        require_close(tree, fresh, "inputs after a step and before", rtol=0, atol=0)
    require(is_finite((after, new)), "not finite after a step")
    return f"{len(pytree.tree_leaves(state))} tensors of state for {len(SHAPES)} parameters"


def lanes_equal_separate_runs(optimizer: Optimizer) -> str:
    """Three lanes with their own parameters, learning rates and weight decays, in one precision throughout."""
    return [_lanes(optimizer, dtype) for dtype in (torch.float32, torch.float64)][1]


def _lanes(optimizer: Optimizer, dtype: torch.dtype) -> str:
    by_lane = {"lr": [1e-3, 0.1, 0.5], "lr_factor": [0.2, 1.0, 0.7], "weight_decay": [0.0, 0.1, 0.01]}
    knobs = {key: torch.tensor(values, dtype=dtype) for key, values in by_lane.items()}
    models: list[Any] = [(draws(seed, dtype), start(optimizer, draws(seed, dtype))) for seed in range(3)]
    together = stacked(models)
    for step in range(5):
        grads = draws(10 + step, dtype)

        def update(params: Any, state: Any, own: Any, grads: Any = grads, step: int = step) -> Any:
            return stepped(optimizer, params, grads, state, own, step)

        together = torch.func.vmap(update)(together[0], together[1], knobs)
        own = [{key: values[lane] for key, values in knobs.items()} for lane in range(3)]
        models = [update(params, state, own[lane]) for lane, (params, state) in enumerate(models)]
    dtypes = {leaf.dtype for leaf in pytree.tree_leaves(together[0])}
    require(dtypes == {dtype}, f"parameters in {dtype} are in {', '.join(map(str, dtypes))} after a step")
    rtol, atol = (1e-4, 1e-6) if dtype == torch.float32 else (1e-11, 1e-13)
    return require_close(together, stacked(models), f"lanes in {dtype} together and alone", rtol=rtol, atol=atol)


def steps_together_equal_one_after_the_other(optimizer: Optimizer) -> str:
    """The number of the step is a tensor, whose value decides nothing in Python: a compiled step is used for all."""
    params, grads, knobs = draws(0), draws(1), knobs_at(scalar(1.0), 0.1, 0.1)
    state, steps = start(optimizer, params), torch.arange(FIRST_STEPS)

    def at(step: Tensor) -> Any:
        return {key: optimizer.update(key, p, grads[key], state[key], knobs, step) for key, p in params.items()}

    alone = stacked([at(step) for step in steps])
    return require_close(torch.func.vmap(at)(steps), alone, "steps together and alone", rtol=1e-11, atol=1e-13)


def layers_at_once_equal_layer_by_layer(optimizer: Optimizer) -> str:
    """Start, step and evaluated weights of three layers' tensors."""
    layers = [draws(seed) for seed in range(3)]
    knobs, evidence = knobs_at(scalar(0.5), 0.1, 0.1), ""
    for key in (key for key in SHAPES if key.startswith("layers")):

        def run(p: Tensor, grad: Tensor, key: str = key) -> Any:
            state = optimizer.init(key, p)
            for step in range(3):
                p, state = optimizer.update(key, p, grad, state, knobs, torch.tensor(step))
            return p, state, optimizer.evaluated(key, p, state)

        at_once = torch.stack([layer[key] for layer in layers])
        expected = stacked([run(layer[key], layer[key].cos()) for layer in layers])
        actual = over_layers(run, key, at_once, at_once.cos())
        evidence = require_close(actual, expected, f"layers of {key} at once and one by one", rtol=1e-11, atol=1e-13)
    return evidence


def constants_may_differ_between_lanes(optimizer: Optimizer) -> str:
    """Constants that are floats may be tensors, one value a lane: suites vary them as knobs."""
    constants = [key for key in constants_of(optimizer) if isinstance(getattr(optimizer, key), float)]
    declared = parameters(type(optimizer))
    changed = {key: next(other_values(declared[key][0], getattr(optimizer, key))) for key in constants}
    by_lane = {key: torch.stack([scalar(getattr(optimizer, key)), scalar(changed[key])]) for key in constants}
    before, grads, knobs = draws(0), [draws(1 + step) for step in range(FIRST_STEPS)], knobs_at(scalar(1.0), 0.1, 0.1)

    def run(**own: Any) -> Any:
        entry = dataclasses.replace(optimizer, **own)
        params, state = before, start(entry, before)
        for step in range(FIRST_STEPS):
            params, state = stepped(entry, params, grads[step], state, knobs, step)
        return params, {key: entry.evaluated(key, p, state[key]) for key, p in params.items()}

    if not constants:
        return "there are none"
    together = torch.func.vmap(lambda own: run(**own))(by_lane)
    what = "constants as tensors and as numbers"
    require_close(together, stacked([run(), run(**changed)]), what, rtol=1e-11, atol=1e-13)
    return ", ".join(constants)


def zeros_leave_all_finite(optimizer: Optimizer) -> str:
    """Gradients and parameters of zero, which biases start at; the first gradient that is none moves them."""
    for dtype in (torch.float32, torch.float64):
        params = {key: torch.zeros_like(p) for key, p in draws(0, dtype).items()}
        zeros, state = params, start(optimizer, params)
        knobs = {key: value.to(dtype) for key, value in knobs_at(scalar(1.0), 0.1, 0.1).items()}
        for step, grads in enumerate([zeros, zeros, draws(1, dtype), zeros, draws(2, dtype)]):
            params, state = stepped(optimizer, params, grads, state, knobs, step)
            require(is_finite((params, state)), f"not finite after step {step} from parameters of zero in {dtype}")
            still = [key for key, shape in SHAPES.items() if shape and not params[key].any()]
            require(step < 2 or not still, f"a gradient does not move what starts at zero: {', '.join(still)}")
    return "5 steps in float32 and float64"


def every_parameter_changes_training(optimizer: Optimizer) -> str:
    """For each declared parameter some other value changes the first steps."""
    ignored = ignored_parameters(optimizer, lambda entry: trained(entry, 0, 0.1, 0.1, FIRST_STEPS))
    require(not ignored, f"no other value of {', '.join(sorted(ignored))} changes a step")
    untried = untried_parameters(optimizer) & {*constants_of(optimizer)}
    return f"not tried: {', '.join(sorted(untried))}" if untried else "all that are declared"


class Recorded(dict):
    """Knobs that remember which were read."""

    def __init__(self, knobs: dict[str, Tensor]) -> None:
        super().__init__(knobs)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Tensor:
        self.read.add(key)
        return super().__getitem__(key)


def knobs_are_those_that_are_read(optimizer: Optimizer) -> str:
    """`knobs` names what `update` reads, no more and no less."""
    params, knobs = draws(0), Recorded(knobs_at(scalar(1.0), 0.1, 0.1))
    stepped(optimizer, params, draws(1), start(optimizer, params), knobs, 0)
    read, named = (", ".join(sorted(names)) for names in (knobs.read, optimizer.knobs))
    require(read == named, f"update reads {read or 'none'}; declare `knobs` so, it names {named or 'none'}")
    return read


def knobs_change_what_they_should(optimizer: Optimizer) -> str:
    """The learning rate every tensor, weight decay those that decay: no gains, biases or scalars of methods."""
    knobs = {"lr": 0.1, "weight_decay": 0.1}
    for knob in knobs:
        one, other = (trained(optimizer, 0, **(knobs | {knob: value}), num_steps=1)[0] for value in (0.1, 0.2))
        changed = {key for key in SHAPES if not torch.equal(one[key], other[key])}
        expected = (
            set(SHAPES) - set(NO_MATRICES if knob == "weight_decay" else ()) if knob in optimizer.knobs else set()
        )
        advice = "; derive from bench.optimizers.decay:Decaying" if knob == "weight_decay" else ""
        require(changed >= expected, f"{knob} does not change {', '.join(sorted(expected - changed))}{advice}")
        require(changed <= expected, f"{knob} changes {', '.join(sorted(changed - expected))}, too{advice}")
    return ", ".join(optimizer.knobs)


OPTIMIZER_PROPERTIES: dict[str, Property] = {
    **OPTIMIZER_BASICS,
    "state keeps its structure, inputs their values": Property(
        of="update", check=state_keeps_its_structure, is_sampled=True, is_basic=True
    ),
    "lanes equal separate runs": Property(of="update", check=lanes_equal_separate_runs, is_basic=True),
    "steps together equal one after the other": Property(
        of="update", check=steps_together_equal_one_after_the_other, is_basic=True
    ),
    "layers at once equal layer by layer": Property(of="update", check=layers_at_once_equal_layer_by_layer),
    "constants may differ between lanes": Property(of="update", check=constants_may_differ_between_lanes),
    "zeros leave all finite": Property(of="update", check=zeros_leave_all_finite),
    "every parameter changes training": Property(of="update", check=every_parameter_changes_training),
    "knobs are those that are read": Property(of="update", check=knobs_are_those_that_are_read),
    "knobs change what they should": Property(of="update", check=knobs_change_what_they_should),
}


def _described(tree: Any) -> str:
    leaves = {
        name: (tuple(t.shape), str(t.dtype)) for name, t in (tree if isinstance(tree, dict) else {"": tree}).items()
    }
    return ", ".join(f"{name} {shape} {dtype}".strip() for name, (shape, dtype) in leaves.items()) or "none"
