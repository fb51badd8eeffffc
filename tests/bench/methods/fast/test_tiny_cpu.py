"""Where the compiled kernels of a processor come from. That they are right is in tests/conformance."""

import os

import pytest
import torch

from bench.methods.fast import tiny_cpu
from bench.methods.fast.tiny import takes
from bench.methods.mask import Mask
from bench.methods.softmax import Softmax
from bench.native import compiler

QKV = tuple(torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3))


@pytest.fixture(autouse=True)
def kernels(tmp_path, monkeypatch):
    """An empty cache, and no library in memory."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    tiny_cpu.library.cache_clear()
    yield tmp_path / "cache" / "kernels"
    tiny_cpu.library.cache_clear()


def attended() -> torch.Tensor:
    return Softmax().attend(*QKV, Mask.shared(torch.ones(5, 5, dtype=torch.bool), "full"), {})


@pytest.mark.skipif(not compiler(), reason="no C compiler")
def test_a_library_is_compiled_once_and_kept(kernels):
    assert takes(*QKV)
    (library,) = kernels.iterdir()
    written = library.stat().st_mtime_ns
    tiny_cpu.library.cache_clear()
    assert takes(*QKV)
    assert library.stat().st_mtime_ns == written


@pytest.mark.skipif(not compiler(), reason="no C compiler")
def test_a_library_that_others_can_write_is_not_run(kernels):
    assert takes(*QKV)
    (library,) = kernels.iterdir()
    library.chmod(0o666)
    library.write_bytes(b"of somebody else")
    tiny_cpu.library.cache_clear()
    assert takes(*QKV)
    assert library.read_bytes() != b"of somebody else"


@pytest.mark.skipif(not compiler(), reason="no C compiler")
def test_a_cache_that_cannot_be_written_is_done_without(kernels):
    kernels.parent.write_text("no folder")
    assert takes(*QKV)


@pytest.mark.parametrize("command", ["no-such-compiler", "false", "echo"])
def test_without_a_compiler_that_works_attention_is_dense(command, monkeypatch):
    expected = attended()
    tiny_cpu.library.cache_clear()
    monkeypatch.setenv("CC", command)
    monkeypatch.setenv("PATH", os.devnull if command.startswith("no") else os.environ["PATH"])
    assert not takes(*QKV)
    torch.testing.assert_close(attended(), expected)
