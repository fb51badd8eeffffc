"""Counter-based random numbers: a pure function of (seed, stream, step, position).

The words are the same on every device; normals agree to the rounding of its log, cos and sin.

Nothing is kept between calls, so data and initial weights depend on the seed and the step alone: not on what else
is in the pack, the device, the order of trials or a resume. Integers are 32-bit words held in int64 tensors.
Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox4x32-10).
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

from bench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
NUM_ROUNDS = 10


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Four random 32-bit words for each counter of four words under a key of two; all broadcast together."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(NUM_ROUNDS):
        # A 64-bit product wraps in int64; its high word survives the arithmetic shift under the mask.
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c2 = ((product1 >> 32) & MASK) ^ c1 ^ k0, ((product0 >> 32) & MASK) ^ c3 ^ k1
        c1, c3 = product1 & MASK, product0 & MASK
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def stream_id(name: str) -> int:
    """The 32-bit number of a named stream, such as one tensor of the model or one part of the data."""
    return zlib.crc32(name.encode())


def normal(seed: Tensor, stream: str, step: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 of shape (*broadcast(seed, step).shape, *shape). |value| < 5.9 (24-bit uniforms).

    seed, step: int64 tensors, 0 <= step < 2^32. Source: Box & Muller 1958.
    """
    numel = math.prod(shape)
    u = [((word >> 8).to(torch.float32) + 0.5) * 2.0**-24 for word in _words(seed, stream, step, numel)]
    radius = [(-2 * u[i].log()).sqrt() for i in (0, 2)]
    angle = [2 * math.pi * u[i] for i in (1, 3)]
    pairs = [r * wave for r, a in zip(radius, angle, strict=True) for wave in (a.cos(), a.sin())]
    values = torch.stack(pairs, dim=-1).flatten(-2)
    return values[..., :numel].reshape((*values.shape[:-1], *shape))


def integers(seed: Tensor, stream: str, step: Tensor, shape: tuple[int, ...], high: int) -> Tensor:
    """Whole numbers from 0 to high - 1, int64, of shape (*broadcast(seed, step).shape, *shape); high < 2^31.

    The product of a 32-bit word and `high`, shifted: each number's probability is off by less than 2^-32.
    """
    numel = math.prod(shape)
    values = torch.stack(_words(seed, stream, step, numel), dim=-1).flatten(-2)
    return ((values[..., :numel] * high) >> 32).reshape((*values.shape[:-1], *shape))


def _words(seed: Tensor, stream: str, step: Tensor, numel: int) -> tuple[Tensor, ...]:
    """Four tensors (*broadcast(seed, step).shape, ceil(numel / 4)) of random 32-bit words."""
    block = torch.arange((numel + 3) // 4, device=seed.device)
    step_1, seed_1 = step[..., None], seed[..., None]
    number = torch.full_like(block, stream_id(stream))
    key = (seed_1 & MASK, (seed_1 >> 32) & MASK)
    # Inductor takes arithmetic on an arange for an index's, in 32 bits on a GPU. A bitwise operation with a tensor that
    # it has to read, here of zeros, makes a number of 64 bits of it.
    block = block | (step_1 & 0)
    return philox((block, step_1 + 0 * block, number, torch.zeros_like(block)), key)
