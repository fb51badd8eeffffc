"""Heavy modules, imported when first used: names and parameters of methods are read without loading torch.

Write `from bench.lazy import torch`; type checkers see the real module.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars
    import torch
else:

    class _Lazy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            value = getattr(importlib.import_module(self.__name__), name)
            setattr(self, name, value)  # the next look-up costs nothing
            return value

    polars = _Lazy("polars")
    torch = _Lazy("torch")

__all__ = ["polars", "torch"]
