"""A folder of STL-10 with few images."""

from pathlib import Path

import numpy
import pytest


@pytest.fixture
def stl(tmp_path) -> Path:
    """3 images to train on, 2 to test on and 4 without labels, of values that a seed gives."""
    generator = numpy.random.default_rng(0)
    for name, count in (("train", 3), ("test", 2), ("unlabeled", 4)):
        generator.integers(0, 256, count * 27648, dtype=numpy.uint8).tofile(tmp_path / f"{name}_X.bin")
    numpy.array([1, 10, 3], dtype=numpy.uint8).tofile(tmp_path / "train_y.bin")
    numpy.array([2, 2], dtype=numpy.uint8).tofile(tmp_path / "test_y.bin")
    return tmp_path
