"""Files of data that are not ours to ship: tests that need one skip where it is not."""

import os
from pathlib import Path

import pytest

FOLDER = "BENCH_TEST_DATA"  # the folder that holds them; shared/data beside the checkout, if unset


def shared_data(name: str) -> Path:
    """The path of a file such as tinyshakespeare/input.txt."""
    path = Path(os.environ.get(FOLDER, Path(__file__).parents[2] / "shared/data")) / name
    if not path.exists():
        pytest.skip(f"no {path}: {FOLDER} must name the folder that holds {name}")
    return path
