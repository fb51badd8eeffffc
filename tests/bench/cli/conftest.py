"""Fixtures of the command line."""

from collections.abc import Callable

import pytest

from tests.command_line import bench_here


@pytest.fixture
def bench(monkeypatch, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process, in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        found = bench_here(tmp_path, *words)
        return found.returncode, found.stdout, found.stderr

    return run
