"""Where this program keeps what it can make again: tokens of raw text, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """BENCH_DATA, else a folder in the user's cache. It may be removed at any time."""
    if chosen := os.environ.get("BENCH_DATA"):
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~/.cache")) / "attention-robustness-bench"
