"""A recorded graph is make_fx's, and what it computes is what the function does, for any values."""

import dataclasses
import gc
import subprocess
import sys
import weakref

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from bench.methods import METHODS
from bench.optimizers import OPTIMIZERS
from bench.training.pack import Pack
from bench.training.recording import record
from bench.training.train import PackRun
from tests.repetitions import one_of_each_kind
from tests.trials import language_trial, trial

X = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


def training(one, *, num_lanes: int):
    """A step of training as a function of tensors, and these."""
    run = PackRun(Pack(trials=tuple(dataclasses.replace(one, seed=seed) for seed in range(num_lanes))))
    arguments = (run._lanes, run._chunk, run._knobs, run._counters["step"])
    leaves, spec = pytree.tree_flatten(arguments)
    return lambda *flat: pytree.tree_leaves(run._stacked.train(*pytree.tree_unflatten(list(flat), spec))), leaves


def operations(graph) -> list:
    return [node.target for node in graph.nodes if node.op == "call_function"]


def assert_is_make_fx(function, leaves) -> None:
    with torch.no_grad():
        expected = make_fx(function, tracing_mode="real")(*leaves)
        expected.graph.eliminate_dead_code()
        recorded = record(function, leaves)
        assert operations(recorded.graph) == operations(expected.graph)
        for one, other in zip(recorded(*leaves), function(*leaves), strict=True):
            assert torch.equal(one.nan_to_num(), other.nan_to_num())


@pytest.mark.parametrize("method", one_of_each_kind(METHODS, {"qk_clip", "qk_layernorm_gradient_clipped"}))
def test_it_is_the_graph_of_make_fx_for_every_method(method):
    assert_is_make_fx(*training(trial(method=method), num_lanes=2))


@pytest.mark.parametrize("optimizer", one_of_each_kind(OPTIMIZERS, {"adam"}))
def test_it_is_the_graph_of_make_fx_for_every_optimizer(optimizer):
    assert_is_make_fx(*training(trial(optimizer=optimizer), num_lanes=1))


@pytest.mark.repetition
@pytest.mark.parametrize(
    ("settings", "num_lanes"),
    [
        ({"dropout": 0.1}, 1),
        ({"dropout": 0.1}, 2),
        ({"checkpointing": True}, 1),
        ({"model": "llama_1m", "depth": 1}, 2),
    ],
)
def test_it_is_the_graph_of_make_fx_for_a_language_model(settings, num_lanes):
    assert_is_make_fx(*training(language_trial(workload_params=settings), num_lanes=num_lanes))


def test_what_a_node_gives_is_told_without_values():
    graph = record(lambda x: [x.max(dim=-1).values.to(torch.int64)], [X]).graph
    (values,) = (node for node in graph.nodes if node.target is torch.ops.aten._to_copy.default)
    assert (values.meta["val"].shape, values.meta["val"].dtype) == ((2,), torch.int64)
    assert all(
        node.meta["val"].device.type == "meta" for node in graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)
    )


def test_what_reaches_no_output_is_left_out():
    def wasteful(x):
        x.exp().sum()
        return [x + 1]

    assert operations(record(wasteful, [X]).graph) == [torch.ops.aten.add.Tensor]


def test_an_argument_and_a_constant_may_be_outputs():
    elsewhere = torch.arange(3)
    same, constant = record(lambda x: [x, elsewhere], [X])(X + 1)
    assert torch.equal(same, X + 1)
    assert torch.equal(constant, elsewhere)


def test_what_is_written_in_place_starts_afresh_at_every_call():
    def counted(x):
        total = torch.tensor(1.0)
        row = x.clone()[0]
        row.mul_(2)
        return [total.add_(x.sum()), row]

    graph = record(counted, [X])
    for scale in (1.0, 2.0, 2.0):
        for one, other in zip(graph(X * scale), counted(X * scale), strict=True):
            assert torch.equal(one, other)


def test_casts_of_autocast_are_in_the_graph():
    """Also of a tensor that was cast before, in the same region."""

    def product(x):
        return [x @ x.mT]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = X.clone().requires_grad_()
        product(weight)
        graph = record(product, [weight])
    (given,) = graph(X + 1)
    assert torch.equal(given, (X + 1).bfloat16() @ (X + 1).mT.bfloat16())


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x * x.sum().item()],
        lambda x: [x if x[0, 0] > 0 else -x],
        lambda x: [x * float(torch.zeros(1).add_(x[0, 0]))],
        lambda x: [x * float(torch.rand(1))],
    ],
)
def test_a_function_that_looks_at_values_is_refused(function):
    with pytest.raises(RuntimeError, match=r"value out of a tensor.*torch\.where"):
        record(function, [X])


def test_a_view_of_what_was_written_to_is_no_constant():
    def through_a_view(x):
        total = torch.zeros(2)
        first = total[0]
        total.copy_(x[:, 0])
        return [x * float(first)]

    with pytest.raises(RuntimeError, match="value out of a tensor"):
        record(through_a_view, [X])


def test_values_of_constants_may_be_looked_at():
    elsewhere = torch.tensor(3.0)
    graph = record(lambda x: [x * elsewhere.item() * torch.arange(3).sum().item() * torch.tensor(2.0).item()], [X])
    assert torch.equal(graph(X)[0], X * 3 * 3 * 2)


@pytest.mark.whole
def test_values_between_are_freed_while_recording():
    kept = []

    def two_steps(x):
        between = x.exp()
        kept.append(weakref.ref(between))
        out = between.sum()
        del between
        gc.collect()
        assert kept[0]() is None
        return [out]

    record(two_steps, [X])


@pytest.mark.whole
def test_training_a_pack_imports_no_compiler():
    """Dynamo, which takes seconds of every process that trains."""
    script = (
        "import sys\nfrom bench.training.pack import Pack\nfrom bench.training.train import train_pack\n"
        "from bench.training.step_cost import step_cost\nfrom tests.trials import trial\n"
        "train_pack(Pack(trials=(trial(), trial(seed=1))))\nstep_cost(trial())\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, text=True, stdout=subprocess.PIPE)
    assert done.stdout == "False\n"
