"""What is tried of an entry before all else: that its functions are there and give what is theirs, alike at each call.

All other properties rest on these: where one fails, the others are not tried.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch.utils import _pytree as pytree

from bench.lazy import torch
from bench.methods.linear import ROLES, Linear
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.optimizers.base import Optimizer
from bench.optimizers.schedules import Schedule
from bench.probes import build_probes
from bench.probes.base import Probe, measured_by
from bench.testing.method_case import MethodCase
from bench.testing.optimizer_steps import draws, knobs_at, scalar
from bench.testing.properties import Property, require
from bench.testing.workload_steps import batch_at, program_of, started
from bench.trace import Quantity
from bench.workloads.base import Forward, Workload

if TYPE_CHECKING:
    from torch import Tensor

AGAIN = "keep nothing between calls, and take random numbers from what is passed"


class Passed(dict):
    """What a function gets by name; a name that it has not is an answer, not a KeyError."""

    def __init__(self, named: Mapping[str, Any], what: str, advice: str) -> None:
        super().__init__(named)
        self.what, self.advice = what, advice

    def __missing__(self, name: str) -> Any:
        there = ", ".join(map(str, self)) or "nothing"
        require(False, f"{self.what} has no {name!r}, it has {there}; {self.advice}")


def a_method_gives_weights(case: MethodCase) -> str:
    """Tensors from queries and keys, which stay what they are; layers' parametrisations; the same twice."""
    method, mask = case.method, case.masks["causal"]
    for of, given in (("init_params", method.init_params(case.heads)), ("init_buffers", case.fixed(1))):
        _require_tensors(given, f"{of} gives", of)
    _require_alike(case.fixed(1), case.fixed(1), "init_buffers", "draw them by draw(name, shape)")
    for role in (*ROLES, *method.roles):
        linear = method.linear(role)
        require(isinstance(linear, Linear), f"linear({role!r}) gives {_kind(linear)}, required a Linear", "linear")
    state = Passed(case.state(1) | mask.state, "state", "init_params or init_buffers must give it")
    q_BHQD, k_BHKD = case.queries_and_keys(0, mask)
    normalized = method.normalize(q_BHQD, k_BHKD, state)
    is_pair = isinstance(normalized, tuple) and len(normalized) == 2
    require(is_pair, f"normalize gives {_kind(normalized)}, required queries and keys, (q, k)", "normalize")
    restricted = method.restrict(mask)
    inputs = (*case.prepared(q_BHQD, k_BHKD, state), restricted.allowed_B1QK.clone(), state)
    given = _called_twice(method.weights, inputs, "weights")
    require(isinstance(given, torch.Tensor), f"weights gives {_kind(given)}, required P, a tensor (B, H, Q, K)")
    return f"P of {tuple(given.shape)}, twice alike"


def an_optimizer_gives_a_parameter_and_its_state(optimizer: Optimizer) -> str:
    """An optimizer updates each kind of tensor that models have; its inputs stay what they are; the same twice."""
    knobs = Passed(knobs_at(scalar(1.0), 0.1, 0.1), "knobs", "a constant of your own is a field of the class")
    params, grads = draws(0), draws(1)
    for name, p in params.items():
        try:
            state = optimizer.init(name, p)
            _require_tensors(state, "init gives", "init")
            inputs = (name, p, grads[name], Passed(state, "state", "init must give it"), knobs, torch.tensor(1))
            given = _called_twice(optimizer.update, inputs, "update")
        except Exception as error:
            error.add_note(f"for {name} of shape {tuple(p.shape)}")
            raise
        is_pair = isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], torch.Tensor)
        require(is_pair, f"update gives {_kind(given)}, required the parameter and its state, (p, state)")
        _require_tensors(given[1], "update gives with the parameter", "update")
    return f"of {len(params)} parameters, twice alike"


def a_schedule_gives_a_factor(schedule: Schedule) -> str:
    """A tensor, the same twice."""
    given = _called_twice(schedule.factor, (torch.tensor(3), scalar(1.0), 10), "decay")
    require(isinstance(given, torch.Tensor), f"decay makes the factor {_kind(given)}, required a tensor")
    return "twice alike"


def a_probe_measures_what_it_declares(probe: Probe, measure: Callable[[], Any], of: str) -> str:
    """Quantities by name, of which each that is measured is a tensor, the same twice."""
    declared = measured_by([probe])
    require(bool(declared), "declares no quantity that is measured; name them in `quantities`", "quantities")
    for name, quantity in probe.quantities.items():
        require(isinstance(quantity, Quantity), f"{name} is {_kind(quantity)}, required a Quantity", "quantities")
        advice = f"high is {_kind(quantity.high)}, required a function of the number of keys, as lambda num_keys: 1.0"
        require(callable(quantity.high), f"{name}: {advice}", "quantities")
    given, again = measure(), measure()
    require(isinstance(given, Mapping), f"{of} gives {_kind(given)}, required a value for each quantity by name")
    names = ", ".join(declared)
    require(given.keys() == declared.keys(), f"measures {', '.join(given) or 'nothing'}; declares {names}")
    for name, value in given.items():
        is_tensor = isinstance(value, torch.Tensor)
        require(is_tensor, f"{name} is {_kind(value)}, required a tensor, on which .item() was not called")
    _require_alike(given, again, of, AGAIN)
    return f"{names}, twice alike"


def a_workload_makes_a_step(workload: Workload) -> str:
    """Data, a model and its loss, of which each layer of attention is watched; the same twice."""
    layers = workload.attention_layers
    seeds, steps = torch.arange(2), torch.arange(3)
    batches = workload.batches(seeds, steps)
    _require_tensors(batches, "batches gives", "batches")
    for name, tensor in batches.items():
        shape = tuple(tensor.shape)
        require(
            shape[:2] == (3, 2), f"{name} has shape {shape} of 3 steps and 2 seeds, required (3, 2, ...)", "batches"
        )
    advice = "make them of seeds and steps by bench.randomness"
    _require_alike(batches, workload.batches(seeds, steps), "batches", advice)
    made = workload.init(Softmax(), _draw, scalar(1.0))
    is_pair = isinstance(made, tuple) and len(made) == 2
    require(is_pair, f"init gives {_kind(made)}, required what is trained and what is not, (params, buffers)", "init")
    advice = "draw them by draw(name, shape)"
    _require_alike(made, workload.init(Softmax(), _draw, scalar(1.0)), "init", advice)
    lane, batch, mode = started(workload), batch_at(workload, 0), Mode(probes=build_probes(None))
    buffers = program_of(workload).buffers(lane, torch.tensor(0))
    inputs = (Softmax(), lane["params"], buffers, workload.probe_batch(batch), mode)
    given = _called_twice(workload.loss, inputs, "loss")
    require(isinstance(given, Forward), f"loss gives {_kind(given)}, required a bench.workloads.base.Forward")
    for name, value in (("loss", given.loss), ("objective", given.objective)):
        is_scalar = isinstance(value, torch.Tensor) and value.shape == ()
        kind = f"a tensor {tuple(value.shape)}" if isinstance(value, torch.Tensor) else _kind(value)
        require(is_scalar, f"{name} is {kind}, required a scalar, the mean over the batch")
    advice = "pass `method` and `mode` on to the layers, and give what they watched"
    counts = f"layers of attention watched: {len(given.watched)}, stated: {len(layers)}"
    require(len(given.watched) == len(layers), f"{counts}; {advice}")
    return f"a loss of {given.loss.item():.4g}, twice alike"


METHOD_BASICS = {
    "gives weights, the same each time": Property(
        of="weights", check=a_method_gives_weights, is_sampled=True, is_basic=True
    )
}
OPTIMIZER_BASICS = {
    "gives a parameter and its state, the same each time": Property(
        of="update", check=an_optimizer_gives_a_parameter_and_its_state, is_sampled=True, is_basic=True
    )
}
SCHEDULE_BASICS = {
    "gives a factor, the same each time": Property(
        of="decay", check=a_schedule_gives_a_factor, is_sampled=True, is_basic=True
    )
}
WORKLOAD_BASICS = {
    "makes a step, the same each time": Property(of="loss", check=a_workload_makes_a_step, is_basic=True)
}


def probe_basics(of: str, measure: Callable[[Any], Any]) -> dict[str, Property]:
    """Of probes whose function `of` measures what `measure` gives of one."""

    def check(probe: Any) -> str:
        """The check of a probe of this kind."""
        return a_probe_measures_what_it_declares(probe, lambda: measure(probe), of)

    return {
        "measures what it declares, the same each time": Property(of=of, check=check, is_sampled=True, is_basic=True)
    }


def _called_twice(function: Callable[..., Any], inputs: tuple, of: str) -> Any:
    """What the function gives. Raises PropertyError if it writes to its inputs, or gives something else at once."""
    plain = [dict(one) if isinstance(one, Passed) else one for one in inputs]
    tensors = [leaf for leaf in pytree.tree_leaves(plain) if isinstance(leaf, torch.Tensor)]
    before = [tensor._version for tensor in tensors]  # which counts what was written in place
    given = function(*inputs)
    require(
        before == [tensor._version for tensor in tensors],
        f"{of} writes to what it is given; make new tensors, x = x * 2, not x *= 2",
        of,
    )
    _require_alike(given, function(*inputs), of, AGAIN)
    return given


def _require_alike(one: Any, other: Any, of: str, advice: str) -> None:
    require(_alike(one, other), f"{of} gives something else for the same inputs; {advice}", of)


def _alike(one: Any, other: Any) -> bool:
    """Whether two nests are the same, NaN for NaN."""
    pairs = itertools.zip_longest(pytree.tree_leaves(one), pytree.tree_leaves(other))
    return all(
        torch.equal(a.nan_to_num(), b.nan_to_num())
        for a, b in pairs
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
    )


def _require_tensors(given: Any, what: str, of: str) -> None:
    require(isinstance(given, Mapping), f"{what} {_kind(given)}, required a dict of tensors by name", of)
    for name, value in given.items():
        advice = "required a tensor, as torch.tensor(0.0)"
        require(isinstance(value, torch.Tensor), f"{what} {_kind(value)} as {name!r}, {advice}", of)


def _draw(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _kind(value: Any) -> str:
    """Such as a float, nothing, or an array of NumPy."""
    if value is None:
        return "nothing: a return is missing"
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(one).__name__ for one in value)}"
    name = type(value).__name__
    return "a tensor" if isinstance(value, torch.Tensor) else f"a{'n' * (name[0] in 'aeiou')} {name}"
