"""Heavy modules, imported when first used: names and parameters of methods are read without loading torch.

A leaderboard loads nothing that draws (altair, vl_convert), and definitions of scores are read without what computes.

Write `from bench.lazy import torch`; type checkers see the real module.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair
    import numpy
    import polars
    import torch
    import vl_convert
    from scipy import special
else:

    class _Lazy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            value = getattr(importlib.import_module(self.__name__), name)
            setattr(self, name, value)  # the next look-up costs nothing
            return value

    altair = _Lazy("altair")
    numpy = _Lazy("numpy")
    polars = _Lazy("polars")
    special = _Lazy("scipy.special")
    torch = _Lazy("torch")
    vl_convert = _Lazy("vl_convert")

__all__ = ["altair", "numpy", "polars", "special", "torch", "vl_convert"]
