"""Masks by the kernel of masks.py are the words of bench.randomness: on CUDA, and in Triton's interpreter without."""

from collections.abc import Iterator

import pytest
import torch

from bench.methods.fast import masks
from bench.methods.fast.masks import NUM_VALUES, keep_mask
from bench.models.dropout import Dropout
from bench.randomness import integers, stream_id
from bench.training.compile import trace
from bench.training.pack import Pack
from bench.training.train import PackRun
from tests.trials import language_trial

HAS_CUDA = torch.cuda.is_available()
DEVICE = "cuda" if HAS_CUDA else "cpu"
INTERPRETER = "TRITON_INTERPRET"  # Triton asks for it where kernels are defined, and again where they run
with pytest.MonkeyPatch.context() as _environment:
    if not HAS_CUDA:
        _environment.setenv(INTERPRETER, "1")
    pytest.importorskip("triton")
    import bench.methods.fast.tiny_kernels  # noqa: F401

pytestmark = pytest.mark.filterwarnings("default", "ignore::RuntimeWarning")  # NumPy interprets, and words overflow


@pytest.fixture(scope="module", autouse=True)
def kernel() -> Iterator[None]:
    """It runs wherever a mask is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if not HAS_CUDA:
            patch.setenv(INTERPRETER, "1")
            patch.setattr(masks, "takes", lambda seed: True)
        yield


def number(value: int | list[int]) -> torch.Tensor:
    return torch.tensor(value, device=DEVICE)


def expected(seed: int, stream: str, step: int, shape: tuple[int, ...], rate: float) -> torch.Tensor:
    """The definition, on the CPU."""
    return integers(torch.tensor(seed), stream, torch.tensor(step), shape, NUM_VALUES) >= rate * NUM_VALUES


@pytest.mark.parametrize("shape", [(1,), (3, 5), (4, 2, 130), (513 * 4,), (7, 300)])
@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_a_mask_is_that_of_the_definition(shape, rate):
    for seed, step, stream in ((0, 0, "a"), (2**33 + 5, 2**31, "layers.0.weights"), (17, 1, "dropout.embed")):
        found = keep_mask(number(seed), stream, number(step), shape, rate)
        assert found.is_contiguous()
        assert torch.equal(found.cpu(), expected(seed, stream, step, shape, rate))


def test_streams_of_both_halves_of_32_bits_and_one_are_served():
    names = [f"s{i}" for i in range(8)]
    assert {stream_id(name) >= 2**31 for name in names} == {False, True}
    for name in names:
        assert torch.equal(keep_mask(number(1), name, number(1), (9,), 0.5).cpu(), expected(1, name, 1, (9,), 0.5))


def test_lanes_have_the_masks_of_their_seeds_and_gradients_pass_what_is_kept():
    """Under vmap, within a gradient, as a step has it."""
    seeds, x = number([3, 2**40 + 1, 8]), torch.ones(3, 2, 7, device=DEVICE)

    def kept(seed: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda x: Dropout(rate=0.5, seed=seed, step=number(4))("a", x).sum())(x)

    found = torch.func.vmap(kept)(seeds, x)
    for lane, seed in enumerate(seeds.tolist()):
        assert torch.equal(found[lane].cpu(), 2.0 * expected(seed, "dropout.a", 4, (2, 7), 0.5))


@pytest.mark.parametrize("num_lanes", [1, 2])
def test_a_step_asks_for_each_mask_once_and_trains_as_by_the_definition(num_lanes, monkeypatch):
    """Masks of embeddings, attention, and what each of two branches adds; none is drawn again going backwards."""
    trials = tuple(language_trial(workload_params={"dropout": 0.2}, seed=seed) for seed in range(num_lanes))
    run = PackRun(Pack(trials=trials), device=DEVICE)
    step = (run._lanes, run._chunk, run._knobs, run._counters["step"])
    traced, _ = trace(run._stacked.train, step)
    names = [str(node.target) for node in traced.graph.nodes if node.op == "call_function"]
    assert names.count("bench.keep_mask.default") == 4
    assert not any("bitwise_xor" in name for name in names)
    run.advance(max_steps=4)
    monkeypatch.setattr(masks, "takes", lambda seed: False)
    plain = PackRun(Pack(trials=trials), device=DEVICE)
    plain.advance(max_steps=4)
    found, exact = (one.state()["history"]["loss"][:4] for one in (run, plain))
    assert torch.equal(found, exact) if DEVICE == "cpu" else torch.allclose(found, exact, rtol=1e-5)
