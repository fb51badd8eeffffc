"""Settings of every test; its folder is importable, so tests share `trials` and `variants`."""

import sys


def pytest_collection_finish() -> None:
    """One thread: tests' tensors are too small to share out, and tests that measure nothing should not compete."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
