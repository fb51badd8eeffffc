"""A method with made-up queries, keys, masks and learned tensors.

Shapes: B batch, H heads, Q queries, K keys, D width of a head.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.methods.base import Heads, Method, State
from bench.methods.mask import Mask

if TYPE_CHECKING:
    from torch import Tensor

HEADS = Heads(num_heads=3, width=4, num_keys=12)  # more keys than a default window holds on one side
NUM_BATCH = 2
MASK_NAMES = ("full", "causal", "one_key", "last_key_hidden", "last_queries", "padded")


@functools.cache
def mask_named(name: str, num_keys: int, num_batch: int = NUM_BATCH) -> Mask:
    """One of MASK_NAMES for so many keys; each has as many queries, but for `last_queries`, which has 4.

    padded: of `num_batch` examples each is shorter by a token than the one before it, down to one.
    """
    full = torch.ones(num_keys, num_keys, dtype=torch.bool)
    match name:
        case "full":
            return Mask.shared(full, "full")
        case "causal":
            return Mask.shared(full.tril(), "causal")
        case "one_key":
            return Mask.shared(torch.eye(num_keys, dtype=torch.bool), "custom")
        case "last_key_hidden":
            return Mask.shared(full.index_fill(1, torch.tensor([num_keys - 1]), False), "custom")
        case "last_queries":
            return Mask.shared(full[:4], "custom")
        case "padded":
            length_B1 = (num_keys - torch.arange(num_batch)).clamp_min(1)[:, None]
            return Mask.padded(torch.arange(num_keys) < length_B1)
    raise ValueError(f"no mask {name!r}; they are {', '.join(MASK_NAMES)}")


@dataclass(frozen=True, kw_only=True)
class MethodCase:
    """heads: the shape of attention that the method is tried in. is_single: in float32, not float64."""

    method: Method
    heads: Heads = HEADS
    is_single: bool = False

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.is_single else torch.float64

    @property
    def masks(self) -> dict[str, Mask]:
        """Every mask of MASK_NAMES."""
        return {name: mask_named(name, self.heads.num_keys) for name in MASK_NAMES}

    def queries_and_keys(self, seed: int, mask: Mask) -> tuple[Tensor, Tensor]:
        """Standard normals, (B, H, Q, D) and (B, H, K, D)."""
        generator = torch.Generator().manual_seed(seed)
        num_queries, num_keys = mask.num_queries, mask.num_keys
        shape = (NUM_BATCH, self.heads.num_heads)
        q_BHQD = torch.randn(*shape, num_queries, self.heads.width, generator=generator, dtype=torch.float64)
        k_BHKD = torch.randn(*shape, num_keys, self.heads.width, generator=generator, dtype=torch.float64)
        return q_BHQD.to(self.dtype), k_BHKD.to(self.dtype)

    def learned(self, seed: int) -> State:
        """Learned tensors a little away from their start."""
        generator = torch.Generator().manual_seed(seed)
        start = self.method.init_params(self.heads)
        return {
            name: (p + 0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64)).to(self.dtype)
            for name, p in start.items()
        }

    def fixed(self, seed: int) -> State:
        """What is not trained: buffers, and the step."""

        def draw(name: str, shape: tuple[int, ...]) -> Tensor:
            generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        buffers = self.method.init_buffers(self.heads, draw)
        return {name: buffer.to(self.dtype) for name, buffer in buffers.items()} | {"step": torch.tensor(990)}

    def state(self, seed: int) -> State:
        """`learned` and `fixed`."""
        return self.learned(seed) | self.fixed(seed)

    def prepared(self, q_BHQD: Tensor, k_BHKD: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Queries and keys as a model hands them to the method's attention."""
        q_BHQD, k_BHKD = self.method.normalize(q_BHQD, k_BHKD, state)
        return q_BHQD * self.method.logit_scale(self.heads.width**-0.5), k_BHKD

    def weights(self, q_BHQD: Tensor, k_BHKD: Tensor, mask: Mask, state: State) -> Tensor:
        """P as a model asks for it."""
        mask = self.method.restrict(mask)
        return self.method.weights(*self.prepared(q_BHQD, k_BHKD, state), mask.allowed_B1QK, state | mask.state)

    def some_weights(self, mask: Mask) -> Tensor:
        """P of made-up queries, keys and state."""
        return self.weights(*self.queries_and_keys(0, mask), mask, self.state(1))
