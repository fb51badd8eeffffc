"""The largest eigenvalue of a symmetric matrix that is known by its products with vectors: Lanczos, step by step.

No vector but the last two is kept: the largest eigenvalue of the tridiagonal matrix is right without orthogonalisation
against earlier ones, copies of it come beside (Paige 1971). Only operations without branches and without libraries of
dense algebra, so that lanes are batched and a CUDA graph holds them. Shapes: N size, K iterations, I
inputs, O outputs.
Source: Lanczos 1950; Golub & Van Loan 2013, Sec. 10.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

NUM_POINTS = 64  # into which an interval with the eigenvalue is divided, NUM_ROUNDS times: to 2^-30 of its width
NUM_ROUNDS = 5


def unit(vector_N: Tensor) -> Tensor:
    """The vector with norm 1; of zeros, zeros."""
    return vector_N / vector_N.square().sum().sqrt().clamp_min(torch.finfo(vector_N.dtype).tiny)


def begun(start_N: Tensor, num_iterations: int) -> dict[str, Tensor]:
    """What iterations carry, before the first. start_N: of any norm, not orthogonal to the eigenvector that is sought.

    diagonal, beside: the tridiagonal matrix, (K,) each; beside[k] couples k and k + 1.
    """
    zeros_K = torch.zeros(num_iterations, dtype=start_N.dtype, device=start_N.device)
    return {
        "current": unit(start_N),
        "previous": torch.zeros_like(start_N),
        "diagonal": zeros_K,
        "beside": zeros_K.clone(),
        "coupling": torch.zeros_like(zeros_K[0]),
        "scale": torch.zeros_like(zeros_K[0]),
    }


def iterated(carried: dict[str, Tensor], product_N: Tensor, index: Tensor) -> dict[str, Tensor]:
    """What is carried after iteration `index`. product_N: of the matrix and `current`.

    Where the vectors so far span a space that the matrix leaves as it is, iteration ends: the first diagonal element,
    which no eigenvalue sought lies below, stands in the places that are left.
    """
    current_N, diagonal_K = carried["current"], carried["diagonal"]
    is_alive = current_N.square().sum() > 0.5
    along = (product_N * current_N).sum()
    rest_N = product_N - along * current_N - carried["coupling"] * carried["previous"]
    coupling = rest_N.square().sum().sqrt()
    scale = torch.maximum(carried["scale"], torch.maximum(along.abs(), coupling))
    goes_on = is_alive & (coupling > torch.finfo(rest_N.dtype).eps ** 0.75 * scale)
    coupling = torch.where(goes_on, coupling, torch.zeros_like(coupling))
    next_N = torch.where(goes_on, rest_N / torch.where(goes_on, coupling, torch.ones_like(coupling)), 0)
    is_here_K = torch.arange(len(diagonal_K), device=diagonal_K.device) == index
    return {
        "current": next_N,
        "previous": current_N,
        "diagonal": torch.where(is_here_K, torch.where(is_alive, along, diagonal_K[0]), diagonal_K),
        "beside": torch.where(is_here_K, coupling, carried["beside"]),
        "coupling": coupling,
        "scale": scale,
    }


def largest(carried: dict[str, Tensor]) -> Tensor:
    """The largest eigenvalue of the tridiagonal matrix, a scalar, algebraically; NaN if it is not finite.

    By the number of positive pivots of T - x, that of the eigenvalues above x, at many x at once within Gershgorin's
    bounds.
    """
    diagonal_K, beside_K = carried["diagonal"].double(), carried["beside"].double().abs()
    reach_K = beside_K + torch.cat([torch.zeros_like(beside_K[:1]), beside_K[:-1]])
    low, high = diagonal_K.amax(), (diagonal_K + reach_K).amax()  # no diagonal element lies above the eigenvalue
    share_P = torch.arange(NUM_POINTS + 1, dtype=torch.float64, device=low.device) / NUM_POINTS
    for _ in range(NUM_ROUNDS):
        x_P = low + share_P * (high - low)
        is_below_P = _has_positive_pivot(diagonal_K, beside_K, x_P)
        low = torch.where(is_below_P, x_P, low).amax()
        high = torch.where(is_below_P, high, x_P).amin()
    return ((low + high) / 2).to(carried["diagonal"].dtype)


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start_N: Tensor, num_iterations: int) -> Tensor:
    """The largest eigenvalue of a symmetric matrix by so many iterations, from below. product: with a vector."""
    carried = begun(start_N, num_iterations)
    for index in range(num_iterations):
        place = torch.full((), index, device=start_N.device)
        carried = iterated(carried, product(carried["current"]), place)
    return largest(carried)


def largest_singular_value(weight_IO: Tensor, start_I: Tensor, num_iterations: int) -> Tensor:
    """The largest singular value of a matrix W, a scalar, from below, by Lanczos on W W^T."""
    return largest_eigenvalue(lambda x: weight_IO @ (weight_IO.mT @ x), start_I, num_iterations).clamp_min(0).sqrt()


def _has_positive_pivot(diagonal_K: Tensor, beside_K: Tensor, x_P: Tensor) -> Tensor:
    tiny = torch.finfo(x_P.dtype).tiny
    pivot_P = diagonal_K[0] - x_P
    found_P = pivot_P > 0
    for k in range(1, diagonal_K.shape[0]):
        safe_P = torch.where(pivot_P == 0, -tiny, pivot_P)
        pivot_P = diagonal_K[k] - x_P - beside_K[k - 1].square() / safe_P
        found_P = found_P | (pivot_P > 0)
    return found_P
