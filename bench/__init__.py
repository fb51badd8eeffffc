"""An automated hyperparameter-robustness benchmark for attention methods.

In Python: `run` trains what a suite lacks, `load` reads results, both give `Results`; bench.api has them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import Results, load, run
    from bench.driver.options import Options
    from bench.errors import BenchError
    from bench.suite import Suite

__version__ = "0.1.0"
__all__ = ["BenchError", "Options", "Results", "Suite", "__version__", "load", "run"]

# Where each public name lives; loaded when it is first asked for, so that `import bench` is light.
_HOMES = {
    "BenchError": "bench.errors",
    "Options": "bench.driver.options",
    "Results": "bench.api",
    "Suite": "bench.suite",
    "load": "bench.api",
    "run": "bench.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bench' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
