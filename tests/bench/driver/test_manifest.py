"""The manifest names the path that attention takes."""

import pytest

from bench.driver.manifest import attention_paths, step_paths
from bench.methods.fast.tiny import is_triton_installed
from bench.methods.fast.tiny_cpu import is_compiled
from bench.native import compiler
from bench.suite import find_suite, load_suite
from bench.training.fused import cuda


@pytest.mark.parametrize(
    ("has_gpu", "is_reference", "expected"),
    [
        (True, False, "tiny" if is_triton_installed() else "dense"),
        (False, False, "tiny" if is_compiled() else "dense"),
        (True, True, "dense"),
    ],
)
def test_the_manifest_names_the_path(has_gpu, is_reference, expected):
    suite = load_suite(find_suite("paper_table1"))
    (by_method,) = attention_paths(suite, has_gpu=has_gpu, is_reference=is_reference).values()
    assert by_method.pop("softmax_control") == "dense"
    assert set(by_method.values()) == {expected}


@pytest.mark.parametrize(
    ("has_gpu", "is_reference", "compiling", "expected"),
    [
        (True, False, "auto", "fused" if cuda.is_installed() else "traced"),
        (False, False, "never", "fused" if compiler() else "traced"),
        (False, False, "always", "traced"),
        (False, True, "auto", "traced"),
    ],
)
def test_the_manifest_says_what_computes_steps(has_gpu, is_reference, compiling, expected):
    suite = load_suite(find_suite("paper_table1"))
    paths = step_paths(suite, has_gpu=has_gpu, is_reference=is_reference, compiling=compiling)
    (by_method,) = paths.values()
    assert {path for by_optimizer in by_method.values() for path in by_optimizer.values()} == {expected}
