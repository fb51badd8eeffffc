"""CIFAR-10 from its folder, as Python pickles or as binary files. Source: Krizhevsky 2009."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy

from bench.data.sources import shown
from bench.errors import UsageError

NUM_CLASSES = 10
SIDE, NUM_CHANNELS = 32, 3
NUM_VALUES = NUM_CHANNELS * SIDE * SIDE
TRAIN_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
TEST_BATCH = "test_batch"

Batch = tuple[numpy.ndarray, numpy.ndarray]  # images (N, 32, 32, 3) uint8, labels (N,) int64


def read_cifar(folder: Path) -> tuple[Batch, Batch]:
    """The 5 training batches as one, and the test batch.

    Raises UsageError if a batch is missing or damaged, or if a pickle holds more than arrays, numbers and text.
    """
    if (folder / TEST_BATCH).exists():
        ending, read = "", _read_pickle
    elif (folder / f"{TEST_BATCH}.bin").exists():
        ending, read = ".bin", _read_binary
    else:
        raise UsageError(
            f"{shown(folder)}: no CIFAR-10: must hold data_batch_1 to 5 and {TEST_BATCH} (version for Python), or the "
            "same with the ending .bin (binary version)"
        )
    batches = [read(folder / f"{name}{ending}") for name in TRAIN_BATCHES]
    images, labels = zip(*batches, strict=True)
    return (numpy.concatenate(images), numpy.concatenate(labels)), read(folder / f"{TEST_BATCH}{ending}")


def _read_binary(path: Path) -> Batch:
    content = _content(path)
    if not content or len(content) % (1 + NUM_VALUES):
        raise UsageError(
            f"{shown(path)}: {len(content):,} bytes, must be a multiple of {1 + NUM_VALUES} (a label and {NUM_VALUES} "
            "values an image)"
        )
    rows = numpy.frombuffer(content, dtype=numpy.uint8).reshape(-1, 1 + NUM_VALUES)
    return _batch(rows[:, 1:], rows[:, 0], path)


def _read_pickle(path: Path) -> Batch:
    content = _content(path)
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except _PICKLE_ERRORS as error:
        text = str(error).strip() or type(error).__name__
        raise UsageError(f"{shown(path)}: no batch of CIFAR-10: {text.splitlines()[0]}") from error
    named = {_text(key): value for key, value in batch.items()} if isinstance(batch, dict) else {}
    if missing := {"data", "labels"} - named.keys():
        raise UsageError(f"{shown(path)}: no batch of CIFAR-10: it has no {' and no '.join(sorted(missing))}")
    data, labels = named["data"], named["labels"]
    if not isinstance(data, numpy.ndarray) or data.dtype != numpy.uint8 or data.shape[1:] != (NUM_VALUES,):
        raise UsageError(f"{shown(path)}: data must be an array of uint8 of the shape (N, {NUM_VALUES})")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise UsageError(f"{shown(path)}: labels must be a list of whole numbers")
    if not 0 < len(data) == len(labels):
        raise UsageError(f"{shown(path)}: {len(data)} images, {len(labels)} labels; there must be one label an image")
    return _batch(data, labels, path)


def _batch(values: numpy.ndarray, labels: Any, path: Path) -> Batch:
    """values (N, 3072), channel by channel -> (N, 32, 32, 3)."""
    wrong = sorted({int(label) for label in labels if not 0 <= label < NUM_CLASSES})
    if wrong:
        raise UsageError(f"{shown(path)}: labels must be 0 to {NUM_CLASSES - 1}, got {wrong[0]}")
    images = values.reshape(-1, NUM_CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    return numpy.ascontiguousarray(images), numpy.asarray(labels, dtype=numpy.int64)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{shown(path)}: can't be read: {error.strerror}") from error


def _text(key: Any) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)


def _latin1(text: str, encoding: str) -> bytes:
    """What Python 3 writes into an old pickle in place of bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the encoding {encoding!r} is not admitted")
    return text.encode("latin1")


def _empty_array(kind: Any, shape: Any, dtype: Any) -> numpy.ndarray:
    """The array that a pickle fills next with its shape, type and values."""
    return numpy.empty(0, dtype=numpy.uint8)


def _array_from(values: Any, dtype: Any, shape: Any, order: Any) -> numpy.ndarray:
    """An array of a pickle of protocol 5."""
    return numpy.frombuffer(values, dtype=dtype).reshape(shape, order=order)


_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
_ADMITTED: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_from for core in ("core", "_core")},
    ("numpy", "ndarray"): numpy.ndarray,
    ("numpy", "dtype"): numpy.dtype,
    ("_codecs", "encode"): _latin1,
}


class _ArraysOnly(pickle.Unpickler):
    """A pickle can run any code; this one builds arrays, dictionaries, lists, numbers, text and bytes only."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it holds {module_name}.{global_name}; only arrays of numbers are admitted")
        return _ADMITTED[module_name, global_name]
