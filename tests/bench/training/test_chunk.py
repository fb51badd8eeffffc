"""Data come some steps at a time, each step's the same whatever chunk it lies in; held-out data in parts."""

import pytest
import torch

from bench.entry import build
from bench.training import chunk
from bench.training.chunk import Chunk, held_out_parts
from bench.workloads import WORKLOADS
from bench.workloads.in_context_regression import InContextRegression
from tests.trials import SMALL, language_trial

SEEDS = torch.tensor([0, 7])
BYTES_A_STEP = 2 * 4 * (6 * 2 + 2) * 4  # seeds, examples, numbers of x and w, float32


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    """Of three steps in float64."""
    monkeypatch.setattr(chunk, "MAX_BYTES", 3 * 2 * BYTES_A_STEP + 1)


@pytest.mark.usefixtures("small_chunks")
def test_each_step_has_its_own_batch_in_any_order():
    workload = InContextRegression(**SMALL)
    data = Chunk(workload, SEEDS, torch.float64, num_steps=8)
    tensors = dict(data.tensors)
    assert data.num_steps == 3
    for step in (0, 1, 2, 3, 7, 4, 0):
        data.fill(step)
        expected = workload.batches(SEEDS, torch.tensor([step]))
        for name, tensor in tensors.items():
            assert tensor.dtype == torch.float64
            assert torch.equal(tensor[step % 3], expected[name][0].double())
    assert [data.end(step) for step in (0, 2, 3, 7)] == [3, 3, 6, 9]


def test_a_chunk_has_at_most_all_steps_and_at_least_one(monkeypatch):
    workload = InContextRegression(**SMALL)
    assert Chunk(workload, SEEDS, torch.float32, num_steps=8).num_steps == 8
    assert Chunk(workload, SEEDS, torch.float32, num_steps=10**6).num_steps == chunk.MAX_STEPS
    monkeypatch.setattr(chunk, "MAX_BYTES", BYTES_A_STEP - 1)
    assert Chunk(workload, SEEDS, torch.float32, num_steps=8).num_steps == 1


def test_held_out_batches_are_divided_as_batches_are():
    cpu = torch.device("cpu")
    choice = language_trial(workload_params={"num_micro_batches": 2}).workload
    workload = build(WORKLOADS, choice)
    whole, parts = workload.held_out(cpu)["tokens"], held_out_parts(workload, cpu, torch.float32)["tokens"]
    assert parts.shape == (2 * whole.shape[0], whole.shape[1] // 2, *whole.shape[2:])
    assert parts.dtype == whole.dtype
    assert torch.equal(parts.flatten(0, 1), whole.flatten(0, 1))
    assert held_out_parts(InContextRegression(**SMALL), cpu, torch.float32) == {}
