"""Examine this machine: can it run suites?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.driver.manifest import PACKAGES
from bench.lazy import torch

MIN_FREE_BYTES = 2 * 2**30
MIN_MEMORY_BYTES = 3 * 2**30
OPTIONAL = ("triton",)


def examine(home: Path) -> dict[str, dict[str, Any]]:
    """Finding by name: {"ok": whether it stands in the way of nothing, "text": what was found}."""
    checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "python": lambda: (sys.version_info >= (3, 11), f"{platform.python_version()} (3.11 or newer is required)"),
        "packages": _packages,
        "device": _device,
        "memory": _memory,
        "disk": lambda: _disk(home),
        "store": lambda: _writable(home),
    }
    return {name: dict(zip(("ok", "text"), check(), strict=True)) for name, check in checks.items()}


def _packages() -> tuple[bool, str]:
    present, missing = [], []
    for name in PACKAGES:
        try:
            present.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    lacking = [name for name in missing if name not in OPTIONAL]
    return not lacking, ", ".join(present) + (f"; missing: {', '.join(lacking)}" if lacking else "")


def _device() -> tuple[bool, str]:
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return True, f"{', '.join(names)}; {os.cpu_count()} CPU cores"
    return True, f"{os.cpu_count()} CPU cores, no CUDA device: small suites only"


def _memory() -> tuple[bool, str]:
    import psutil

    free = psutil.virtual_memory().available
    return free >= MIN_MEMORY_BYTES, f"{free / 2**30:.1f} GiB free (3 GiB or more is required)"


def _disk(home: Path) -> tuple[bool, str]:
    existing = next(folder for folder in (home.resolve(), *home.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return free >= MIN_FREE_BYTES, f"{free / 2**30:.1f} GiB free at {existing} (2 GiB or more is required)"


def _writable(home: Path) -> tuple[bool, str]:
    existing = next(folder for folder in (home.resolve(), *home.resolve().parents) if folder.exists())
    is_ok = existing.is_dir() and os.access(existing, os.W_OK)
    return is_ok, f"{home.resolve()} {'can be written' if is_ok else 'can NOT be written'}"
