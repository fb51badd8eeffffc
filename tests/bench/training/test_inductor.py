"""Where Inductor fails, what was traced runs as it is, a warning says why, and nothing is tried twice in vain."""

import dataclasses
import shutil
from collections import Counter

import pytest
import torch
from torch._inductor import lowering

from bench.training.compile import compile_for
from bench.training.inductor import Inductor, apart, cause
from bench.training.pack import Pack
from bench.training.train import PackRun
from tests.trials import trial

pytestmark = pytest.mark.filterwarnings("default")  # Inductor warns on its own account
CPU = torch.device("cpu")
TRIED: Counter[str] = Counter()  # how often Inductor came upon each of the operations below


def operation(name: str, error: Exception):
    """An operation that runs, and at which Inductor raises."""
    double = torch.library.custom_op(f"tests::{name}", lambda x: x * 2, mutates_args=(), schema="(Tensor x) -> Tensor")
    double.register_fake(torch.empty_like)

    def lower(x):
        TRIED[name] += 1
        raise error

    lowering.register_lowering(getattr(torch.ops.tests, name))(lower)
    return double


UNKNOWN = operation("unknown", NotImplementedError("no kernel in /opt/folder/file.py for\x1b[31m this\nsecond line"))
TOO_LARGE = operation("too_large", torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))


def miscompiled(name: str):
    """An operation that runs, and of which Inductor makes another: it triples where that doubles."""
    double = torch.library.custom_op(f"tests::{name}", lambda x: x * 2, mutates_args=(), schema="(Tensor x) -> Tensor")
    double.register_fake(torch.empty_like)
    lowering.register_lowering(getattr(torch.ops.tests, name))(
        lambda x: lowering.lowerings[torch.ops.aten.mul.Tensor](x, 3)
    )
    return double


def doubled(double, inductor: Inductor) -> torch.Tensor:
    def work(x: torch.Tensor) -> torch.Tensor:
        return double(x) + 1

    run, _ = compile_for(CPU, work, (torch.ones(3),), num_calls=1, inductor=inductor)
    return run(torch.full((3,), 4.0))


@pytest.mark.whole
def test_what_inductor_fails_at_runs_as_traced_and_is_not_tried_again():
    """By parts of the pack, which is the same program; another program tries for itself."""
    first, half, other = (
        Inductor(compiling="always", program=program, label="mine on theirs") for program in ("a", "a", "b")
    )
    assert all(torch.equal(doubled(UNKNOWN, one), torch.full((3,), 9.0)) for one in (first, half, other))
    assert TRIED["unknown"] == 2
    (warning,) = map(str, first.uncompiled)
    assert warning.startswith("mine on theirs: Inductor failed at work, which goes on uncompiled (InductorError: ")
    assert r"NotImplementedError: no kernel in file.py for\x1b[31m this" in warning
    assert "second" not in warning
    assert (half.uncompiled, other.uncompiled) == ([], first.uncompiled)


@pytest.mark.whole
def test_memory_that_runs_out_while_compiling_is_told_apart_and_half_a_pack_tries_again():
    whole, half = (Inductor(compiling="always", program="c", label="mine") for _ in range(2))
    assert all(torch.equal(doubled(TOO_LARGE, one), torch.full((3,), 9.0)) for one in (whole, half))
    assert TRIED["too_large"] == 2
    (warning,) = map(str, whole.uncompiled)
    assert warning.startswith("mine: no memory was left to compile work, which goes on uncompiled (")
    assert "CUDA out of memory. Tried to allocate 2.00 GiB" in warning


@pytest.mark.whole
def test_what_is_compiled_to_something_else_runs_as_traced_and_says_by_how_much():
    """2 + 1 became 3 + 1, and 3 is the size of each."""
    inductor = Inductor(compiling="always", program="m", label="mine on theirs")
    assert torch.equal(doubled(miscompiled("tripled"), inductor), torch.full((3,), 9.0))
    (warning,) = map(str, inductor.uncompiled)
    assert "MiscompiledError: what it gives differs from the trace's by 0.33 of its size" in warning


def test_results_are_compared_lane_by_lane_with_what_belongs_together():
    """A gradient that is 0 but for rounding is little beside the others of its lane; a whole lane is on its own."""
    grads, losses, zeros = torch.tensor([[3.0, 4.0], [0.3, 0.4]]), torch.tensor([1.0, 2.0]), torch.zeros(2, 3)
    expected = ({"grads": {"a": grads, "b": zeros}, "loss": losses}, losses)
    assert apart([grads, torch.full((2, 3), 1e-7), losses, losses], expected) == pytest.approx(3**0.5 * 1e-7 / 0.5)
    assert apart([torch.tensor([[3.0, 4.0], [0.3, 0.1]]), zeros, losses, losses], expected) == pytest.approx(0.6)
    for wrong in (2, 3):
        assert apart([grads, zeros, *(losses + 0.1 * (place == wrong) for place in (2, 3))], expected) == pytest.approx(
            0.1
        )
    assert apart([torch.tensor([torch.nan, 1.0])], [torch.tensor([torch.inf, 1.0])]) == 0
    for wrong in (torch.nan, torch.inf):
        assert apart([torch.tensor([wrong, 1.0])], [torch.ones(2)]) == torch.inf
    assert apart([torch.tensor(5), torch.tensor(1.5)], [torch.tensor(4), torch.tensor(1.0)]) == 0.5


@pytest.mark.parametrize("compiling", ["auto", "never"])
def test_a_cpu_compiles_only_when_it_is_told_to(compiling):
    inductor = Inductor(compiling=compiling, program="d")
    tried = TRIED["unknown"]
    assert torch.equal(doubled(UNKNOWN, inductor), torch.full((3,), 9.0))
    assert (TRIED["unknown"], inductor.uncompiled) == (tried, [])


def test_a_cause_is_one_line_without_folders():
    assert cause(ValueError("in /a/b c/d.py: 'x/y'\nmore")) == "ValueError: in b c/d.py: 'x/y'"
    assert cause(ValueError()) == "ValueError"
    assert len(cause(ValueError("x" * 1000))) == 300


@pytest.mark.whole
def test_a_pack_that_inductor_fails_at_trains_as_ever_and_says_so(monkeypatch):
    def refuse(*arguments, **settings):
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr(torch._inductor, "compile", refuse)  # at once, where a real failure takes seconds
    plain, told = (PackRun(Pack(trials=(trial(),)), compiling=compiling) for compiling in ("never", "always"))
    for run in (plain, told):
        run.advance()
    (expected,), (actual,) = plain.results(), told.results()
    assert dataclasses.replace(actual, wall_s=0.0) == dataclasses.replace(expected, wall_s=0.0)
    assert plain.uncompiled == ()
    assert [what.function for what in told.uncompiled] == ["train", "observe", "loss"]
    assert {what.program for what in told.uncompiled} == {"softmax on in_context_regression"}
    assert {what.cause for what in told.uncompiled} == {"NotImplementedError: no such kernel"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_function_equals_the_traced_one():
    inductor = Inductor(compiling="always", program="e")
    x = torch.linspace(-1, 1, 8)
    run, _ = compile_for(CPU, lambda x: (x.exp() + x).sum(), (x,), num_calls=1, inductor=inductor)
    torch.testing.assert_close(run(2 * x), ((2 * x).exp() + 2 * x).sum(), rtol=1e-6, atol=0)
    assert inductor.uncompiled == []
