"""The C program on a processor: lanes over as many threads as torch has, each lane's sequences side by side."""

from __future__ import annotations

import ctypes
import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bench.lazy import torch
from bench.native import c_library
from bench.training.fused.program import Macros, source
from bench.training.fused.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

FLAGS = ("-O3",)  # without unrolled loops over channels a step takes three times as long
OF_DEVICE: Macros = {"SLOTS": 1, "CHUNKS": 1, "MAKES_DATA_INSIDE": 0}


def library(macros: Macros, *, flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL | None:
    """The program for these macros, compiled if it was not yet; None where there is no compiler that can."""
    return _library((*flags, *(f"-D{name}={value}" for name, value in (OF_DEVICE | macros).items())))


@functools.cache
def _library(flags: tuple[str, ...]) -> ctypes.CDLL | None:
    return c_library("fused", source(), ("-std=gnu11", *flags))


def train(program: ctypes.CDLL, settings: Settings, seeds_C: Tensor) -> None:
    """The steps of all lanes, whose seeds are given. Raises MemoryError."""
    seeds = seeds_C.tolist()
    order = sorted(range(len(seeds)), key=lambda lane: seeds[lane])  # the data of a seed are made once
    num_threads = max(1, min(torch.get_num_threads(), len(order)))
    bounds = [len(order) * n // num_threads for n in range(num_threads + 1)]
    parts = [order[a:b] for a, b in itertools.pairwise(bounds)]

    def train_part(part: list[int]) -> int:
        lanes = (ctypes.c_int64 * len(part))(*part)
        return program.train(ctypes.byref(settings), lanes, ctypes.c_int64(len(part)))

    if num_threads == 1:
        statuses = [train_part(parts[0])]
    else:
        with ThreadPoolExecutor(num_threads) as pool:
            statuses = list(pool.map(train_part, parts))
    if any(statuses):
        raise MemoryError("no memory for lanes of the fused program")
