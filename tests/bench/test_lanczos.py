"""Lanczos against dense eigenvalues: the largest algebraically, whatever the matrix and the start."""

import pytest
import torch

from bench.lanczos import begun, iterated, largest, largest_eigenvalue


def symmetric(eigenvalues: torch.Tensor, seed: int = 0) -> torch.Tensor:
    size = len(eigenvalues)
    turn, _ = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double())
    return turn @ torch.diag(eigenvalues.double()) @ turn.mT


SPECTRA = {
    "mostly negative": torch.cat([torch.linspace(-50, -1, 29), torch.tensor([2.0])]),  # |.|: -50
    "all negative": torch.linspace(-9, -1, 30),
    "one outlier": torch.cat([torch.linspace(-1, 1, 29), torch.tensor([30.0])]),
    "alike": torch.full((30,), 4.0),
    "zero": torch.zeros(30),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_the_largest_algebraically_is_found(name):
    matrix, start = symmetric(SPECTRA[name]), torch.randn(30, generator=torch.Generator().manual_seed(1)).double()
    found = largest_eigenvalue(lambda x: matrix @ x, start, 30).item()
    assert found == pytest.approx(SPECTRA[name].max().item(), rel=1e-6, abs=1e-7)


def test_fewer_iterations_are_never_above_and_rise():
    matrix, start = symmetric(torch.linspace(-3, 5, 60)), torch.ones(60).double()
    found = [largest_eigenvalue(lambda x: matrix @ x, start, k).item() for k in (1, 3, 6, 12, 24)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(5, rel=1e-3)
    assert found[-1] <= 5 + 1e-6


def test_sixteen_iterations_in_float32_find_an_outlier_of_a_large_matrix():
    diagonal = torch.cat([torch.rand(100_000, generator=torch.Generator().manual_seed(0)), torch.tensor([3.0])])
    start = torch.randn(100_001, generator=torch.Generator().manual_seed(1))
    assert largest_eigenvalue(lambda x: diagonal * x, start, 16).item() == pytest.approx(3, rel=1e-3)


def test_a_start_in_an_invariant_space_gives_the_largest_of_that_space():
    diagonal = torch.tensor([5.0, -2.0, 1.0, 3.0]).double()
    found = largest_eigenvalue(lambda x: diagonal * x, torch.tensor([0.0, 1.0, 1.0, 0.0]).double(), 8)
    assert found.item() == pytest.approx(1, abs=1e-6)
    assert largest_eigenvalue(lambda x: diagonal * x, torch.eye(4).double()[1], 8).item() == pytest.approx(-2, abs=1e-6)


def test_what_is_not_finite_gives_nan():
    carried = begun(torch.ones(3), 2)
    carried = iterated(carried, torch.full((3,), torch.nan), torch.tensor(0))
    assert largest(carried).isnan()


def test_lanes_are_those_of_a_loop():
    matrices = torch.stack([symmetric(torch.linspace(-3, top, 10), seed) for seed, top in enumerate((1, 2, 7))])
    start = torch.ones(10).double()
    together = torch.func.vmap(lambda m: largest_eigenvalue(lambda x: m @ x, start, 10))(matrices)
    alone = torch.stack([largest_eigenvalue(lambda x, m=m: m @ x, start, 10) for m in matrices])
    torch.testing.assert_close(together, alone, rtol=1e-7, atol=1e-9)
