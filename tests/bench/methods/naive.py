"""Attention row by row in numpy: the definition of a method written out, for comparison."""

from collections.abc import Callable

import numpy
import torch

BATCH, NUM_HEADS, TOKENS, WIDTH = 2, 3, 7, 4
FULL = torch.ones(TOKENS, TOKENS, dtype=torch.bool)
MASKS = {"full": FULL, "causal": FULL.tril(), "last_queries": FULL.tril()[3:]}

# (query, its position, keys, their positions) -> their weights; positions count from 0
Row = Callable[[numpy.ndarray, int, numpy.ndarray, numpy.ndarray], numpy.ndarray]


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def queries_and_keys(mask_QK: torch.Tensor = FULL, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    num_queries, num_keys = mask_QK.shape
    return scale * randn(0, BATCH, NUM_HEADS, num_queries, WIDTH), randn(1, BATCH, NUM_HEADS, num_keys, WIDTH)


def by_rows(q_BHQD: torch.Tensor, k_BHKD: torch.Tensor, mask_QK: torch.Tensor, *rows_H: Row) -> torch.Tensor:
    """P, (B, H, Q, K), from one row function for all heads or one for each; queries are the last of the tokens."""
    num_batch, num_heads, num_queries, _ = q_BHQD.shape
    num_keys = k_BHKD.shape[2]
    p_BHQK = numpy.zeros((num_batch, num_heads, num_queries, num_keys))
    for b in range(num_batch):
        for h in range(num_heads):
            for i in range(num_queries):
                allowed = numpy.flatnonzero(mask_QK[i].numpy())
                keys = k_BHKD[b, h].numpy()[allowed]
                position = num_keys - num_queries + i
                p_BHQK[b, h, i, allowed] = rows_H[h % len(rows_H)](q_BHQD[b, h, i].numpy(), position, keys, allowed)
    return torch.from_numpy(p_BHQK)


def softmax(z: numpy.ndarray) -> numpy.ndarray:
    exponentials = numpy.exp(z - z.max())
    return exponentials / exponentials.sum()
