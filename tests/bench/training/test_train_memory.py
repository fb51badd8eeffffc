"""What saves memory: parts of a batch and checkpointing change nothing, bfloat16 little."""

import functools
import weakref
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bench.methods.qk_clip import QKClip
from bench.methods.softmax import Softmax
from bench.models.attention import Mode
from bench.optimizers.adam import AdamW
from bench.optimizers.schedules import Constant
from bench.probes import build_probes
from bench.training.lane import LaneProgram
from bench.training.pack import Pack
from bench.training.train import PackRun
from bench.workloads.language_modeling import LanguageModeling
from tests.trials import LEAN, language_trial

PROBES = build_probes(None)

CLIP = {"tau": 1e-3}  # so small that heads reach it


@functools.cache
def state_after(dtype: str, method: str, **settings: Any) -> dict[str, Any]:
    """Of two lanes of a small language model that were trained to the end."""
    common = {
        "method": method,
        "method_params": CLIP if method == "qk_clip" else {},
        "weight_decay": 0.1,
        "grad_clip": 1,
    }
    lanes = [
        language_trial(workload_params=LEAN | settings, lr=lr, seed=seed, **common)
        for lr, seed in ((0.01, 0), (0.03, 1))
    ]
    run = PackRun(Pack(trials=tuple(lanes)), dtype=dtype)
    run.advance()
    return run.state()


def assert_alike(one: dict[str, Any], other: dict[str, Any], *, rtol: float, atol: float) -> None:
    for part in ("lanes", "history"):
        assert pytree.tree_structure(one[part]) == pytree.tree_structure(other[part])
        leaves = pytree.tree_leaves(one[part]), pytree.tree_leaves(other[part])
        torch.testing.assert_close(*leaves, rtol=rtol, atol=atol, equal_nan=True)


@pytest.mark.parametrize("num_parts", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_parts_of_a_batch_train_as_the_whole_does(num_parts):
    """In float64; a method that reads the largest logits of the batch sees them over all parts."""
    whole, parts = (state_after("float64", "qk_clip", num_micro_batches=n) for n in (1, num_parts))
    assert_alike(parts, whole, rtol=1e-9, atol=1e-12)


def test_parts_of_a_batch_train_as_the_whole_does_in_float32():
    """Adam divides by the root of small gradients: of weights 1e-4, of losses 1e-5."""
    whole, parts = (state_after("float32", "softmax", num_micro_batches=n) for n in (1, 4))
    assert_alike(parts, whole, rtol=1e-3, atol=1e-4)
    for quantity in ("loss", "val"):
        torch.testing.assert_close(parts["history"][quantity], whole["history"][quantity], rtol=1e-5, atol=1e-5)


def test_the_largest_logits_act():
    """At once: nothing else makes the two steps differ."""
    after = []
    for method in (Softmax(), QKClip(**CLIP)):
        program = program_of(method, **LEAN)
        lane, batch, now = start(program), batch_at(program, 0), torch.tensor(0)
        after.append(program.train(lane, batch, knobs(torch.float64), now)[0]["params"])
    plain, clipped = after
    changed = {name for name in plain if not torch.equal(plain[name], clipped[name])}
    assert changed == {"layers.0.query.weight", "layers.0.key.weight"}


def test_every_part_of_every_step_has_a_mask_of_its_own():
    """With dropout the same examples give another loss in each, and the same one again."""
    program = program_of(dropout=0.5, num_micro_batches=2)
    lane, batch = start(program), batch_at(program, 0)

    def loss(step: int, part: int) -> float:
        return program.gradients(lane, batch, torch.tensor(step), torch.tensor(part))["loss"].item()

    places = [(step, part) for step in range(3) for part in range(2)]
    losses = [loss(*place) for place in places]
    assert len(set(losses)) == 6
    assert [loss(*place) for place in places] == losses


def program_of(method: Softmax | None = None, **settings: Any) -> LaneProgram:
    params = language_trial(workload_params=settings).workload.params
    return LaneProgram(
        workload=LanguageModeling(**params), method=method or Softmax(), optimizer=AdamW(), schedule=Constant()
    )


def start(program: LaneProgram, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, Any]:
    return program.start(torch.tensor(seed), torch.tensor(1.0, dtype=dtype))


def knobs(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    values = {"lr": 0.01, "warmup_steps": 0.0, "weight_decay": 0.1, "grad_clip": 1.0}
    return {name: torch.tensor(value, dtype=dtype) for name, value in values.items()}


def batch_at(program: LaneProgram, step: int, seed: int = 0) -> dict[str, torch.Tensor]:
    batches = program.workload.batches(torch.tensor([seed]), torch.tensor([step]))
    return {name: tensor[0, 0] for name, tensor in batches.items()}


SHAPES = {
    "gpt2": {"depth": 2, "dropout": 0.3},
    "llama": {"model": "llama_1m", "depth": 2},
    "post": {"depth": 2, "norm_placement": "post", "precision": "bfloat16"},
}


@pytest.mark.parametrize("method", [Softmax(), QKClip(**CLIP)], ids=["softmax", "qk_clip"])
@pytest.mark.parametrize("shape", SHAPES)
def test_checkpointing_gives_the_same_loss_and_gradients(shape, method):
    """What is computed again is the same, dropout and bfloat16 included; so are the largest logits."""
    seen = []
    for checkpointing in (False, True):
        program = program_of(method, checkpointing=checkpointing, **SHAPES[shape])
        dtype = torch.float32 if shape == "post" else torch.float64
        batch, now = batch_at(program, 3), torch.tensor(3)
        seen.append(program.gradients(start(program, dtype), batch, now, torch.tensor(0)))
    plain, again = seen
    assert again["loss"] == plain["loss"]
    assert again["grads"].keys() == plain["grads"].keys()
    tolerance = {"rtol": 1e-5, "atol": 1e-7} if shape == "post" else {"rtol": 1e-12, "atol": 1e-15}
    torch.testing.assert_close(again["grads"], plain["grads"], **tolerance)
    torch.testing.assert_close(again["max_logits"], plain["max_logits"], rtol=0, atol=0)
    assert len(plain["max_logits"]) == (2 if method.reads_max_logits else 0)


def test_a_checkpointed_run_equals_a_plain_one():
    """Compiled, one lane: of more the blocks can't be computed again."""
    histories = []
    for checkpointing in (False, True):
        one = language_trial(workload_params=LEAN | {"dropout": 0.2, "checkpointing": checkpointing})
        run = PackRun(Pack(trials=(one,)), dtype="float64")
        run.advance()
        histories.append(run.state()["history"])
    torch.testing.assert_close(*histories, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert run.program.workload.max_lanes == 1


MIXED = {"precision": "bfloat16"}


def trained_losses(program: LaneProgram, num_steps: int) -> tuple[dict[str, Any], torch.Tensor]:
    """Two lanes after some steps, and the losses of both at every step."""
    seeds = torch.tensor([0, 1])
    lanes = torch.func.vmap(program.start)(seeds, torch.ones(2))
    train = torch.func.vmap(program.train, in_dims=(0, 0, None, None))
    losses = []
    for step in range(num_steps):
        batches = program.workload.batches(seeds, torch.tensor([step]))
        lanes, loss_L, _ = train(lanes, {n: t[0] for n, t in batches.items()}, knobs(torch.float32), torch.tensor(step))
        losses.append(loss_L)
    return lanes, torch.stack(losses)


def test_bfloat16_keeps_float32_weights_and_moments_and_trains_nearly_as_float32():
    """30 steps of two lanes: losses within 0.02 nats, after falling by more than 0.5."""
    mixed, exact = (program_of(precision=precision, width=16) for precision in ("bfloat16", "float32"))
    lanes, losses = trained_losses(mixed, 30)
    _, expected = trained_losses(exact, 30)
    floats = [leaf for leaf in pytree.tree_leaves(lanes) if leaf.is_floating_point()]
    assert {leaf.dtype for leaf in floats} == {losses.dtype} == {torch.float32}
    assert not torch.equal(losses, expected)
    torch.testing.assert_close(losses, expected, rtol=0, atol=0.02)
    assert (expected[0] - expected[-1] > 0.5).all()


def test_a_compiled_run_in_bfloat16_is_near_one_in_float32():
    mixed, exact = (state_after("float32", "softmax", num_micro_batches=1, **kind) for kind in (MIXED, {}))
    assert not torch.equal(mixed["history"]["loss"], exact["history"]["loss"])
    torch.testing.assert_close(mixed["history"]["loss"], exact["history"]["loss"], rtol=0, atol=0.02)


def test_bfloat16_multiplies_in_bfloat16_and_observes_in_float32():
    program = program_of(precision="bfloat16")
    lane, batch, now = start(program, torch.float32), batch_at(program, 0), torch.tensor(0)
    counters = {"step": now, "seed": now, "draw": now}
    logits = program.workload._forward(program.method, lane["params"], counters, batch, Mode())[0]
    assert logits.dtype == torch.bfloat16
    assert program.observe(lane, batch, now, probes=PROBES).dtype == torch.float32
    assert {tensor.dtype for tensor in program.evaluate(lane, batch, now).values()} == {torch.float32}


class PeakBytes(TorchDispatchMode):
    """The most bytes of new tensors alive at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and not getattr(func, "is_view", False):
                num_bytes = tensor.numel() * tensor.element_size()
                self.alive += num_bytes
                self.peak = max(self.peak, self.alive)
                weakref.finalize(tensor, self._free, num_bytes)
        return out

    def _free(self, num_bytes: int) -> None:
        self.alive -= num_bytes


def test_checkpointing_keeps_one_block_at_a_time():
    """Of eight blocks, going back included."""
    model = {"model": "gpt_1m", "depth": 8, "width": 16, "num_heads": 2, "context": 64, "batch_size": 16}

    def peak(*, checkpointing: bool) -> int:
        lane = language_trial(workload_params=model | {"checkpointing": checkpointing})
        run = PackRun(Pack(trials=(lane,)))
        with PeakBytes() as counted:
            run.dry_step(only_training=True)
        return counted.peak

    assert peak(checkpointing=True) < 0.4 * peak(checkpointing=False)
