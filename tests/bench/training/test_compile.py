"""A compiled function equals the eager one, for any values of the shapes that it was made for."""

import math

import pytest
import torch
from torch.utils import _pytree as pytree

from bench.entry import load_class
from bench.methods import METHODS
from bench.optimizers.adam import AdamW
from bench.optimizers.schedules import Cosine
from bench.training.compile import (
    H100,
    MIN_PLAIN_SECONDS_PER_OPERATION,
    Cost,
    Speed,
    compile_for,
    cost,
    new_pool,
    pays,
    repeatable,
    trace,
)
from bench.training.inductor import SMALL_SIZE, Inductor, small_product
from bench.training.lane import LaneProgram
from bench.workloads.in_context_regression import InContextRegression

CPU = torch.device("cpu")
NEVER = Inductor(compiling="never")


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def nested(arguments: dict, scale: torch.Tensor):
    a, (b, c) = arguments["a"], arguments["bc"]
    return {"sum": a + b * scale, "parts": (torch.where(c > 0, c, a).softmax(dim=-1), [scale.clone()])}


def nested_arguments(seed: int) -> tuple:
    return {"a": randn(seed, 3, 2), "bc": (randn(seed + 1, 3, 2), randn(seed + 2, 3, 2))}, randn(seed + 3, 1)


def assert_equal(one, other) -> None:
    assert pytree.tree_structure(one) == pytree.tree_structure(other)
    for a, b in zip(pytree.tree_leaves(one), pytree.tree_leaves(other), strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_compiled_equals_eager_on_new_values():
    compiled, _ = compile_for(CPU, nested, nested_arguments(0), num_calls=1, inductor=NEVER)
    for seed in (0, 10, 20):
        assert_equal(compiled(*nested_arguments(seed)), nested(*nested_arguments(seed)))


def test_the_example_is_what_the_function_gives():
    _, example = compile_for(CPU, nested, nested_arguments(0), num_calls=1, inductor=NEVER)
    assert_equal(example, nested(*nested_arguments(0)))


def test_gradients_under_vmap_compile_to_the_same_values():
    def grads(weights, x):
        return torch.func.vmap(torch.func.grad(lambda w, x: (x @ w).square().sum()), in_dims=(0, None))(weights, x)

    compiled, _ = compile_for(CPU, grads, (randn(0, 4, 3, 2), randn(1, 5, 3)), num_calls=1, inductor=NEVER)
    assert_equal(compiled(randn(2, 4, 3, 2), randn(3, 5, 3)), grads(randn(2, 4, 3, 2), randn(3, 5, 3)))


def test_arguments_are_not_written_and_outputs_carry_no_gradient():
    arguments = nested_arguments(0)
    compiled, _ = compile_for(CPU, nested, arguments, num_calls=1, inductor=NEVER)
    arguments[0]["a"].requires_grad_()
    out = compiled(*arguments)
    assert not any(leaf.requires_grad for leaf in pytree.tree_leaves(out))
    assert_equal([leaf.detach() for leaf in pytree.tree_leaves(arguments)], pytree.tree_leaves(nested_arguments(0)))


@pytest.mark.parametrize("name", ["softmax", "relu_kernel", "qk_layernorm_weight_clipped", "sigma_reparam_qk"])
def test_a_compiled_train_step_equals_the_eager_one(name):
    """Of two lanes, three steps; exactly: the same operations in the same order."""
    workload = InContextRegression(batch_size=4, num_pairs=5, dimension=2, depth=1, num_steps=5)
    program = LaneProgram(workload=workload, method=load_class(METHODS[name])(), optimizer=AdamW(), schedule=Cosine())
    seeds = torch.tensor([0, 1])
    lanes = torch.func.vmap(program.start)(seeds, torch.ones(2))
    knobs = {"lr": [0.1, 0.2], "warmup_steps": [0.0, 2.0], "weight_decay": [0.0, 0.1], "grad_clip": [1.0, float("inf")]}
    knobs = {knob: torch.tensor(values) for knob, values in knobs.items()}
    step_lanes = torch.func.vmap(program.train, in_dims=(0, 0, 0, None))

    def batch(step: int) -> dict[str, torch.Tensor]:
        return {key: tensor[0] for key, tensor in workload.batches(seeds, torch.tensor([step])).items()}

    compiled, _ = compile_for(CPU, step_lanes, (lanes, batch(0), knobs, torch.tensor(0)), num_calls=1, inductor=NEVER)
    for step in range(3):
        arguments = (lanes, batch(step), knobs, torch.tensor(step))
        expected = step_lanes(*arguments)
        assert_equal(compiled(*arguments), expected)
        lanes = expected[0]


def test_a_repeated_body_runs_once_a_call_and_warmup_runs_nothing_on_cpu():
    counter = torch.zeros(1)
    once = repeatable(CPU, lambda: counter.add_(1), lambda: pytest.fail("no warmup is needed"), new_pool(CPU))
    for calls in (1, 2, 3):
        once()
        assert counter.item() == calls


def cost_of(function, *arguments: torch.Tensor) -> Cost:
    return cost(trace(function, arguments)[0])


def test_cost_counts_what_is_read_written_and_multiplied():
    """Of float32, 4 bytes a number. Views cost nothing."""
    a, b = randn(0, 3, 4), randn(1, 4, 5)
    assert cost_of(lambda a: (a.mT.exp() + 1).mT[0], a) == Cost(num_operations=2, num_bytes=4 * 4 * 12, flops=0)
    assert cost_of(lambda a, b: a @ b, a, b) == Cost(num_operations=1, num_bytes=4 * (12 + 20 + 15), flops=2 * 60)
    batched = cost_of(torch.bmm, randn(0, 2, 3, 4), randn(1, 2, 4, 5))
    assert batched == Cost(num_operations=1, num_bytes=2 * 4 * (12 + 20 + 15), flops=2 * 2 * 60)


def test_an_operation_with_several_results_is_one():
    """The largest of each of 3 rows, and where it is in 8 bytes."""
    found = cost_of(lambda a: [x.neg() for x in a.max(dim=-1)], randn(0, 3, 4))
    assert found == Cost(num_operations=3, num_bytes=(4 * 12 + 3 * (4 + 8)) + 2 * 3 * (4 + 8), flops=0)


def test_estimated_time_is_that_of_launches_and_of_work():
    small = Cost(num_operations=1000, num_bytes=1000, flops=1000)
    large = Cost(num_operations=10, num_bytes=2**40, flops=2**50)
    speed = Speed(seconds_per_operation=1e-3, bytes_per_second=2**30, flops_per_second=2**50)
    assert (small.overhead_seconds(speed), large.overhead_seconds(speed)) == (1.0, 0.01)
    assert large.work_seconds(speed) == 2**10 + 1


def test_compiling_pays_after_enough_calls_and_sooner_where_a_call_does_more():
    """Where launches take all the time, whatever the number of operations."""
    enough = math.ceil(MIN_PLAIN_SECONDS_PER_OPERATION / H100.seconds_per_operation)
    for num_operations in (1, 1000):
        small = Cost(num_operations=num_operations, num_bytes=0, flops=0)
        assert [pays(small, num_calls=n) for n in (enough - 1, enough + 1)] == [False, True]
        large = Cost(num_operations=num_operations, num_bytes=2**40, flops=0)
        assert pays(large, num_calls=enough - 1)


@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((2, 3, 16), (2, 16, 5)), ((3, 1), (1, 1)), ((2, 99), (99, 3))])
def test_asmall_product_equals_the_matrix_product(shapes):
    a, b = (randn(seed, *shape).double() for seed, shape in enumerate(shapes))
    torch.testing.assert_close(small_product(a, b), a @ b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("large", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_a_product_of_which_two_sizes_are_large_is_left_to_matrix_kernels(large):
    rows, inner, columns = (SMALL_SIZE + 1 if size in large else 2 for size in range(3))
    assert small_product(randn(0, rows, inner), randn(1, inner, columns)) is NotImplemented
